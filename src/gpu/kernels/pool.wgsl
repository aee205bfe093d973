// `now.turn` says whether means are to have the length 1.
@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let range = ranges[group.y];
  let to = group.y * params.out_stride;
  let count = f32(range.y - range.x);
  var squares = 0.0;
  for (var c = lane; c < params.width; c += THREADS) {
    var sum = 0.0;
    for (var row = range.x; row < range.y; row += 1u) {
      sum += x[row * params.x_stride + c];
    }
    let mean = sum / count;
    squares += mean * mean;
    out[to + c] = mean;
  }
  let length = select(1.0, max(sqrt(fold(squares, lane)), 1e-12), now.turn > 0u);
  for (var c = lane; c < params.width; c += THREADS) {
    out[to + c] /= length;
  }
}
