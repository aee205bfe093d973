// Four i of a head of $; `at` says where its values are.
fn $_four(at: u32, i: u32) -> vec4<f32> {
  var four: vec4<f32>;
  for (var c = 0u; c < 4u; c += 1u) {
    // The last four of a head may not be full.
    let column = i * 4u + c;
    let known = min(column, DIM - 1u);
    four[c] = select(0.0, @value, column < DIM);
  }
  return four;
}
