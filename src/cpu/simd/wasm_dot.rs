//! Products of weights' codes with activations' codes, in WebAssembly SIMD.

use super::V;
use core::arch::wasm32::*;
pub use dot::*;

/// Relaxed SIMD: one instruction multiplies 16 bytes by 16 bytes and adds groups of four to i32 lanes. It is
/// exact where one operand is within 0..=127.
#[cfg(target_feature = "relaxed-simd")]
mod dot {
    use super::*;
    use crate::cpu::simd::{self, rotate};

    /// How a quantized activation is stored.
    pub type Code = i8;
    /// Vectors of weights' rows that a tile takes at a time: 8 sums, 2 of weights, 4 of activations in 16 registers.
    pub const SPAN: usize = 2;

    /// Four activations in every 32-bit lane.
    #[derive(Clone, Copy)]
    pub struct Quad(V);

    /// Sixteen activations of one row.
    #[derive(Clone, Copy)]
    pub struct Sixteen(V);

    /// Four i32 sums in the making.
    #[derive(Clone, Copy)]
    pub struct Sums(V);

    impl Sixteen {
        #[inline(always)]
        pub fn load(codes: &[[Code; 4]; 4]) -> Self {
            // SAFETY: the pointer is to 16 readable bytes.
            Sixteen(unsafe { v128_load(codes.as_ptr().cast()) })
        }

        /// Four of them, the same in all lanes.
        #[inline(always)]
        pub fn quad(self, group: usize) -> Quad {
            Quad(match group {
                0 => i32x4_shuffle::<0, 0, 0, 0>(self.0, self.0),
                1 => i32x4_shuffle::<1, 1, 1, 1>(self.0, self.0),
                2 => i32x4_shuffle::<2, 2, 2, 2>(self.0, self.0),
                _ => i32x4_shuffle::<3, 3, 3, 3>(self.0, self.0),
            })
        }
    }

    impl Quad {
        /// Four activations of each of four rows. Lane r of vector k has row (r + k) mod 4.
        ///
        /// # Safety
        /// Sixteen codes are there.
        #[inline(always)]
        pub unsafe fn load_rotated(at: *const Code) -> [Quad; 4] {
            // SAFETY: the caller's promise.
            let v = unsafe { v128_load(at.cast()) };
            [Quad(v), Quad(rotate::<1>(v)), Quad(rotate::<2>(v)), Quad(rotate::<3>(v))]
        }
    }

    /// Sixteen codes in groups of four, given as integers within ±127.
    #[inline(always)]
    pub fn narrow_codes([a, b, c, d]: [V; 4]) -> [[Code; 4]; 4] {
        let v = i8x16_narrow_i16x8(i16x8_narrow_i32x4(a, b), i16x8_narrow_i32x4(c, d));
        let mut codes = [[0; 4]; 4];
        // SAFETY: the pointer is to 16 writable bytes.
        unsafe { v128_store(codes.as_mut_ptr().cast(), v) };
        codes
    }

    impl Sums {
        #[inline(always)]
        pub fn new(start: V) -> Self {
            Sums(start)
        }

        /// Adds, per lane, the four products of unsigned weights (0..=127) and signed activations.
        #[inline(always)]
        pub fn add_unsigned(&mut self, weights: V, quad: Quad) {
            self.0 = i32x4_relaxed_dot_i8x16_i7x16_add(quad.0, weights, self.0);
        }

        /// Adds, per lane, four products of signed weights and activations, **less the sum of |a| over the
        /// negative activations a**, which the sums begin with.
        ///
        /// |a| serves as the 7-bit operand, and w ^ mask = −w − 1 where a < 0: |a|·(−w − 1) = a·w + a.
        #[inline(always)]
        pub fn add_signed(&mut self, weights: V, quad: Quad) {
            let negative = i8x16_lt(quad.0, i8x16_splat(0));
            let magnitude = i8x16_abs(quad.0);
            self.0 = i32x4_relaxed_dot_i8x16_i7x16_add(v128_xor(weights, negative), magnitude, self.0);
        }

        #[inline(always)]
        pub fn finish(self) -> V {
            self.0
        }
    }

    /// Whether [`Sums::add_unsigned`] takes any byte for a weight. WebAssembly promises 7 bits; the 8th is a part of
    /// the number where V8 has the dot product of AVX-VNNI, a sign on ARM, and else sums overflow. Where it is a part,
    /// signed weights take one operation instead of two, turned over beforehand: 1.6 times the speed on a Zen 5.
    pub fn takes_bytes() -> bool {
        let (a, byte) = (simd::opaque(i8x16_splat(127)), simd::opaque(u8x16_splat(255)));
        i32x4_extract_lane::<0>(i32x4_relaxed_dot_i8x16_i7x16_add(a, byte, i32x4_splat(0))) == 4 * 127 * 255
    }

