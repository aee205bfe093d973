// 16 bytes of codes, column j low and j + 16 high in byte j; d apart. y = d·(q − 8).
fn unpack$(i: u32) -> Block {
  let d = widen(odd$(i));
  let at = i * 4u;
  return Block(
    (bytes4(w$[at + 0u], 0u, 15u) - 8.0) * d,
    (bytes4(w$[at + 1u], 0u, 15u) - 8.0) * d,
    (bytes4(w$[at + 2u], 0u, 15u) - 8.0) * d,
    (bytes4(w$[at + 3u], 0u, 15u) - 8.0) * d,
    (bytes4(w$[at + 0u], 4u, 15u) - 8.0) * d,
    (bytes4(w$[at + 1u], 4u, 15u) - 8.0) * d,
    (bytes4(w$[at + 2u], 4u, 15u) - 8.0) * d,
    (bytes4(w$[at + 3u], 4u, 15u) - 8.0) * d,
  );
}
