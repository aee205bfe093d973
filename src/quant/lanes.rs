//! The rows of a panel as vectors, for packing: four bytes of four rows, or two bytes of eight.
//!
//! Written out for WebAssembly, because a load runs before the browser has optimized anything, and its quick compiler
//! makes of each operation here one instruction of the processor. Elsewhere arrays do the same.

use super::PANEL;

/// The rows of a panel in the file, one after the other, as seen from byte `at` of each.
#[derive(Clone, Copy)]
pub struct Rows<'a> {
    bytes: &'a [u8],
    stride: usize,
    at: usize,
}

impl<'a> Rows<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Rows { bytes, stride: bytes.len() / PANEL, at: 0 }
    }

    /// Bytes of a row.
    pub fn bytes(self) -> usize {
        self.stride
    }

    /// The same rows, seen from `bytes` further on.
    pub fn from(self, bytes: usize) -> Self {
        Rows { at: self.at + bytes, ..self }
    }

    /// Four bytes, from byte `at` on, of each row of a half: byte `r·4 + t` is byte `at + t` of row r.
    #[inline(always)]
    pub fn four(self, half: usize, at: usize) -> Lanes {
        let start = self.at + at + half * 4 * self.stride;
        let end = start + 3 * self.stride + 4;
        arch::four(&self.bytes[start..end], self.stride)
    }

    /// The two bytes at byte `at` of each row.
    #[inline(always)]
    pub fn eight(self, at: usize) -> Lanes {
        let start = self.at + at;
        let end = start + 7 * self.stride + 2;
        arch::eight(&self.bytes[start..end], self.stride)
    }
}

pub use arch::{Lanes, any_sign, any_sign16};

impl Lanes {
    /// Writes the vector as the `index`th of `packed`.
    #[inline(always)]
    pub fn put(self, packed: &mut [u8], index: usize) {
        packed[index * 16..][..16].copy_from_slice(&self.to_bytes());
    }

    /// Byte t of each of the four rows, for t = 0..4.
    #[inline(always)]
    pub fn columns(self) -> [[u8; 4]; 4] {
        bytemuck::cast(self.transposed().to_bytes())
    }
}

#[cfg(target_arch = "wasm32")]
mod arch {
    use core::arch::wasm32::*;
    use std::ops::{BitAnd, BitOr, Shl, Shr};

    /// Four words or eight half-words.
    #[derive(Clone, Copy)]
    pub struct Lanes(v128);

    #[inline(always)]
    pub fn four(bytes: &[u8], stride: usize) -> Lanes {
        debug_assert!(bytes.len() >= 3 * stride + 4);
        let row = |r: usize| bytes.as_ptr().wrapping_add(r * stride).cast();
        // SAFETY: the last of the rows ends with `bytes`; loads need no alignment.
        unsafe {
            let v = v128_load32_zero(row(0));
            let v = v128_load32_lane::<1>(v, row(1));
            let v = v128_load32_lane::<2>(v, row(2));
            Lanes(v128_load32_lane::<3>(v, row(3)))
        }
    }

    #[inline(always)]
    pub fn eight(bytes: &[u8], stride: usize) -> Lanes {
        debug_assert!(bytes.len() >= 7 * stride + 2);
        let row = |r: usize| bytes.as_ptr().wrapping_add(r * stride).cast();
        // SAFETY: as above.
        unsafe {
            let v = v128_load16_lane::<0>(u16x8_splat(0), row(0));
            let v = v128_load16_lane::<1>(v, row(1));
            let v = v128_load16_lane::<2>(v, row(2));
            let v = v128_load16_lane::<3>(v, row(3));
            let v = v128_load16_lane::<4>(v, row(4));
            let v = v128_load16_lane::<5>(v, row(5));
            let v = v128_load16_lane::<6>(v, row(6));
            Lanes(v128_load16_lane::<7>(v, row(7)))
        }
    }

    impl Lanes {
        pub const ZERO: Lanes = Lanes(u32x4(0, 0, 0, 0));

        #[inline(always)]
        pub fn to_bytes(self) -> [u8; 16] {
            // SAFETY: both are 16 bytes, of which any will do.
            unsafe { core::mem::transmute(self.0) }
        }

        /// Byte t of row r goes to where byte r of row t was.
        #[inline(always)]
        pub fn transposed(self) -> Self {
            let v = self.0;
            Lanes(i8x16_shuffle::<0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15>(v, v))
        }
    }

