// Stores word `word` of a key or value that begins at `at`.
fn put(at: u32, word: u32, packed: u32, largest: f32) {
  kv[at + word] = packed;
  if (SCALED && word % 8u == 0u) {
    kv[at + WORDS + word / 8u] = bitcast<u32>(largest);
  }
}
