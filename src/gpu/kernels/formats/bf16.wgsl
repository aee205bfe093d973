// 32 upper halves of binary32 numbers, two to a word.
fn pair$(at: u32) -> vec4<u32> {
  return (vec4<u32>(w$[at], w$[at], w$[at + 1u], w$[at + 1u]) >> vec4<u32>(0u, 16u, 0u, 16u)) & vec4<u32>(0xffffu);
}

fn unpack$(i: u32) -> Block {
  let at = i * 16u;
  return Block(
    bitcast<vec4<f32>>(pair$(at + 0u) << vec4<u32>(16u)),
    bitcast<vec4<f32>>(pair$(at + 2u) << vec4<u32>(16u)),
    bitcast<vec4<f32>>(pair$(at + 4u) << vec4<u32>(16u)),
    bitcast<vec4<f32>>(pair$(at + 6u) << vec4<u32>(16u)),
    bitcast<vec4<f32>>(pair$(at + 8u) << vec4<u32>(16u)),
    bitcast<vec4<f32>>(pair$(at + 10u) << vec4<u32>(16u)),
    bitcast<vec4<f32>>(pair$(at + 12u) << vec4<u32>(16u)),
    bitcast<vec4<f32>>(pair$(at + 14u) << vec4<u32>(16u)),
  );
}
