// Four values in units of the largest of their block, as they are stored.
fn packed(values: vec4<f32>, largest: f32) -> vec2<u32> {
  return pack(values / max(largest, 1e-30));
}

// Stores four i of a key or value that begins at `at`.
fn put(at: u32, i: u32, words: vec2<u32>, largest: f32) {
  kv[at + i * WORDS] = words.x;
  kv[at + i * WORDS + WORDS - 1u] = words.y;
  if (i % BLOCK == 0u) {
    kv[at + FOURS * WORDS + i / BLOCK] = bitcast<u32>(largest);
  }
}

fn magnitude(values: vec4<f32>) -> f32 {
  let all = abs(values);
  return max(max(all.x, all.y), max(all.z, all.w));
}
