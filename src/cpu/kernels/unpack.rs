//! Packed codes → operands of the integer dot product: two vectors (rows 0..4, rows 4..8) per column group.

use crate::cpu::simd::{self, V};
use crate::quant::{Bytes, Codes, FiveBits, Listed, Nibbles, SixBits, Table};

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

/// Groups 0 to 3 take one operation, the others five.
///
/// # Safety
/// `block` has the bytes of a block of five-bit codes.
#[inline(always)]
unsafe fn five_bits(block: *const u8, group: usize, half: usize, [five, three, high]: [V; 3]) -> V {
    // SAFETY: four times two vectors, and one more per half.
    let whole = unsafe { simd::load_at(block.add((group % 4 * 2 + half) * 16)) };
    if group < 4 {
        return simd::and(whole, five);
    }
    // SAFETY: as above.
    let bits = unsafe { simd::load_at(block.add(128 + half * 16)) };
    let bits = match group {
        4 => simd::shl_u16::<3>(bits),
        5 => simd::shl_u16::<1>(bits),
        6 => simd::shr_u16::<1>(bits),
        _ => simd::shr_u16::<3>(bits),
    };
    simd::or(simd::and(simd::shr_u16::<5>(whole), three), simd::and(bits, high))
}

/// Groups 0 to 3 take one operation, the others four or five.
///
/// # Safety
/// `block` has the bytes of a block of six-bit codes.
#[inline(always)]
unsafe fn six_bits(block: *const u8, group: usize, half: usize, [six, four, high]: [V; 3]) -> V {
    // SAFETY: four times two vectors, and two more per half.
    let whole = unsafe { simd::load_at(block.add((group % 4 * 2 + half) * 16)) };
    if group < 4 {
        return simd::and(whole, six);
    }
    // SAFETY: as above.
    let pairs = unsafe { simd::load_at(block.add(128 + ((group - 4) / 2 * 2 + half) * 16)) };
    let pairs = if group.is_multiple_of(2) { pairs } else { simd::shr_u16::<4>(pairs) };
    simd::or(simd::and(pairs, four), simd::and(simd::shr_u16::<2>(whole), high))
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

impl<T: Table> Unpack for Listed<T> {
    type Masks = [V; 2];

    fn masks() -> [V; 2] {
        [mask(15), simd::opaque(simd::load(bytemuck::cast_slice(&T::NUMBERS), 0))]
    }

    #[inline(always)]
    unsafe fn group(block: *const u8, group: usize, [four, table]: [V; 2]) -> [V; 2] {
        // SAFETY: the caller's promise.
        let codes = unsafe { <Nibbles as Unpack>::group(block, group, four) };
        codes.map(|codes| simd::look_up(table, codes))
    }
}

impl Unpack for FiveBits {
    type Masks = [V; 3];

    fn masks() -> [V; 3] {
        [mask(31), mask(7), mask(24)]
    }

    #[inline(always)]
    unsafe fn group(block: *const u8, group: usize, masks: [V; 3]) -> [V; 2] {
        // SAFETY: the caller's promise.
        unsafe { [five_bits(block, group, 0, masks), five_bits(block, group, 1, masks)] }
    }
}

impl Unpack for SixBits {
    type Masks = [V; 3];

    fn masks() -> [V; 3] {
        [mask(63), mask(15), mask(48)]
    }

    #[inline(always)]
    unsafe fn group(block: *const u8, group: usize, masks: [V; 3]) -> [V; 2] {
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
