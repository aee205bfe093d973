// Keys and values as f16s, two to a word.
const VALUES = 2u;
const SCALED = false;
alias Values = vec2<f32>;

fn pack(values: Values, largest: f32) -> u32 {
  return pack2x16float(values);
}

fn unpack(word: u32, largest: f32) -> Values {
  return unpack2x16float(word);
}

fn magnitude(values: Values) -> f32 {
  return 0.0;
}

// Four values, the i-th of a key or value that begins at `at`.
fn four_at(at: u32, i: u32) -> vec4<f32> {
  return vec4<f32>(word_at(at, i * 2u), word_at(at, i * 2u + 1u));
}
