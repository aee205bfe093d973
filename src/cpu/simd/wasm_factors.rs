//! What multiplies the words of a cache, in WebAssembly SIMD.

use super::{Factor, V};
use core::arch::wasm32::*;
pub use quads::*;

/// Two 16-bit numbers.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C)]
pub struct Pair([i16; 2]);

impl Factor for Pair {
    const WORD: usize = 2;
    type Wide = V;
    type Sums = V;

    #[inline(always)]
    fn pack([a, b, c, d]: [V; 4], factors: &mut [Pair]) {
        let to: &mut [Pair; 8] = (&mut factors[..8]).try_into().unwrap();
        // SAFETY: the pointer is to 32 writable bytes.
        unsafe {
            v128_store(to.as_mut_ptr().cast(), i16x8_narrow_i32x4(a, b));
            v128_store(to.as_mut_ptr().cast::<v128>().add(1), i16x8_narrow_i32x4(c, d));
        }
    }

    #[inline(always)]
    fn widen(&self) -> V {
        // SAFETY: the pointer is to 4 readable bytes.
        unsafe { v128_load32_splat((&raw const self.0).cast()) }
    }

    #[inline(always)]
    fn sums(start: i32) -> V {
        i32x4_splat(start)
    }

    #[inline(always)]
    fn add(sums: &mut V, words: V, factor: V) {
        *sums = i32x4_add(*sums, i32x4_dot_i16x8(words, factor));
    }

    #[inline(always)]
    fn finish(sums: V) -> V {
        sums
    }
}

/// Relaxed SIMD: see `wasm.rs`.
#[cfg(target_feature = "relaxed-simd")]
mod quads {
    use super::*;
    use crate::cpu::simd::to_i32s;

    /// Four numbers in −127..=127, as their absolute values and what turns over the codes for the negative ones: see
    /// [`super::super::wasm::Sums::add_signed`].
    #[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
    #[repr(C)]
    pub struct SignedQuad {
        magnitude: u32,
        negative: u32,
    }

    impl Factor for SignedQuad {
        const WORD: usize = 4;
        type Wide = (V, V);
        type Sums = V;

        #[inline(always)]
        fn pack(integers: [V; 4], factors: &mut [SignedQuad]) {
            let codes = narrow(integers);
            let (magnitudes, negatives) =
                (to_i32s(i8x16_abs(codes)), to_i32s(i8x16_lt(codes, i8x16_splat(0))));
            for (k, factor) in factors[..4].iter_mut().enumerate() {
                *factor = SignedQuad { magnitude: magnitudes[k] as u32, negative: negatives[k] as u32 };
            }
        }

        #[inline(always)]
        fn widen(&self) -> (V, V) {
            // SAFETY: the pointers are to 4 readable bytes.
            unsafe {
                (v128_load32_splat(&raw const self.magnitude), v128_load32_splat(&raw const self.negative))
            }
        }

        #[inline(always)]
        fn sums(start: i32) -> V {
            i32x4_splat(start)
        }

        fn start(negative: i32) -> i32 {
            negative
        }

        #[inline(always)]
        fn add(sums: &mut V, words: V, (magnitude, negative): (V, V)) {
            *sums = i32x4_relaxed_dot_i8x16_i7x16_add(v128_xor(words, negative), magnitude, *sums);
        }

        #[inline(always)]
        fn finish(sums: V) -> V {
            sums
        }
    }

    /// Four numbers in 0..=127.
    #[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
    #[repr(C)]
    pub struct UnsignedQuad([u8; 4]);

    impl Factor for UnsignedQuad {
        const WORD: usize = 4;
        type Wide = V;
        type Sums = V;

        #[inline(always)]
        fn pack(integers: [V; 4], factors: &mut [UnsignedQuad]) {
            let to: &mut [UnsignedQuad; 4] = (&mut factors[..4]).try_into().unwrap();
            // SAFETY: the pointer is to 16 writable bytes.
            unsafe { v128_store(to.as_mut_ptr().cast(), narrow(integers)) }
        }

        #[inline(always)]
        fn widen(&self) -> V {
            // SAFETY: the pointer is to 4 readable bytes.
            unsafe { v128_load32_splat((&raw const self.0).cast()) }
        }

        #[inline(always)]
        fn sums(start: i32) -> V {
            i32x4_splat(start)
        }

        #[inline(always)]
        fn add(sums: &mut V, words: V, factor: V) {
            *sums = i32x4_relaxed_dot_i8x16_i7x16_add(words, factor, *sums);
        }

        #[inline(always)]
        fn finish(sums: V) -> V {
            sums
        }
    }

    #[inline(always)]
    fn narrow([a, b, c, d]: [V; 4]) -> V {
        i8x16_narrow_i16x8(i16x8_narrow_i32x4(a, b), i16x8_narrow_i32x4(c, d))
    }
}

/// Plain SIMD: numbers are kept as i16, and the two halves of a word are brought together in the end.
#[cfg(not(target_feature = "relaxed-simd"))]
mod quads {
    use super::*;

    /// Four numbers in −127..=127.
    #[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
    #[repr(C)]
    pub struct SignedQuad([i16; 4]);

    /// Four numbers in 0..=127.
    pub type UnsignedQuad = SignedQuad;

    impl Factor for SignedQuad {
        const WORD: usize = 4;
        type Wide = V;
        /// Words 0, 0, 1, 1 and 2, 2, 3, 3, each the sums of two codes' products.
        type Sums = (V, V);

        #[inline(always)]
        fn pack([a, b, c, d]: [V; 4], factors: &mut [SignedQuad]) {
            let to: &mut [SignedQuad; 4] = (&mut factors[..4]).try_into().unwrap();
            // SAFETY: the pointer is to 32 writable bytes.
            unsafe {
                v128_store(to.as_mut_ptr().cast(), i16x8_narrow_i32x4(a, b));
                v128_store(to.as_mut_ptr().cast::<v128>().add(1), i16x8_narrow_i32x4(c, d));
            }
        }

        #[inline(always)]
        fn widen(&self) -> V {
            // SAFETY: the pointer is to 8 readable bytes.
            unsafe { v128_load64_splat((&raw const self.0).cast()) }
        }

        #[inline(always)]
        fn sums(_start: i32) -> (V, V) {
            (i32x4_splat(0), i32x4_splat(0))
        }

        #[inline(always)]
        fn add((low, high): &mut (V, V), words: V, factor: V) {
            *low = i32x4_add(*low, i32x4_dot_i16x8(i16x8_extend_low_i8x16(words), factor));
            *high = i32x4_add(*high, i32x4_dot_i16x8(i16x8_extend_high_i8x16(words), factor));
        }

        #[inline(always)]
        fn finish((low, high): (V, V)) -> V {
            i32x4_add(i32x4_shuffle::<0, 2, 4, 6>(low, high), i32x4_shuffle::<1, 3, 5, 7>(low, high))
        }
    }
}
