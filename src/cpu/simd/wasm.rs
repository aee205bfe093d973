//! WebAssembly SIMD. See the module above for what each operation promises.

use core::arch::wasm32::*;

/// Sixteen bytes, seen as lanes of whatever type an operation names.
pub type V = v128;

/// Reads 16 bytes at `at`. Panics (or is optimized away) when they are not there.
#[inline(always)]
pub fn load(bytes: &[u8], at: usize) -> V {
    let bytes: &[u8; 16] = bytes[at..at + 16].try_into().unwrap();
    // SAFETY: the pointer is to 16 readable bytes; v128 loads need no alignment.
    unsafe { v128_load(bytes.as_ptr().cast()) }
}

/// Reads 16 bytes.
///
/// # Safety
/// They are there.
#[inline(always)]
pub unsafe fn load_at(at: *const u8) -> V {
    // SAFETY: the caller's promise; no alignment is needed.
    unsafe { v128_load(at.cast()) }
}

#[inline(always)]
pub fn load_f32(values: &[f32], at: usize) -> V {
    let values: &[f32; 4] = values[at..at + 4].try_into().unwrap();
    // SAFETY: as in `load`.
    unsafe { v128_load(values.as_ptr().cast()) }
}

#[inline(always)]
pub fn store_f32(values: &mut [f32], at: usize, v: V) {
    let values: &mut [f32; 4] = (&mut values[at..at + 4]).try_into().unwrap();
    // SAFETY: the pointer is to 16 writable bytes.
    unsafe { v128_store(values.as_mut_ptr().cast(), v) }
}

#[inline(always)]
pub fn load_u32(words: &[u32], at: usize) -> V {
    let words: &[u32; 4] = words[at..at + 4].try_into().unwrap();
    // SAFETY: as in `load`.
    unsafe { v128_load(words.as_ptr().cast()) }
}

#[inline(always)]
pub fn store(bytes: &mut [u8; 16], v: V) {
    // SAFETY: the pointer is to 16 writable bytes.
    unsafe { v128_store(bytes.as_mut_ptr().cast(), v) }
}

/// Four integers.
#[inline(always)]
pub fn load_i32(values: &[i32; 4]) -> V {
    // SAFETY: the pointer is to 16 readable bytes.
    unsafe { v128_load(values.as_ptr().cast()) }
}

#[inline(always)]
pub fn splat_f32(x: f32) -> V {
    f32x4_splat(x)
}

#[inline(always)]
pub fn splat_i32(x: i32) -> V {
    i32x4_splat(x)
}

#[inline(always)]
pub fn splat_u8(x: u8) -> V {
    u8x16_splat(x)
}

/// The bytes of `table` that the bytes of `indices`, all below 16, name.
#[inline(always)]
pub fn look_up(table: V, indices: V) -> V {
    // Of indices that are in range both make the same; the relaxed one is a single instruction.
    #[cfg(target_feature = "relaxed-simd")]
    return i8x16_relaxed_swizzle(table, indices);
    #[cfg(not(target_feature = "relaxed-simd"))]
    return i8x16_swizzle(table, indices);
}

#[inline(always)]
pub fn to_f32s(v: V) -> [f32; 4] {
    [
        f32x4_extract_lane::<0>(v),
        f32x4_extract_lane::<1>(v),
        f32x4_extract_lane::<2>(v),
        f32x4_extract_lane::<3>(v),
    ]
}

#[inline(always)]
pub fn to_i32s(v: V) -> [i32; 4] {
    [
        i32x4_extract_lane::<0>(v),
        i32x4_extract_lane::<1>(v),
        i32x4_extract_lane::<2>(v),
        i32x4_extract_lane::<3>(v),
    ]
}

/// Lanes of `a` where `mask` is all ones, of `b` where it is zero.
#[inline(always)]
pub fn select(mask: V, a: V, b: V) -> V {
    v128_bitselect(a, b, mask)
}

/// All ones where `a < b`.
#[inline(always)]
pub fn less_i32(a: V, b: V) -> V {
    i32x4_lt(a, b)
}

#[inline(always)]
pub fn and(a: V, b: V) -> V {
    v128_and(a, b)
}

#[inline(always)]
pub fn or(a: V, b: V) -> V {
    v128_or(a, b)
}

#[inline(always)]
pub fn xor(a: V, b: V) -> V {
    v128_xor(a, b)
}

#[inline(always)]
pub fn add_f32(a: V, b: V) -> V {
    f32x4_add(a, b)
}

#[inline(always)]
pub fn sub_f32(a: V, b: V) -> V {
    f32x4_sub(a, b)
}

#[inline(always)]
pub fn mul_f32(a: V, b: V) -> V {
    f32x4_mul(a, b)
}

#[inline(always)]
pub fn div_f32(a: V, b: V) -> V {
    f32x4_div(a, b)
}

/// `b` where `b > a`, else `a`: one instruction everywhere, and NaN in `b` is dropped.
#[inline(always)]
pub fn max_f32(a: V, b: V) -> V {
    f32x4_pmax(a, b)
}

/// `b` where `b < a`, else `a`.
#[inline(always)]
pub fn min_f32(a: V, b: V) -> V {
    f32x4_pmin(a, b)
}

