@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let row = now.first + group.y;
  let index = group.x * 64u + lane;
  if (index >= params.heads * params.words) {
    return;
  }
  let head = index / params.words;
  let column = index % params.words * 2u;
  // An odd head's last word has one value.
  let two = column + 1u < params.dim;
  let i = row * params.k_stride + head * params.dim + column;
  let j = row * params.v_stride + head * params.dim + column;
  let slot = (now.start + group.y) % params.capacity;
  let at = (head * params.capacity + slot) * params.words + index % params.words;
  kv[at] = pack2x16float(vec2<f32>(k[i], select(0.0, k[i + u32(two)], two)));
  kv[params.heads * params.capacity * params.words + at] =
    pack2x16float(vec2<f32>(v[j], select(0.0, v[j + u32(two)], two)));
}
