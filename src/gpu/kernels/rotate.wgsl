@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let row = now.first + group.y;
  let index = group.x * 64u + lane;
  if (index >= params.heads * params.pairs) {
    return;
  }
  let pair = index % params.pairs;
  let head = row * params.stride + index / params.pairs * params.dim;
  let turn = angles[row * params.pairs + pair];
  let i = head + $first;
  let j = head + $second;
  let a = x[i];
  let b = x[j];
  x[i] = a * turn.x - b * turn.y;
  x[j] = a * turn.y + b * turn.x;
}
