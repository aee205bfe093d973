// 128 bytes of low nibbles, 64 of high bit pairs, 16 signed scales; d apart. y = d·s·(q − 32).
fn unpack$(i: u32) -> Block {
  let d = widen(odd$(i / 8u));
  let at = i / 8u * 52u;
  let g = i % 8u;
  let low = at + g / 4u * 16u + g % 2u * 8u;
  let shift = g % 4u / 2u * 4u;
  let high = at + 32u + g / 4u * 8u;
  let pair = g % 4u * 2u;
  let scales = bitcast<i32>(w$[at + 48u + g / 2u] << (16u - g % 2u * 16u));
  let s = f32((scales << 8u) >> 24u) * d;
  let t = f32(scales >> 24u) * d;
  return Block(
    (bytes4(w$[low + 0u], shift, 15u) + bytes4(w$[high + 0u], pair, 3u) * 16.0 - 32.0) * s,
    (bytes4(w$[low + 1u], shift, 15u) + bytes4(w$[high + 1u], pair, 3u) * 16.0 - 32.0) * s,
    (bytes4(w$[low + 2u], shift, 15u) + bytes4(w$[high + 2u], pair, 3u) * 16.0 - 32.0) * s,
    (bytes4(w$[low + 3u], shift, 15u) + bytes4(w$[high + 3u], pair, 3u) * 16.0 - 32.0) * s,
    (bytes4(w$[low + 4u], shift, 15u) + bytes4(w$[high + 4u], pair, 3u) * 16.0 - 32.0) * t,
    (bytes4(w$[low + 5u], shift, 15u) + bytes4(w$[high + 5u], pair, 3u) * 16.0 - 32.0) * t,
    (bytes4(w$[low + 6u], shift, 15u) + bytes4(w$[high + 6u], pair, 3u) * 16.0 - 32.0) * t,
    (bytes4(w$[low + 7u], shift, 15u) + bytes4(w$[high + 7u], pair, 3u) * 16.0 - 32.0) * t,
  );
}