#[inline(always)]
pub fn abs_f32(a: V) -> V {
    f32x4_abs(a)
}

/// To the nearest integer, ties to even.
#[inline(always)]
pub fn nearest_f32(a: V) -> V {
    f32x4_nearest(a)
}

#[inline(always)]
pub fn add_i32(a: V, b: V) -> V {
    i32x4_add(a, b)
}

#[inline(always)]
pub fn min_i32(a: V, b: V) -> V {
    i32x4_min(a, b)
}

#[inline(always)]
pub fn sub_i32(a: V, b: V) -> V {
    i32x4_sub(a, b)
}

/// The sum of the four lanes.
#[inline(always)]
pub fn sum_i32(a: V) -> i32 {
    let a = i32x4_add(a, rotate::<2>(a));
    i32x4_extract_lane::<0>(i32x4_add(a, rotate::<1>(a)))
}

/// The largest of the four lanes, none of which is NaN.
#[inline(always)]
pub fn largest_f32(a: V) -> f32 {
    let a = f32x4_pmax(a, rotate::<2>(a));
    f32x4_extract_lane::<0>(f32x4_pmax(a, rotate::<1>(a)))
}

#[inline(always)]
pub fn shl_i32<const N: u32>(a: V) -> V {
    i32x4_shl(a, N)
}

#[inline(always)]
pub fn i32_to_f32(a: V) -> V {
    f32x4_convert_i32x4(a)
}

/// Truncates towards zero; out-of-range lanes saturate, NaN becomes 0.
#[inline(always)]
pub fn f32_to_i32(a: V) -> V {
    i32x4_trunc_sat_f32x4(a)
}

/// Shifts 16-bit lanes: cheaper than byte shifts, and as good where a mask follows.
#[inline(always)]
pub fn shl_u16<const N: u32>(a: V) -> V {
    u16x8_shl(a, N)
}

#[inline(always)]
pub fn shr_u16<const N: u32>(a: V) -> V {
    u16x8_shr(a, N)
}

#[inline(always)]
pub fn extend_low_i16(a: V) -> V {
    i32x4_extend_low_i16x8(a)
}

#[inline(always)]
pub fn extend_high_i16(a: V) -> V {
    i32x4_extend_high_i16x8(a)
}

/// Bytes 0..4 and 4..8 as unsigned integers, converted to f32.
#[inline(always)]
pub fn low_u8_to_f32(a: V) -> (V, V) {
    let wide = u16x8_extend_low_u8x16(a);
    (f32x4_convert_u32x4(u32x4_extend_low_u16x8(wide)), f32x4_convert_u32x4(u32x4_extend_high_u16x8(wide)))
}

/// Bytes 0..4 and 4..8 as signed integers, converted to f32.
#[inline(always)]
pub fn low_i8_to_f32(a: V) -> (V, V) {
    let wide = i16x8_extend_low_i8x16(a);
    (f32x4_convert_i32x4(i32x4_extend_low_i16x8(wide)), f32x4_convert_i32x4(i32x4_extend_high_i16x8(wide)))
}

/// Lanes 0, 2 of both.
#[inline(always)]
pub fn even(a: V, b: V) -> V {
    i32x4_shuffle::<0, 2, 4, 6>(a, b)
}

/// Lanes 1, 3 of both.
#[inline(always)]
pub fn odd(a: V, b: V) -> V {
    i32x4_shuffle::<1, 3, 5, 7>(a, b)
}

/// Lanes 0, 0, 2, 2.
#[inline(always)]
pub fn even_twice(a: V) -> V {
    i32x4_shuffle::<0, 0, 2, 2>(a, a)
}

/// Lanes 1, 1, 3, 3.
#[inline(always)]
pub fn odd_twice(a: V) -> V {
    i32x4_shuffle::<1, 1, 3, 3>(a, a)
}

/// Lanes 1, 0, 3, 2.
#[inline(always)]
pub fn swap_pairs(a: V) -> V {
    i32x4_shuffle::<1, 0, 3, 2>(a, a)
}

/// Turns the signs of f32 lanes 0 and 2.
#[inline(always)]
pub fn negate_even(a: V) -> V {
    v128_xor(a, i32x4(i32::MIN, 0, i32::MIN, 0))
}

/// Moves bytes 8..16 to 0..8.
#[inline(always)]
pub fn high_half(a: V) -> V {
    u64x2_shuffle::<1, 1>(a, a)
}

/// Lane r of the result is lane (r + K) mod 4.
#[inline(always)]
pub fn rotate<const K: usize>(a: V) -> V {
    match K {
        1 => i32x4_shuffle::<1, 2, 3, 0>(a, a),
        2 => i32x4_shuffle::<2, 3, 0, 1>(a, a),
        3 => i32x4_shuffle::<3, 0, 1, 2>(a, a),
        _ => a,
    }
}

/// Lane 0 of a, 1 of b, 2 of c, 3 of d.
#[inline(always)]
pub fn diagonal(a: V, b: V, c: V, d: V) -> V {
    let low = i32x4_shuffle::<0, 5, 0, 5>(a, b);
    let high = i32x4_shuffle::<2, 7, 2, 7>(c, d);
    i32x4_shuffle::<0, 1, 4, 5>(low, high)
}
