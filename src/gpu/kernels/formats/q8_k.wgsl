// f32 d, 256 codes; the sums of the codes that follow in the file are left out. y = d·q.
fn unpack$(i: u32) -> Block {
  let d = bitcast<f32>(w$[i / 8u * 65u]);
  let codes = i / 8u * 65u + 1u + i % 8u * 8u;
  return Block(
    signed4(w$[codes + 0u]) * d,
    signed4(w$[codes + 1u]) * d,
    signed4(w$[codes + 2u]) * d,
    signed4(w$[codes + 3u]) * d,
    signed4(w$[codes + 4u]) * d,
    signed4(w$[codes + 5u]) * d,
    signed4(w$[codes + 6u]) * d,
    signed4(w$[codes + 7u]) * d,
  );
}
