// 32 signed bytes; d apart. y = d·q.
fn unpack$(i: u32) -> Block {
  let d = widen(odd$(i));
  let at = i * 8u;
  return Block(
    signed4(w$[at + 0u]) * d,
    signed4(w$[at + 1u]) * d,
    signed4(w$[at + 2u]) * d,
    signed4(w$[at + 3u]) * d,
    signed4(w$[at + 4u]) * d,
    signed4(w$[at + 5u]) * d,
    signed4(w$[at + 6u]) * d,
    signed4(w$[at + 7u]) * d,
  );
}
