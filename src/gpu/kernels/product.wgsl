// The product of the query and a key that begins at `at`.
fn product(at: u32) -> f32 {
  var sum = 0.0;
  for (var first = 0u; first < FOURS; first += BLOCK) {
    var units = 0.0;
    for (var i = first; i < min(first + BLOCK, FOURS); i += 1u) {
      units += dot(query[i], units_at(at, i));
    }
    sum += units * largest_at(at, first / BLOCK);
  }
  return sum;
}
