// f16 d, two high bits of each of 8 scales, 4 bytes with their low four bits; 128 bytes of codes: 16 for each block, of
// which column j is low and column j + 16 high in byte j. y = d·(s − 32)·T[q].
fn unpack$(i: u32) -> Block {
  let at = i / 8u * 34u;
  let g = i % 8u;
  let low = (w$[at + 1u] >> (g * 4u)) & 15u;
  let high = (w$[at] >> (16u + g * 2u)) & 3u;
  let d = widen(w$[at] & 0xffffu) * (f32(low | (high << 4u)) - 32.0);
  let codes = at + 2u + g * 4u;
  return Block(
    listed4(w$[codes + 0u], 0u, NON_LINEAR) * d,
    listed4(w$[codes + 1u], 0u, NON_LINEAR) * d,
    listed4(w$[codes + 2u], 0u, NON_LINEAR) * d,
    listed4(w$[codes + 3u], 0u, NON_LINEAR) * d,
    listed4(w$[codes + 0u], 4u, NON_LINEAR) * d,
    listed4(w$[codes + 1u], 4u, NON_LINEAR) * d,
    listed4(w$[codes + 2u], 4u, NON_LINEAR) * d,
    listed4(w$[codes + 3u], 4u, NON_LINEAR) * d,
  );
}
