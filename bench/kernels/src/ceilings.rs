//! What the tab can do at best: reads of memory in order, and dot products that wait for nothing.

use core::arch::wasm32::*;

/// Loop turns of one `dot`, and dot products in a turn: more chains than a dot product's latency.
const TURNS: usize = 1 << 20;
const CHAINS: usize = 12;
/// Multiplications and additions of one `dot`.
pub const DOT_OPS: usize = TURNS * CHAINS * OPS;

/// Reads all of `memory` once.
pub fn stream(memory: &[u128]) {
    let mut sums = [i32x4_splat(0); 4];
    for four in memory.as_chunks::<4>().0 {
        // SAFETY: each pointer is to 16 readable bytes.
        unsafe {
            sums[0] = v128_xor(sums[0], v128_load((&raw const four[0]).cast()));
            sums[1] = v128_xor(sums[1], v128_load((&raw const four[1]).cast()));
            sums[2] = v128_xor(sums[2], v128_load((&raw const four[2]).cast()));
            sums[3] = v128_xor(sums[3], v128_load((&raw const four[3]).cast()));
        }
    }
    let sum = v128_xor(v128_xor(sums[0], sums[1]), v128_xor(sums[2], sums[3]));
    core::hint::black_box(i32x4_extract_lane::<0>(sum));
}

#[cfg(target_feature = "relaxed-simd")]
const OPS: usize = 32;
#[cfg(target_feature = "relaxed-simd")]
fn step(a: v128, b: v128, sum: v128) -> v128 {
    i32x4_relaxed_dot_i8x16_i7x16_add(a, b, sum)
}

#[cfg(not(target_feature = "relaxed-simd"))]
const OPS: usize = 16;
#[cfg(not(target_feature = "relaxed-simd"))]
fn step(a: v128, _b: v128, sum: v128) -> v128 {
    // A product of what never changes would be made once.
    i32x4_add(sum, i32x4_dot_i16x8(a, sum))
}

/// Integer dot products in independent chains, which start from different values lest they be merged into one.
pub fn dot(memory: &[u128]) {
    // SAFETY: the pointer is to 16 readable bytes.
    let load = |k: usize| unsafe { v128_load((&raw const memory[k]).cast()) };
    let (a, b) = (load(0), load(1));
    let (mut s0, mut s1, mut s2, mut s3, mut s4, mut s5) =
        (load(2), load(3), load(4), load(5), load(6), load(7));
    let (mut t0, mut t1, mut t2, mut t3, mut t4, mut t5) =
        (load(8), load(9), load(10), load(11), load(12), load(13));
    for _ in 0..TURNS {
        s0 = step(a, b, s0);
        s1 = step(a, b, s1);
        s2 = step(a, b, s2);
        s3 = step(a, b, s3);
        s4 = step(a, b, s4);
        s5 = step(a, b, s5);
        t0 = step(a, b, t0);
        t1 = step(a, b, t1);
        t2 = step(a, b, t2);
        t3 = step(a, b, t3);
        t4 = step(a, b, t4);
        t5 = step(a, b, t5);
    }
    let s = i32x4_add(i32x4_add(s0, s1), i32x4_add(i32x4_add(s2, s3), i32x4_add(s4, s5)));
    let t = i32x4_add(i32x4_add(t0, t1), i32x4_add(i32x4_add(t2, t3), i32x4_add(t4, t5)));
    // All lanes count: a scalar sum of one lane would do a quarter of the work.
    core::hint::black_box(i32x4_all_true(i32x4_add(s, t)));
}
