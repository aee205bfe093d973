// f16 d and dmin, 12 bytes of scales, 32 bytes whose bit g is the fifth bit of block g, codes as in Q4_K.
// y = d·s·q − dmin·m.
fn unpack$(i: u32) -> Block {
  let at = i / 8u * 44u;
  let g = i % 8u;
  let s = scale_and_minimum(w$[at + 1u], w$[at + 2u], w$[at + 3u], g);
  let d = widen(w$[at] & 0xffffu) * s.x;
  let m = widen(w$[at] >> 16u) * s.y;
  let codes = at + 12u + g / 2u * 8u;
  let shift = g % 2u * 4u;
  return Block(
    (bytes4(w$[codes + 0u], shift, 15u) + fifths4(w$[at + 4u], g)) * d - m,
    (bytes4(w$[codes + 1u], shift, 15u) + fifths4(w$[at + 5u], g)) * d - m,
    (bytes4(w$[codes + 2u], shift, 15u) + fifths4(w$[at + 6u], g)) * d - m,
    (bytes4(w$[codes + 3u], shift, 15u) + fifths4(w$[at + 7u], g)) * d - m,
    (bytes4(w$[codes + 4u], shift, 15u) + fifths4(w$[at + 8u], g)) * d - m,
    (bytes4(w$[codes + 5u], shift, 15u) + fifths4(w$[at + 9u], g)) * d - m,
    (bytes4(w$[codes + 6u], shift, 15u) + fifths4(w$[at + 10u], g)) * d - m,
    (bytes4(w$[codes + 7u], shift, 15u) + fifths4(w$[at + 11u], g)) * d - m,
  );
}
