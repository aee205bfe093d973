// 32 columns in order.
struct Block {
  a: vec4<f32>, b: vec4<f32>, c: vec4<f32>, d: vec4<f32>,
  e: vec4<f32>, f: vec4<f32>, g: vec4<f32>, h: vec4<f32>,
}

// The numbers of f16s. Exact also below 2^-14, where `unpack2x16float` may say 0: scales of super-blocks often are.
fn widen(bits: u32) -> f32 {
  let m = bits & 0x7fffu;
  let normal = bitcast<f32>((m << 13u) + 0x38000000u);
  let small = f32(m) * 5.9604644775390625e-8;
  let value = select(normal, small, m < 0x400u);
  return select(value, -value, bits >= 0x8000u);
}

fn widen4(bits: vec4<u32>) -> vec4<f32> {
  return vec4<f32>(widen(bits.x), widen(bits.y), widen(bits.z), widen(bits.w));
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

// The numbers of four nibbles, from `shift` on in each byte, in a table of sixteen signed bytes.
fn listed4(word: u32, shift: u32, table: vec4<u32>) -> vec4<f32> {
  let q = (vec4<u32>(word >> shift) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(15u);
  let low = select(vec4<u32>(table.x), vec4<u32>(table.y), q >= vec4<u32>(4u));
  let high = select(vec4<u32>(table.z), vec4<u32>(table.w), q >= vec4<u32>(12u));
  let word4 = select(low, high, q >= vec4<u32>(8u));
  return vec4<f32>(vec4<i32>(word4 << ((vec4<u32>(3u) - (q & vec4<u32>(3u))) * 8u)) >> vec4<u32>(24u));
}

// The table of IQ4: -127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113.
const NON_LINEAR = vec4<u32>(0xbfad9881u, 0xf6eaddcfu, 0x26190d01u, 0x71594535u);
// The table of MXFP4: 0, 1, 2, 3, 4, 6, 8, 12, and the same below 0.
const FLOAT4 = vec4<u32>(0x3020100u, 0xc080604u, 0xfdfeff00u, 0xf4f8fafcu);

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
