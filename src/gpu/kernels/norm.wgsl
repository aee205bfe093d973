@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let row = now.first + group.y;
  let run = group.x * params.width;
  let at = row * params.x_stride + run;
  let width = f32(params.width);
  var sum = 0.0;
  for (var i = lane; i < params.width; i += 64u) {
    sum += $x[at + i];
  }
  let mean = $mean;
  var squares = 0.0;
  for (var i = lane; i < params.width; i += 64u) {
    let d = $x[at + i] - mean;
    squares += d * d;
  }
  let scale = 1.0 / sqrt(fold(squares, lane) / width + params.eps);
  let to = row * params.out_stride + run;
  for (var i = lane; i < params.width; i += 64u) {
    out[to + i] $= ($x[at + i] - mean) * scale * vectors[i]$bias;
  }
}
