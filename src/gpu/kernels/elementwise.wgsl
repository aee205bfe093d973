@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let column = group.x * 64u + lane;
  let at = (now.first + group.y) * params.stride + column;
  if (column < params.stride) {
    x[at] = $value;
  }
}
