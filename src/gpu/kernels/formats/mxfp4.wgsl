// 16 bytes of codes, column j low and column j + 16 high in byte j; an exponent e in the low byte of the odd u16.
// y = 2^(e − 128)·M[q]. As on the CPU, numbers below 2^-24 are 0.
fn unpack$(i: u32) -> Block {
  let at = i * 4u;
  let e = odd$(i) & 0xffu;
  let d = select(0.0, bitcast<f32>((max(e, 2u) - 1u) << 23u), e >= 104u);
  return Block(
    listed4(w$[at + 0u], 0u, FLOAT4) * d,
    listed4(w$[at + 1u], 0u, FLOAT4) * d,
    listed4(w$[at + 2u], 0u, FLOAT4) * d,
    listed4(w$[at + 3u], 0u, FLOAT4) * d,
    listed4(w$[at + 0u], 4u, FLOAT4) * d,
    listed4(w$[at + 1u], 4u, FLOAT4) * d,
    listed4(w$[at + 2u], 4u, FLOAT4) * d,
    listed4(w$[at + 3u], 4u, FLOAT4) * d,
  );
}
