// f16 d and m, then fifth bits and codes as in Q5_0. y = d·q + m.
fn unpack$(i: u32) -> Block {
  let at = i * 6u;
  let d = widen(w$[at] & 0xffffu);
  let m = widen(w$[at] >> 16u);
  let fifth = w$[at + 1u];
  return Block(
    (bytes4(w$[at + 2u], 0u, 15u) + fifth4(fifth, 0u)) * d + m,
    (bytes4(w$[at + 3u], 0u, 15u) + fifth4(fifth, 4u)) * d + m,
    (bytes4(w$[at + 4u], 0u, 15u) + fifth4(fifth, 8u)) * d + m,
    (bytes4(w$[at + 5u], 0u, 15u) + fifth4(fifth, 12u)) * d + m,
    (bytes4(w$[at + 2u], 4u, 15u) + fifth4(fifth, 16u)) * d + m,
    (bytes4(w$[at + 3u], 4u, 15u) + fifth4(fifth, 20u)) * d + m,
    (bytes4(w$[at + 4u], 4u, 15u) + fifth4(fifth, 24u)) * d + m,
    (bytes4(w$[at + 5u], 4u, 15u) + fifth4(fifth, 28u)) * d + m,
  );
}
