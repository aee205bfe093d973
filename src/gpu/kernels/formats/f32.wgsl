// 32 numbers.
fn unpack$(i: u32) -> Block {
  let at = i * 32u;
  return Block(
    bitcast<vec4<f32>>(vec4<u32>(w$[at + 0u], w$[at + 1u], w$[at + 2u], w$[at + 3u])),
    bitcast<vec4<f32>>(vec4<u32>(w$[at + 4u], w$[at + 5u], w$[at + 6u], w$[at + 7u])),
    bitcast<vec4<f32>>(vec4<u32>(w$[at + 8u], w$[at + 9u], w$[at + 10u], w$[at + 11u])),
    bitcast<vec4<f32>>(vec4<u32>(w$[at + 12u], w$[at + 13u], w$[at + 14u], w$[at + 15u])),
    bitcast<vec4<f32>>(vec4<u32>(w$[at + 16u], w$[at + 17u], w$[at + 18u], w$[at + 19u])),
    bitcast<vec4<f32>>(vec4<u32>(w$[at + 20u], w$[at + 21u], w$[at + 22u], w$[at + 23u])),
    bitcast<vec4<f32>>(vec4<u32>(w$[at + 24u], w$[at + 25u], w$[at + 26u], w$[at + 27u])),
    bitcast<vec4<f32>>(vec4<u32>(w$[at + 28u], w$[at + 29u], w$[at + 30u], w$[at + 31u])),
  );
}