    impl BitAnd<u32> for Lanes {
        type Output = Lanes;
        #[inline(always)]
        fn bitand(self, mask: u32) -> Lanes {
            Lanes(v128_and(self.0, u32x4_splat(mask)))
        }
    }

    impl BitOr for Lanes {
        type Output = Lanes;
        #[inline(always)]
        fn bitor(self, other: Lanes) -> Lanes {
            Lanes(v128_or(self.0, other.0))
        }
    }

    impl Shl<u32> for Lanes {
        type Output = Lanes;
        #[inline(always)]
        fn shl(self, bits: u32) -> Lanes {
            Lanes(u32x4_shl(self.0, bits))
        }
    }

    impl Shr<u32> for Lanes {
        type Output = Lanes;
        #[inline(always)]
        fn shr(self, bits: u32) -> Lanes {
            Lanes(u32x4_shr(self.0, bits))
        }
    }

    /// Adds `carry` to the words, their signs taken off, and says whether any becomes negative.
    #[inline(always)]
    pub fn any_sign(v: Lanes, carry: u32) -> bool {
        u32x4_bitmask(u32x4_add((v & 0x7fff_ffff).0, u32x4_splat(carry))) != 0
    }

    /// The same for half-words.
    #[inline(always)]
    pub fn any_sign16(v: Lanes, carry: u16) -> bool {
        u16x8_bitmask(u16x8_add((v & 0x7fff_7fff).0, u16x8_splat(carry))) != 0
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod arch {
    use std::array::from_fn;
    use std::ops::{BitAnd, BitOr, Shl, Shr};

    /// Four words or eight half-words.
    #[derive(Clone, Copy)]
    pub struct Lanes([u32; 4]);

    #[inline(always)]
    pub fn four(bytes: &[u8], stride: usize) -> Lanes {
        let word = |r: usize| bytes[r * stride..].first_chunk().map_or(0, |word| u32::from_le_bytes(*word));
        Lanes(from_fn(word))
    }

    #[inline(always)]
    pub fn eight(bytes: &[u8], stride: usize) -> Lanes {
        let byte = |r: usize, t: usize| u32::from(bytes[r * stride + t]);
        let half = |r: usize| byte(r, 0) | byte(r, 1) << 8;
        Lanes(from_fn(|pair| half(2 * pair) | half(2 * pair + 1) << 16))
    }

    impl Lanes {
        pub const ZERO: Lanes = Lanes([0; 4]);

        pub fn to_bytes(self) -> [u8; 16] {
            from_fn(|i| self.0[i / 4].to_le_bytes()[i % 4])
        }

        /// Byte t of row r goes to where byte r of row t was.
        pub fn transposed(self) -> Self {
            Lanes(from_fn(|t| u32::from_le_bytes(from_fn(|r| self.0[r].to_le_bytes()[t]))))
        }
    }

    impl BitAnd<u32> for Lanes {
        type Output = Lanes;
        fn bitand(self, mask: u32) -> Lanes {
            Lanes(self.0.map(|word| word & mask))
        }
    }

    impl BitOr for Lanes {
        type Output = Lanes;
        fn bitor(self, other: Lanes) -> Lanes {
            Lanes(from_fn(|i| self.0[i] | other.0[i]))
        }
    }

    impl Shl<u32> for Lanes {
        type Output = Lanes;
        fn shl(self, bits: u32) -> Lanes {
            Lanes(self.0.map(|word| word << bits))
        }
    }

    impl Shr<u32> for Lanes {
        type Output = Lanes;
        fn shr(self, bits: u32) -> Lanes {
            Lanes(self.0.map(|word| word >> bits))
        }
    }

    /// Adds `carry` to the words, their signs taken off, and says whether any becomes negative.
    pub fn any_sign(v: Lanes, carry: u32) -> bool {
        v.0.iter().any(|word| ((word & 0x7fff_ffff) + carry) >> 31 != 0)
    }

    /// The same for half-words.
    pub fn any_sign16(v: Lanes, carry: u16) -> bool {
        v.0.iter()
            .flat_map(|word| [*word as u16, (word >> 16) as u16])
            .any(|h| ((h & 0x7fff) + carry) >> 15 != 0)
    }
}
