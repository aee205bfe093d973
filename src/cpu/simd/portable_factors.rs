//! What multiplies the words of a cache, with arrays.

use super::{Factor, V};

/// The [`Factor`] of `$n` numbers of type `$t` for codes of that type.
macro_rules! factor {
    ($name:ident, $t:ty, $code:ty, $n:literal) => {
        #[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
        #[repr(C)]
        pub struct $name([$t; $n]);

        impl Factor for $name {
            const WORD: usize = $n;
            type Wide = Self;
            type Sums = [i32; 4];

            #[inline(always)]
            fn pack(integers: [V; 4], factors: &mut [Self]) {
                let integers: [i32; 16] = bytemuck::cast(integers.map(|v| v.0));
                for (numbers, factor) in integers.chunks_exact($n).zip(&mut factors[..16 / $n]) {
                    factor.0 = std::array::from_fn(|k| numbers[k] as $t);
                }
            }

            #[inline(always)]
            fn widen(&self) -> Self {
                *self
            }

            #[inline(always)]
            fn sums(_start: i32) -> [i32; 4] {
                [0; 4]
            }

            #[inline(always)]
            fn add(sums: &mut [i32; 4], words: V, factor: Self) {
                let codes: [[$code; $n]; 4] = bytemuck::cast(words.0);
                for (sum, codes) in sums.iter_mut().zip(codes) {
                    for k in 0..$n {
                        *sum += i32::from(codes[k]) * i32::from(factor.0[k]);
                    }
                }
            }

            #[inline(always)]
            fn finish(sums: [i32; 4]) -> V {
                V(bytemuck::cast(sums))
            }
        }
    };
}
factor!(Pair, i16, i16, 2);
factor!(SignedQuad, i8, i8, 4);
factor!(UnsignedQuad, u8, i8, 4);
