fn capped(score: f32) -> f32 {
  return $capped;
}

var<private> query: array<vec4<f32>, FOURS>;
var<private> sums: array<vec4<f32>, FOURS>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let head = group.x;
  let index = group.y * 64u + lane;
  let row = now.first + min(index, now.rows - 1u);
  let at_head = row * params.heads * params.share + head;
  let before = left(at_head);
  if (index >= now.rows) {
    return;
  }
  let position = now.start + index;
  let end = $end;
  let begin = select($begin, end - min(end, params.window), params.window > 0u);
  for (var i = 0u; i < FOURS; i += 1u) {
    query[i] = q_four(row * params.q_stride + head * DIM, i) * params.scale;
  }
  let keys = keys_of(head / params.share);
  let values = values_after();
  var most = -1e30;
  var total = 0.0;
  for (var p = begin; p < end; p += 1u) {
    let at = keys + place_of(p);
    let score = capped(product(at));
    let top = max(most, score);
    let shrink = exp(most - top);
    let weight = exp(score - top);
    total = total * shrink + weight;
    most = top;
    for (var first = 0u; first < FOURS; first += BLOCK) {
      let units = weight * largest_at(values + at, first / BLOCK);
      for (var i = first; i < min(first + BLOCK, FOURS); i += 1u) {
        sums[i] = sums[i] * shrink + units * units_at(values + at, i);
      }
    }
  }
  let mix = mixed(at_head, true, before, most, total);
  for (var c = 0u; c < DIM; c += 1u) {
    set_out(row * params.out_stride + head * DIM + c, sums[c / 4u][c % 4u], mix);
  }
}
