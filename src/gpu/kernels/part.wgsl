@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let row = now.first + group.y;
  let i = group.x * 64u + lane;
  if (i < params.width) {
    let source = i / params.part * params.run + params.first + i % params.part;
    out[row * params.out_stride + i] = x[row * params.x_stride + source];
  }
}
