// A word whose bit c is the fifth bit of column c, then codes as in Q4_0; d apart. y = d·(q − 16).
fn unpack$(i: u32) -> Block {
  let d = widen(odd$(i));
  let at = i * 5u;
  let fifth = w$[at];
  return Block(
    (bytes4(w$[at + 1u], 0u, 15u) + fifth4(fifth, 0u) - 16.0) * d,
    (bytes4(w$[at + 2u], 0u, 15u) + fifth4(fifth, 4u) - 16.0) * d,
    (bytes4(w$[at + 3u], 0u, 15u) + fifth4(fifth, 8u) - 16.0) * d,
    (bytes4(w$[at + 4u], 0u, 15u) + fifth4(fifth, 12u) - 16.0) * d,
    (bytes4(w$[at + 1u], 4u, 15u) + fifth4(fifth, 16u) - 16.0) * d,
    (bytes4(w$[at + 2u], 4u, 15u) + fifth4(fifth, 20u) - 16.0) * d,
    (bytes4(w$[at + 3u], 4u, 15u) + fifth4(fifth, 24u) - 16.0) * d,
    (bytes4(w$[at + 4u], 4u, 15u) + fifth4(fifth, 28u) - 16.0) * d,
  );
}
