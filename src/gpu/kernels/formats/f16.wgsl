// 32 IEEE 754 binary16 numbers, two to a word.
fn pair$(at: u32) -> vec4<u32> {
  return (vec4<u32>(w$[at], w$[at], w$[at + 1u], w$[at + 1u]) >> vec4<u32>(0u, 16u, 0u, 16u)) & vec4<u32>(0xffffu);
}

fn unpack$(i: u32) -> Block {
  let at = i * 16u;
  return Block(
    widen4(pair$(at + 0u)),
    widen4(pair$(at + 2u)),
    widen4(pair$(at + 4u)),
    widen4(pair$(at + 6u)),
    widen4(pair$(at + 8u)),
    widen4(pair$(at + 10u)),
    widen4(pair$(at + 12u)),
    widen4(pair$(at + 14u)),
  );
}
