struct Draw {
  k: u32,
  temperature: f32,
  top_p: f32,
  min_p: f32,
  seed: u32,
  step: u32,
  repeat_penalty: f32,
  frequency_penalty: f32,
  presence_penalty: f32,
  // Bit 0: whether there are biases or penalties. Bit 1: whether there is a mask. From bit 2 on: the token to choose where
  // no logit is more than -∞.
  flags: u32,
}

// Whether a token may be chosen.
fn is_allowed(token: u32) -> bool {
  return (draw[0].flags & 2u) == 0u || ((mask[token / 32u] >> (token % 32u)) & 1u) != 0u;
}

// Token i of a block. Neighbours are in different blocks, so that threads read what lies side by side.
fn token_of(block: u32, i: u32) -> u32 {
  return block / 64u * 64u * SPAN + i * 64u + block % 64u;
}

// A number whose order is that of the values; NaN comes last.
fn key(value: f32) -> u32 {
  let bits = bitcast<u32>(value);
  let ordered = select(bits | 0x80000000u, ~bits, bits >= 0x80000000u);
  return select(ordered, 0u, (bits & 0x7fffffffu) > 0x7f800000u);
}

// The key of the lowest number: what comes before it is -∞, no number, or not allowed.
const LOWEST = 0x00800000u;