    /// What the sums of [`Sums::add_signed`] begin with, given Σ |a| over the negative activations of a half.
    #[inline(always)]
    pub fn signed_start(negative_sums: V) -> V {
        negative_sums
    }
}

/// Plain SIMD: products of 16-bit integers, added in pairs. Activations are kept as i16, and the two halves
/// of a pair are brought together once per half block.
#[cfg(not(target_feature = "relaxed-simd"))]
mod dot {
    use super::*;

    pub type Code = i16;
    /// 4 × 2 vectors of sums, 4 of activations and 2 of weights in 16 registers.
    pub const SPAN: usize = 1;

    /// Four activations for each of two rows of weights, and for each of two more.
    #[derive(Clone, Copy)]
    pub struct Quad {
        low: V,
        high: V,
    }

    #[derive(Clone, Copy)]
    pub struct Sixteen([V; 2]);

    #[derive(Clone, Copy)]
    pub struct Sums {
        start: V,
        /// Lanes: rows 0, 0, 1, 1 (columns 01 and 23).
        low: V,
        /// Lanes: rows 2, 2, 3, 3.
        high: V,
    }

    impl Sixteen {
        #[inline(always)]
        pub fn load(codes: &[[Code; 4]; 4]) -> Self {
            // SAFETY: the pointers are to 16 readable bytes each.
            unsafe { Sixteen([v128_load(codes.as_ptr().cast()), v128_load(codes.as_ptr().add(2).cast())]) }
        }

        #[inline(always)]
        pub fn quad(self, group: usize) -> Quad {
            let v = self.0[group / 2];
            let low = if group % 2 == 0 { i64x2_shuffle::<0, 0>(v, v) } else { i64x2_shuffle::<1, 1>(v, v) };
            Quad { low, high: low }
        }
    }

    impl Quad {
        /// # Safety
        /// As for the relaxed form.
        #[inline(always)]
        pub unsafe fn load_rotated(at: *const Code) -> [Quad; 4] {
            // SAFETY: the caller's promise.
            let (a, b) = unsafe { (v128_load(at.cast()), v128_load(at.add(8).cast())) };
            let (ab, ba) = (i64x2_shuffle::<1, 2>(a, b), i64x2_shuffle::<1, 2>(b, a));
            [
                Quad { low: a, high: b },
                Quad { low: ab, high: ba },
                Quad { low: b, high: a },
                Quad { low: ba, high: ab },
            ]
        }
    }

    #[inline(always)]
    pub fn narrow_codes([a, b, c, d]: [V; 4]) -> [[Code; 4]; 4] {
        let mut codes = [[0; 4]; 4];
        // SAFETY: the pointers are to 16 writable bytes each.
        unsafe {
            v128_store(codes.as_mut_ptr().cast(), i16x8_narrow_i32x4(a, b));
            v128_store(codes.as_mut_ptr().add(2).cast(), i16x8_narrow_i32x4(c, d));
        }
        codes
    }

    impl Sums {
        #[inline(always)]
        pub fn new(start: V) -> Self {
            Sums { start, low: i32x4_splat(0), high: i32x4_splat(0) }
        }

        #[inline(always)]
        pub fn add_unsigned(&mut self, weights: V, quad: Quad) {
            self.add_signed(weights, quad);
        }

        #[inline(always)]
        pub fn add_signed(&mut self, weights: V, quad: Quad) {
            self.low = i32x4_add(self.low, i32x4_dot_i16x8(i16x8_extend_low_i8x16(weights), quad.low));
            self.high = i32x4_add(self.high, i32x4_dot_i16x8(i16x8_extend_high_i8x16(weights), quad.high));
        }

        #[inline(always)]
        pub fn finish(self) -> V {
            let even = i32x4_shuffle::<0, 2, 4, 6>(self.low, self.high);
            let odd = i32x4_shuffle::<1, 3, 5, 7>(self.low, self.high);
            i32x4_add(self.start, i32x4_add(even, odd))
        }
    }

    pub fn takes_bytes() -> bool {
        false
    }

    #[inline(always)]
    pub fn signed_start(_negative_sums: V) -> V {
        i32x4_splat(0)
    }
}
