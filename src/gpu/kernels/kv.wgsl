const DIM = $DIMu;
// Words of a head's values, and all words that it takes.
const WORDS = $WORDSu;
const ROW = $ROWu;

// Word i of a key or value that begins at `at`.
fn word_at(at: u32, i: u32) -> Values {
  if (SCALED) {
    return unpack(kv[at + i], bitcast<f32>(kv[at + WORDS + i / 8u]));
  }
  return unpack(kv[at + i], 0.0);
}

