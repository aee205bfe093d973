// 32 bytes of high bits: of block g, bit g; 64 bytes of low bits: 32 for four blocks, two bits each; 12 bytes of scales,
// one of six bits for 16 columns: low four bits in 8 bytes, high two in 4; odd f16 d. y = d·(s − 32)·(q − 4).
fn scale$(at: u32, s: u32) -> f32 {
  let low = w$[at + 24u + s % 8u / 4u] >> (s % 4u * 8u + s / 8u * 4u);
  let high = w$[at + 26u] >> (s % 4u * 8u + s / 4u * 2u);
  return f32((low & 15u) | ((high & 3u) << 4u)) - 32.0;
}

fn unpack$(i: u32) -> Block {
  let at = i / 8u * 27u;
  let g = i % 8u;
  let d = widen(odd$(i / 8u));
  let d0 = d * scale$(at, g * 2u);
  let d1 = d * scale$(at, g * 2u + 1u);
  let codes = at + 8u + g / 4u * 8u;
  let shift = g % 4u * 2u;
  return Block(
    (bytes4(w$[codes + 0u], shift, 3u) + bytes4(w$[at + 0u], g, 1u) * 4.0 - 4.0) * d0,
    (bytes4(w$[codes + 1u], shift, 3u) + bytes4(w$[at + 1u], g, 1u) * 4.0 - 4.0) * d0,
    (bytes4(w$[codes + 2u], shift, 3u) + bytes4(w$[at + 2u], g, 1u) * 4.0 - 4.0) * d0,
    (bytes4(w$[codes + 3u], shift, 3u) + bytes4(w$[at + 3u], g, 1u) * 4.0 - 4.0) * d0,
    (bytes4(w$[codes + 4u], shift, 3u) + bytes4(w$[at + 4u], g, 1u) * 4.0 - 4.0) * d1,
    (bytes4(w$[codes + 5u], shift, 3u) + bytes4(w$[at + 5u], g, 1u) * 4.0 - 4.0) * d1,
    (bytes4(w$[codes + 6u], shift, 3u) + bytes4(w$[at + 6u], g, 1u) * 4.0 - 4.0) * d1,
    (bytes4(w$[codes + 7u], shift, 3u) + bytes4(w$[at + 7u], g, 1u) * 4.0 - 4.0) * d1,
  );
}
