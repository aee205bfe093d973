// tanh(x). Beyond ±10 it is ±1, where some devices answer NaN.
fn f(x: f32) -> f32 {
  return tanh(clamp(x, -10.0, 10.0));
}
