const LANES = $LANESu;
const OUTPUTS = 64u / LANES;

fn vector(i: u32) -> f32 {
  return vectors[i / 4u][i % 4u];
}

// Block b of a row times block b of x, whose row begins at `base`.
fn times(w: Block, base: u32, b: u32) -> f32 {
  let at = base + b * 8u;
  return dot(w.a, $x0) + dot(w.b, $x1) + dot(w.c, $x2) + dot(w.d, $x3)
    + dot(w.e, $x4) + dot(w.f, $x5) + dot(w.g, $x6) + dot(w.h, $x7);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let token = group.y;
  let base = (now.first + token) * params.x_stride;
  let factor = $factor;
  var index = place(group);
$branches}
