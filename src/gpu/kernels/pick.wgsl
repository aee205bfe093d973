// PCG-RXS-M-XS of 32 bits, as `runtime::random` has it.
fn hash(x: u32) -> u32 {
  let state = x * 747796405u + 2891336453u;
  let word = ((state >> ((state >> 28u) + 4u)) ^ state) * 277803737u;
  return (word >> 22u) ^ word;
}

// This step's random number, of 24 bits.
fn random() -> u32 {
  return hash(hash(draw[0].step) ^ draw[0].seed) >> 8u;
}

// Has the next step take a token, and counts it.
fn pick(token: u32) {
  tokens[0] = token;
  if ((draw[0].flags & 1u) != 0u) {
    adjustments[token].y = max(adjustments[token].y, 1.0) + 1.0;
  }
}

