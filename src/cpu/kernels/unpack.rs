//! Packed codes → operands of the integer dot product: two vectors (rows 0..4, rows 4..8) per column group.

use crate::cpu::simd::{self, V};
use crate::quant::{Bytes, Codes, FiveBits, Nibbles, SixBits};

/// Codes that kernels can read.
pub trait Unpack: Codes {
    /// Whether the codes are signed bytes; else they are within 0..=127.
    const SIGNED: bool = false;

    /// The codes of column group `group` (0..8) of a block, rows 0..4 and 4..8.
    fn group(block: &[u8], group: usize) -> [V; 2];
}

#[inline(always)]
fn nibbles(block: &[u8], group: usize, half: usize) -> V {
    let pairs = simd::load(block, (group % 4 * 2 + half) * 16);
    let low = if group < 4 { pairs } else { simd::shr_u16::<4>(pairs) };
    simd::and(low, simd::splat_u8(15))
}

#[inline(always)]
fn five_bits(block: &[u8], group: usize, half: usize) -> V {
    let bits = simd::load(block, Nibbles::BYTES + half * 16);
    let fifth = simd::and(shift(bits, 4 - group as i32), simd::splat_u8(16));
    simd::or(nibbles(block, group, half), fifth)
}

#[inline(always)]
fn six_bits(block: &[u8], group: usize, half: usize) -> V {
    let bits = simd::load(block, Nibbles::BYTES + (half * 2 + group / 4) * 16);
    let high = simd::and(shift(bits, 4 - 2 * (group % 4) as i32), simd::splat_u8(48));
    simd::or(nibbles(block, group, half), high)
}

/// `v` shifted left by `bits`, or right if negative, within 16-bit lanes: a mask must follow.
#[inline(always)]
fn shift(v: V, bits: i32) -> V {
    match bits {
        4 => simd::shl_u16::<4>(v),
        3 => simd::shl_u16::<3>(v),
        2 => simd::shl_u16::<2>(v),
        1 => simd::shl_u16::<1>(v),
        -1 => simd::shr_u16::<1>(v),
        -2 => simd::shr_u16::<2>(v),
        -3 => simd::shr_u16::<3>(v),
        _ => v,
    }
}

impl Unpack for Nibbles {
    #[inline(always)]
    fn group(block: &[u8], group: usize) -> [V; 2] {
        [nibbles(block, group, 0), nibbles(block, group, 1)]
    }
}

impl Unpack for FiveBits {
    #[inline(always)]
    fn group(block: &[u8], group: usize) -> [V; 2] {
        [five_bits(block, group, 0), five_bits(block, group, 1)]
    }
}

impl Unpack for SixBits {
    #[inline(always)]
    fn group(block: &[u8], group: usize) -> [V; 2] {
        [six_bits(block, group, 0), six_bits(block, group, 1)]
    }
}

impl Unpack for Bytes {
    const SIGNED: bool = true;

    #[inline(always)]
    fn group(block: &[u8], group: usize) -> [V; 2] {
        [simd::load(block, group * 32), simd::load(block, group * 32 + 16)]
    }
}
