// `tokens` has the token and the position of each row, and above its position the number of the text that it is in.
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let row = now.first + group.y;
  let block = group.x * 64u + lane;
  // Rows before the part's first wrap around to large numbers.
  let index = $index - params.first;
  if (index >= params.rows || block >= params.blocks) {
    return;
  }
  let w = unpack0(index * params.blocks + block);
  let at = row * params.stride + block * 8u;
  out[at] $= w.a * params.scale;
  out[at + 1u] $= w.b * params.scale;
  out[at + 2u] $= w.c * params.scale;
  out[at + 3u] $= w.d * params.scale;
  out[at + 4u] $= w.e * params.scale;
  out[at + 5u] $= w.f * params.scale;
  out[at + 6u] $= w.g * params.scale;
  out[at + 7u] $= w.h * params.scale;
}
