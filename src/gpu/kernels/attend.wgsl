const DIM = $DIMu;
// A word has two values.
const WORDS = $WORDSu;
// Words of the output that a thread sums up.
const SUMS = $SUMSu;

var<workgroup> query: array<vec2<f32>, WORDS>;
var<workgroup> weights: array<f32, 64>;

// The highest score so far, Σ exp(score − most), and Σ exp(score − most)·value.
var<private> most: f32;
var<private> total: f32;
var<private> sums: array<vec2<f32>, SUMS>;

fn capped(score: f32) -> f32 {
  return $capped;
}

fn highest(value: f32, lane: u32) -> f32 {
  partial[lane] = value;
  workgroupBarrier();
  for (var near = 32u; near > 0u; near = near / 2u) {
    if (lane < near) {
      partial[lane] = max(partial[lane], partial[lane + near]);
    }
    workgroupBarrier();
  }
  let top = partial[0];
  workgroupBarrier();
  return top;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let head = group.x;
  let kv_head = head / params.share;
  let row = now.first + group.y;
  let position = now.start + group.y;
  // Positions that are seen, and those of them that are to be read.
  let end = $end;
  let begin = select(0u, end - min(end, params.window), params.window > 0u);
  let known = $known;
  prepare(head, kv_head, row, position, lane);
  let base = kv_head * params.capacity;
  let values = params.heads * params.capacity * WORDS;
  for (var tile = begin; tile < known; tile += 64u) {
    let p = tile + lane;
    let seen = p < known;
    var score = -1e30;
    if (seen) {
      let at = (base + p % params.capacity) * WORDS;
      var sum = 0.0;
      for (var i = 0u; i < WORDS; i += 1u) {
        sum += dot(query[i], unpack2x16float(kv[at + i]));
      }
      score = capped(sum);
    }
    let top = max(most, highest(score, lane));
    let weight = select(0.0, exp(score - top), seen);
    let shrink = exp(most - top);
    weights[lane] = weight;
    total = total * shrink + fold(weight, lane, 64u);
    most = top;
    for (var n = 0u; n < SUMS; n += 1u) {
      sums[n] *= shrink;
    }
    let count = min(64u, known - tile);
    for (var j = 0u; j < count; j += 1u) {
      let at = values + (base + (tile + j) % params.capacity) * WORDS;
      for (var n = 0u; n < SUMS; n += 1u) {
        let i = n * 64u + lane;
        if (i < WORDS) {
          sums[n] += weights[j] * unpack2x16float(kv[at + i]);
        }
      }
    }
    workgroupBarrier();
  }
  for (var n = 0u; n < SUMS; n += 1u) {
    let i = n * 64u + lane;
    let value = sums[n] / total;
    let to = row * params.out_stride + head * DIM + 2u * i;
    if (i < WORDS) {
      out[to] = value.x;
    }
    if (2u * i + 1u < DIM) {
      out[to + 1u] = value.y;
    }
  }
}
