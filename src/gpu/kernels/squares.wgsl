// Σx² of a row of x.
fn squares(base: u32, lane: u32) -> f32 {
  var sum = 0.0;
  for (var i = lane; i < params.fours; i += 64u) {
    sum += dot(x[base + i], x[base + i]);
  }
  return fold(sum, lane, 64u);
}
