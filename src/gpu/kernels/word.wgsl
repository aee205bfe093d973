// Word `word` of a head of $; `at` says where its values are.
fn $_word(at: u32, word: u32) -> Values {
  var values: Values;
  for (var c = 0u; c < VALUES; c += 1u) {
    // The last word of an odd head is not full.
    let column = word * VALUES + c;
    let known = min(column, DIM - 1u);
    values[c] = select(0.0, @value, column < DIM);
  }
  return values;
}

// The largest value among the 32 that word `word` is one of.
fn $_largest(at: u32, word: u32) -> f32 {
  var largest = 0.0;
  if (SCALED) {
    let first = word / 8u * 8u;
    for (var i = first; i < min(first + 8u, WORDS); i += 1u) {
      largest = max(largest, magnitude($_word(at, i)));
    }
  }
  return largest;
}
