// 32 columns in order.
struct Block {
  a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>,
  e: vec4<f32>, f: vec4<f32>, g: vec4<f32>, h: vec4<f32>,
}

// The numbers of f16s. Exact also below 2^-14, where `unpack2x16float` may say 0: scales of super-blocks often are.
fn widen4(bits: vec4<u32>) -> vec4<f32> {
  let m = bits & vec4<u32>(0x7fffu);
  let normal = bitcast<vec4<f32>>((m << vec4<u32>(13u)) + vec4<u32>(0x38000000u));
  let small = vec4<f32>(m) * 5.9604644775390625e-8;
  let value = select(normal, small, m < vec4<u32>(0x400u));
  return select(value, -value, bits >= vec4<u32>(0x8000u));
}

fn widen(bits: u32) -> f32 {
  return widen4(vec4<u32>(bits)).x;
}

// The bytes of a word, shifted right and masked.
fn bytes4(word: u32, shift: u32, mask: u32) -> vec4<f32> {
  return vec4<f32>((vec4<u32>(word >> shift) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(mask));
}

// The bytes of a word as signed numbers.
fn signed4(word: u32) -> vec4<f32> {
  return vec4<f32>(vec4<i32>(vec4<u32>(word) << vec4<u32>(24u, 16u, 8u, 0u)) >> vec4<u32>(24u));
}

// 16 where four bits, from `shift` on, are set.
fn fifth4(bits: u32, shift: u32) -> vec4<f32> {
  return vec4<f32>(((vec4<u32>(bits >> shift) >> vec4<u32>(0u, 1u, 2u, 3u)) & vec4<u32>(1u)) << vec4<u32>(4u));
}

// One bit of each byte, as 16.
fn fifths4(word: u32, bit: u32) -> vec4<f32> {
  return bytes4(word, bit, 1u) * 16.0;
}

// The scale and the minimum of block g of a super-block, from its 12 bytes.
fn scale_and_minimum(x: u32, y: u32, z: u32, g: u32) -> vec2<f32> {
  let shift = g % 4u * 8u;
  let a = (x >> shift) & 0xffu;
  let b = (y >> shift) & 0xffu;
  let c = (z >> shift) & 0xffu;
  let low = vec2<u32>(a & 63u, b & 63u);
  let high = vec2<u32>((c & 15u) | ((a >> 6u) << 4u), (c >> 4u) | ((b >> 6u) << 4u));
  return vec2<f32>(select(high, low, g < 4u));
}
