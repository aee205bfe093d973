// 16 bytes of scales (low four bits) and minima (high), one for 16 columns; 64 bytes of codes: 32 for four blocks, two
// bits each; f16 d and dmin. y = d·s·q − dmin·m.
fn unpack$(i: u32) -> Block {
  let at = i / 8u * 21u;
  let g = i % 8u;
  let scales = w$[at + g / 2u] >> (g % 2u * 16u);
  let d = widen(w$[at + 20u] & 0xffffu);
  let dmin = widen(w$[at + 20u] >> 16u);
  let d0 = d * f32(scales & 15u);
  let m0 = dmin * f32((scales >> 4u) & 15u);
  let d1 = d * f32((scales >> 8u) & 15u);
  let m1 = dmin * f32((scales >> 12u) & 15u);
  let codes = at + 4u + g / 4u * 8u;
  let shift = g % 4u * 2u;
  return Block(
    bytes4(w$[codes + 0u], shift, 3u) * d0 - m0,
    bytes4(w$[codes + 1u], shift, 3u) * d0 - m0,
    bytes4(w$[codes + 2u], shift, 3u) * d0 - m0,
    bytes4(w$[codes + 3u], shift, 3u) * d0 - m0,
    bytes4(w$[codes + 4u], shift, 3u) * d1 - m1,
    bytes4(w$[codes + 5u], shift, 3u) * d1 - m1,
    bytes4(w$[codes + 6u], shift, 3u) * d1 - m1,
    bytes4(w$[codes + 7u], shift, 3u) * d1 - m1,
  );
}
