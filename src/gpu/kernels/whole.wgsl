// All keys are in one piece.
fn left(at: u32) -> vec2<f32> {
  return vec2<f32>();
}

fn mixed(at: u32, leaves: bool, before: vec2<f32>, most: f32, total: f32) -> vec2<f32> {
  return vec2<f32>(0.0, 1.0 / total);
}

fn set_out(at: u32, value: f32, mix: vec2<f32>) {
  out[at] = value * mix.y;
}
