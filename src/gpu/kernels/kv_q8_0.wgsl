// Keys and values as signed bytes, four to a word, in units of the largest of 32 / 127; those largest follow.
const VALUES = 4u;
const SCALED = true;
alias Values = vec4<f32>;

fn pack(values: Values, largest: f32) -> u32 {
  return pack4x8snorm(values / max(largest, 1e-30));
}

fn unpack(word: u32, largest: f32) -> Values {
  return unpack4x8snorm(word) * largest;
}

fn magnitude(values: Values) -> f32 {
  let all = abs(values);
  return max(max(all.x, all.y), max(all.z, all.w));
}

// Four values, the i-th of a key or value that begins at `at`.
fn four_at(at: u32, i: u32) -> vec4<f32> {
  return word_at(at, i);
}
