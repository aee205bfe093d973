// Fours of the output that a thread sums up, and how many threads sum up the same, each over some of the positions.
const SUMS = $SUMSu;
const TEAMS = $TEAMSu;
// Workgroups that share the positions of a head.
const SPLITS = $SPLITSu;

var<workgroup> query: array<vec4<f32>, FOURS>;
var<workgroup> weights: array<f32, THREADS>;
var<workgroup> teams: array<vec4<f32>, TEAMS * FOURS>;

// The highest score so far, Σ exp(score − most), and Σ exp(score − most)·value.
var<private> most: f32;
var<private> total: f32;
var<private> sums: array<vec4<f32>, SUMS>;

fn capped(score: f32) -> f32 {
  return $capped;
}

// The largest of the values of all threads, found as `fold` finds their sum.
fn highest(value: f32, lane: u32) -> f32 {
  partial[lane] = value;
  workgroupBarrier();
  if (lane < THREADS / RUN) {
    var run = partial[lane * RUN];
    for (var i = 1u; i < RUN; i += 1u) {
      run = max(run, partial[lane * RUN + i]);
    }
    runs[lane] = run;
  }
  workgroupBarrier();
  var top = runs[0];
  for (var i = 1u; i < THREADS / RUN; i += 1u) {
    top = max(top, runs[i]);
  }
  return top;
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let head = group.x / SPLITS;
  let split = group.x % SPLITS;
  let kv_head = head / params.share;
  let row = now.first + group.y;
  let position = now.start + group.y;
  // Positions that are seen, and those of them that are to be read: of the split, its share.
  let end = $end;
  let seen_from = select($begin, end - min(end, params.window), params.window > 0u);
  let share = ($known - seen_from + SPLITS - 1u) / SPLITS;
  let begin = seen_from + split * share;
  let known = min(begin + share, $known);
  let index = row * params.heads * params.share + head;
  let before = left(index);
  prepare(head, kv_head, row, position, split, lane);
  // In a single team, threads beyond the fours have none.
  let team = select(lane / FOURS, 0u, TEAMS == 1u);
  let four = select(lane % FOURS, lane, TEAMS == 1u);
  let keys = keys_of(kv_head);
  let values = keys + values_after();
  for (var tile = begin; tile < known; tile += THREADS) {
    let p = tile + lane;
    let seen = p < known;
    var score = -1e30;
    if (seen) {
      score = capped(product(keys + place_of(p)));
    }
    let top = max(most, highest(score, lane));
    let weight = select(0.0, exp(score - top), seen);
    let shrink = exp(most - top);
    weights[lane] = weight;
    total = total * shrink + fold(weight, lane);
    most = top;
    for (var n = 0u; n < SUMS; n += 1u) {
      sums[n] *= shrink;
    }
    let count = min(THREADS, known - tile);
    for (var j = team; j < count; j += TEAMS) {
      let at = values + place_of(tile + j);
      for (var n = 0u; n < SUMS; n += 1u) {
        let i = n * THREADS + four;
        if (i < FOURS) {
          sums[n] += weights[j] * four_at(at, i);
        }
      }
    }
    workgroupBarrier();
  }
  if (TEAMS > 1u) {
    if (team < TEAMS) {
      teams[lane] = sums[0];
    }
    workgroupBarrier();
    if (team > 0u) {
      return;
    }
    for (var n = 1u; n < TEAMS; n += 1u) {
      sums[0] += teams[n * FOURS + lane];
    }
  }
  $finish
  for (var n = 0u; n < SUMS; n += 1u) {
    let i = n * THREADS + four;
    for (var c = i * 4u; i < FOURS && c < min(i * 4u + 4u, DIM); c += 1u) {
      set_out(to + c, sums[n][c % 4u], mix);
    }
  }
}
