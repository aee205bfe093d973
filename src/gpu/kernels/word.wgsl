// Word `word` of a head of $, whose values begin at `begin`.
fn $_word(begin: u32, word: u32) -> Values {
  var values: Values;
  for (var c = 0u; c < VALUES; c += 1u) {
    // The last word of an odd head is not full.
    let column = word * VALUES + c;
    values[c] = select(0.0, $[begin + min(column, DIM - 1u)], column < DIM);
  }
  return values;
}

// The largest value among the 32 that word `word` is one of.
fn $_largest(begin: u32, word: u32) -> f32 {
  var largest = 0.0;
  if (SCALED) {
    let first = word / 8u * 8u;
    for (var i = first; i < min(first + 8u, WORDS); i += 1u) {
      largest = max(largest, magnitude($_word(begin, i)));
    }
  }
  return largest;
}
