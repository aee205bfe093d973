//! Packed codes → operands of the integer dot product: two vectors (rows 0..4, rows 4..8) per column group.

use crate::cpu::simd::{self, V};
use crate::quant::{Bytes, Codes, FiveBits, Nibbles, SixBits};

/// Codes that kernels can read.
pub trait Unpack: Codes {
    /// The constants that unpacking needs. V8 makes a constant anew wherever it is used, in three instructions:
    /// these come from `simd::opaque`, which it keeps in a register.
    type Masks: Copy;

    fn masks() -> Self::Masks;

    /// The codes of column group `group` (0..8) of a block, rows 0..4 and 4..8.
    ///
    /// # Safety
    /// `block` has BYTES readable bytes, and `group` is below 8.
    unsafe fn group(block: *const u8, group: usize, masks: Self::Masks) -> [V; 2];
}

/// # Safety
/// `block` has the bytes of a block of nibbles.
#[inline(always)]
unsafe fn nibbles(block: *const u8, group: usize, half: usize, mask: V) -> V {
    // SAFETY: at most (3·2 + 1)·16 + 16 bytes.
    let pairs = unsafe { simd::load_at(block.add((group % 4 * 2 + half) * 16)) };
    let low = if group < 4 { pairs } else { simd::shr_u16::<4>(pairs) };
    simd::and(low, mask)
}

/// # Safety
/// `block` has the bytes of a block of five-bit codes.
#[inline(always)]
unsafe fn five_bits(block: *const u8, group: usize, half: usize, [four, fifth]: [V; 2]) -> V {
    // SAFETY: the two vectors of fifth bits stand after the nibbles.
    let bits = unsafe { simd::load_at(block.add(Nibbles::BYTES + half * 16)) };
    // SAFETY: the nibbles come first.
    let low = unsafe { nibbles(block, group, half, four) };
    simd::or(low, simd::and(shift(bits, 4 - group as i32), fifth))
}

/// # Safety
/// `block` has the bytes of a block of six-bit codes.
#[inline(always)]
unsafe fn six_bits(block: *const u8, group: usize, half: usize, [four, high]: [V; 2]) -> V {
    // SAFETY: the four vectors of high bits stand after the nibbles.
    let bits = unsafe { simd::load_at(block.add(Nibbles::BYTES + (half * 2 + group / 4) * 16)) };
    // SAFETY: the nibbles come first.
    let low = unsafe { nibbles(block, group, half, four) };
    simd::or(low, simd::and(shift(bits, 4 - 2 * (group % 4) as i32), high))
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

fn mask(byte: u8) -> V {
    simd::opaque(simd::splat_u8(byte))
}

impl Unpack for Nibbles {
    type Masks = V;

    fn masks() -> V {
        mask(15)
    }

    #[inline(always)]
    unsafe fn group(block: *const u8, group: usize, four: V) -> [V; 2] {
        // SAFETY: the caller's promise.
        unsafe { [nibbles(block, group, 0, four), nibbles(block, group, 1, four)] }
    }
}

impl Unpack for FiveBits {
    type Masks = [V; 2];

    fn masks() -> [V; 2] {
        [mask(15), mask(16)]
    }

    #[inline(always)]
    unsafe fn group(block: *const u8, group: usize, masks: [V; 2]) -> [V; 2] {
        // SAFETY: the caller's promise.
        unsafe { [five_bits(block, group, 0, masks), five_bits(block, group, 1, masks)] }
    }
}

impl Unpack for SixBits {
    type Masks = [V; 2];

    fn masks() -> [V; 2] {
        [mask(15), mask(48)]
    }

    #[inline(always)]
    unsafe fn group(block: *const u8, group: usize, masks: [V; 2]) -> [V; 2] {
        // SAFETY: the caller's promise.
        unsafe { [six_bits(block, group, 0, masks), six_bits(block, group, 1, masks)] }
    }
}

impl Unpack for Bytes {
    type Masks = ();

    fn masks() {}

    #[inline(always)]
    unsafe fn group(block: *const u8, group: usize, (): ()) -> [V; 2] {
        // SAFETY: at most 7·32 + 16 + 16 bytes.
        unsafe { [simd::load_at(block.add(group * 32)), simd::load_at(block.add(group * 32 + 16))] }
    }
}
