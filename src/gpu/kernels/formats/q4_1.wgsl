// f16 d and m, then codes as in Q4_0. y = d·q + m.
fn unpack$(i: u32) -> Block {
  let at = i * 5u;
  let d = widen(w$[at] & 0xffffu);
  let m = widen(w$[at] >> 16u);
  return Block(
    bytes4(w$[at + 1u], 0u, 15u) * d + m,
    bytes4(w$[at + 2u], 0u, 15u) * d + m,
    bytes4(w$[at + 3u], 0u, 15u) * d + m,
    bytes4(w$[at + 4u], 0u, 15u) * d + m,
    bytes4(w$[at + 1u], 4u, 15u) * d + m,
    bytes4(w$[at + 2u], 4u, 15u) * d + m,
    bytes4(w$[at + 3u], 4u, 15u) * d + m,
    bytes4(w$[at + 4u], 4u, 15u) * d + m,
  );
}
