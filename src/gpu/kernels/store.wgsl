@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let row = now.first + group.y;
  let index = group.x * 64u + lane;
  if (index >= params.heads * FOURS) {
    return;
  }
  let head = index / FOURS;
  let four = index % FOURS;
  let i = row * params.k_stride + head * DIM;
  let j = row * params.v_stride + head * DIM;
  var largest = vec2<f32>();
  let first = four - four % BLOCK;
  for (var n = first; n < min(first + BLOCK, FOURS); n += 1u) {
    largest = max(largest, vec2<f32>(magnitude(k_four(i, n)), magnitude(v_four(j, n))));
  }
  let at = keys_of(head) + place_of(now.start + group.y);
  put(at, four, packed(k_four(i, four), largest.x), largest.x);
  put(values_after() + at, four, packed(v_four(j, four), largest.y), largest.y);
}
