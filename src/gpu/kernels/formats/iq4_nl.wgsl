// 16 bytes of codes, column j low and column j + 16 high in byte j; odd f16 d. y = d·T[q].
fn unpack$(i: u32) -> Block {
  let at = i * 4u;
  let d = widen(odd$(i));
  return Block(
    listed4(w$[at + 0u], 0u, NON_LINEAR) * d,
    listed4(w$[at + 1u], 0u, NON_LINEAR) * d,
    listed4(w$[at + 2u], 0u, NON_LINEAR) * d,
    listed4(w$[at + 3u], 0u, NON_LINEAR) * d,
    listed4(w$[at + 0u], 4u, NON_LINEAR) * d,
    listed4(w$[at + 1u], 4u, NON_LINEAR) * d,
    listed4(w$[at + 2u], 4u, NON_LINEAR) * d,
    listed4(w$[at + 3u], 4u, NON_LINEAR) * d,
  );
}
