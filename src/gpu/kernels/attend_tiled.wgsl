// Keys and then values of some positions, for all rows of the workgroup.
var<workgroup> tile: array<vec4<f32>, KEYS * FOURS>;
var<workgroup> scores: array<f32, ROWS * KEYS>;
$partial
fn capped(score: f32) -> f32 {
  return $capped;
}

// Four values of the query, of which the last may be filling.
fn query_at(at: u32, i: u32) -> vec4<f32> {
  var values = vec4<f32>();
  for (var c = 0u; c < 4u; c += 1u) {
    let column = i * 4u + c;
    values[c] = select(0.0, q[at + min(column, DIM - 1u)], column < DIM);
  }
  return values * params.scale;
}

fn fetch(at: u32, begin: u32, until: u32, lane: u32) {
  for (var i = lane; i < KEYS * FOURS; i += 64u) {
    tile[i] = four_at(at + place_of(min(begin + i / FOURS, until - 1u)), i % FOURS);
  }
}

fn put(row: u32, head: u32, i: u32, values: vec4<f32>, mix: vec2<f32>) {
  for (var c = i * 4u; c < min(i * 4u + 4u, DIM); c += 1u) {
    set_out(row * params.out_stride + head * DIM + c, values[c % 4u], mix);
  }
}

fn end_of(index: u32) -> u32 {
  let position = now.start + min(index, now.rows - 1u);
  return $end;
}

fn begin_of(index: u32) -> u32 {
  let end = end_of(index);
  return select($begin, end - min(end, params.window), params.window > 0u);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let head = group.x;
  let slice = lane % 4u;
  let own = lane / 4u * OWN;
  let first = group.y * ROWS;
  let keys = keys_of(head / params.share);
  let values = keys + values_after();
  let until = end_of(first + ROWS - 1u);
$prepare
  for (var begin = begin_of(first); begin < until; begin += KEYS) {
    fetch(keys, begin, until, lane);
    workgroupBarrier();
    for (var j = 0u; j < KEYS; j += 1u) {
$score
    }
    workgroupBarrier();
$combine
    fetch(values, begin, until, lane);
    workgroupBarrier();
$weigh
    for (var j = 0u; j < KEYS; j += 1u) {
$sum
    }
    workgroupBarrier();
  }
$finish
}
