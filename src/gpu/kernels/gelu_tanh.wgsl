// 0.5·x·(1 + tanh(√(2/π)(x + 0.044715·x³))). Beyond ±10 the tangent is ±1, where some devices answer NaN.
fn f(x: f32) -> f32 {
  let y = 0.7978845608028654 * (x + 0.044715 * x * x * x);
  return 0.5 * x * (1.0 + tanh(clamp(y, -10.0, 10.0)));
}
