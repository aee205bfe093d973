// f16 d and dmin, 12 bytes of scales, 128 bytes of codes: 32 for two blocks, the even one's low, the odd one's high.
// y = d·s·q − dmin·m.
fn unpack$(i: u32) -> Block {
  let at = i / 8u * 36u;
  let g = i % 8u;
  let s = scale_and_minimum(w$[at + 1u], w$[at + 2u], w$[at + 3u], g);
  let d = widen(w$[at] & 0xffffu) * s.x;
  let m = widen(w$[at] >> 16u) * s.y;
  let codes = at + 4u + g / 2u * 8u;
  let shift = g % 2u * 4u;
  return Block(
    bytes4(w$[codes + 0u], shift, 15u) * d - m,
    bytes4(w$[codes + 1u], shift, 15u) * d - m,
    bytes4(w$[codes + 2u], shift, 15u) * d - m,
    bytes4(w$[codes + 3u], shift, 15u) * d - m,
    bytes4(w$[codes + 4u], shift, 15u) * d - m,
    bytes4(w$[codes + 5u], shift, 15u) * d - m,
    bytes4(w$[codes + 6u], shift, 15u) * d - m,
    bytes4(w$[codes + 7u], shift, 15u) * d - m,
  );
}
