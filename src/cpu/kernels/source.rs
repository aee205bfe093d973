//! How the formats' codes and scales make weights, read block by block from a packed panel.

use super::unpack::Unpack;
use crate::cpu::activations::GAIN;
use crate::cpu::simd::{self, F16_SCALE, V};
use crate::quant::{Codes, PANEL, Panel};
use std::marker::PhantomData;

/// How codes and scales make weights.
pub trait Rule {
    /// Whether the codes are signed bytes; else they are within 0..=127.
    const SIGNED: bool = false;
    /// Whether each 16 columns have a scale of their own; else each 32.
    const HALVES: bool = false;
    /// Whether a minimum is added to every weight.
    const MINIMA: bool = false;

    /// What sums begin with, given −Σ a and, over the negative a, Σ |a|.
    #[inline(always)]
    fn start(_less: V, _negative: V) -> V {
        simd::splat_i32(0)
    }
}

/// y = s·(q − 8)
pub struct FromEight;
impl Rule for FromEight {
    #[inline(always)]
    fn start(less: V, _negative: V) -> V {
        simd::shl_i32::<3>(less)
    }
}

/// y = s·(q − 16)
pub struct FromSixteen;
impl Rule for FromSixteen {
    #[inline(always)]
    fn start(less: V, _negative: V) -> V {
        simd::shl_i32::<4>(less)
    }
}

/// y = s·(q − 32), with a scale per 16 columns.
pub struct HalvesFromThirtyTwo;
impl Rule for HalvesFromThirtyTwo {
    const HALVES: bool = true;

    #[inline(always)]
    fn start(less: V, _negative: V) -> V {
        simd::shl_i32::<5>(less)
    }
}

/// Signed bytes: y = s·q.
pub struct Signed;
impl Rule for Signed {
    const SIGNED: bool = true;

    #[inline(always)]
    fn start(_less: V, negative: V) -> V {
        simd::signed_start(negative)
    }
}

/// The same with their highest bits turned over, where [`simd::takes_bytes`]: y = s·(q − 128).
pub struct FromHundredTwentyEight;
impl Rule for FromHundredTwentyEight {
    #[inline(always)]
    fn start(less: V, _negative: V) -> V {
        simd::shl_i32::<7>(less)
    }
}

/// Codes from 0 on: y = s·q + m.
pub struct Offset;
impl Rule for Offset {
    const MINIMA: bool = true;
}

/// How the scales of a unit of a packed panel are laid out.
pub trait Layout {
    type Codes: Unpack;
    type Rule: Rule;
    /// Blocks of 32 columns in a unit.
    const BLOCKS: usize;
    const SCALE_BYTES: usize;
    /// What makes products with activations' scales right: 1 / GAIN, and what widening f16 left out.
    const RESCALE: f32;

    /// The scales of a block (or half) of the unit, for two times four rows.
    ///
    /// # Safety
    /// `unit` has SCALE_BYTES readable bytes, `block` is below BLOCKS.
    unsafe fn scales(unit: *const u8, block: usize, half: usize, f16: simd::F16) -> [V; 2];

    /// The minima of a block of the unit.
    ///
    /// # Safety
    /// As for `scales`.
    unsafe fn minima(_unit: *const u8, _block: usize, _f16: simd::F16) -> [V; 2] {
        [simd::splat_f32(0.0); 2]
    }
}

#[inline(always)]
fn times([d0, d1]: [V; 2], (a, b): (V, V)) -> [V; 2] {
    [simd::mul_f32(d0, a), simd::mul_f32(d1, b)]
}

/// One f16 scale per 32 columns: Q4_0, Q5_0, Q8_0.
pub struct Single<C, R>(PhantomData<(C, R)>);

impl<C: Unpack, R: Rule> Layout for Single<C, R> {
    type Codes = C;
    type Rule = R;
    const BLOCKS: usize = 1;
    const SCALE_BYTES: usize = 16;
    const RESCALE: f32 = F16_SCALE / GAIN;

    #[inline(always)]
    unsafe fn scales(unit: *const u8, _block: usize, _half: usize, f16: simd::F16) -> [V; 2] {
        // SAFETY: the unit is 16 bytes long.
        f16.widen(unsafe { simd::load_at(unit) })
    }
}

/// An f16 scale and an f16 minimum per 32 columns: Q4_1, Q5_1.
pub struct Pair<C>(PhantomData<C>);

impl<C: Unpack> Layout for Pair<C> {
    type Codes = C;
    type Rule = Offset;
    const BLOCKS: usize = 1;
    const SCALE_BYTES: usize = 32;
    const RESCALE: f32 = F16_SCALE / GAIN;

    #[inline(always)]
    unsafe fn scales(unit: *const u8, _block: usize, _half: usize, f16: simd::F16) -> [V; 2] {
        // SAFETY: the unit is 32 bytes long.
        f16.widen(unsafe { simd::load_at(unit) })
    }

    #[inline(always)]
    unsafe fn minima(unit: *const u8, _block: usize, f16: simd::F16) -> [V; 2] {
        // SAFETY: as above.
        f16.widen(unsafe { simd::load_at(unit.add(16)) })
    }
}

/// f32 d and −dmin per 256 columns, a byte s and a byte m per 32: Q4_K, Q5_K. The products d·s (11 bits × 6) are
/// exact.
pub struct Super<C>(PhantomData<C>);

impl<C: Unpack> Layout for Super<C> {
    type Codes = C;
    type Rule = Offset;
    const BLOCKS: usize = 8;
    const SCALE_BYTES: usize = 192;
    const RESCALE: f32 = 1.0 / GAIN;

    #[inline(always)]
    unsafe fn scales(unit: *const u8, block: usize, _half: usize, _f16: simd::F16) -> [V; 2] {
        // SAFETY: the unit is 64 + 8·16 bytes long.
        let (d, bytes) = unsafe { (load_two(unit), simd::load_at(unit.add(64 + block * 16))) };
        times(d, simd::low_u8_to_f32(bytes))
    }

    #[inline(always)]
    unsafe fn minima(unit: *const u8, block: usize, _f16: simd::F16) -> [V; 2] {
        // SAFETY: as above.
        let (d, bytes) = unsafe { (load_two(unit.add(32)), simd::load_at(unit.add(64 + block * 16))) };
        times(d, simd::low_u8_to_f32(simd::high_half(bytes)))
    }
}

/// f32 d per 256 columns, a signed byte s per 16: Q6_K. The products d·s (11 bits × 8) are exact.
pub struct SuperHalves<C, R>(PhantomData<(C, R)>);

impl<C: Unpack, R: Rule> Layout for SuperHalves<C, R> {
    type Codes = C;
    type Rule = R;
    const BLOCKS: usize = 8;
    const SCALE_BYTES: usize = 160;
    const RESCALE: f32 = 1.0 / GAIN;

    #[inline(always)]
    unsafe fn scales(unit: *const u8, block: usize, half: usize, _f16: simd::F16) -> [V; 2] {
        // SAFETY: the unit is 32 + 8·16 bytes long.
        let (d, bytes) = unsafe { (load_two(unit), simd::load_at(unit.add(32 + block * 16))) };
        times(d, simd::low_i8_to_f32(if half == 0 { bytes } else { simd::high_half(bytes) }))
    }
}

/// # Safety
/// 32 bytes are there.
#[inline(always)]
unsafe fn load_two(at: *const u8) -> [V; 2] {
    // SAFETY: the caller's promise.
    unsafe { [simd::load_at(at), simd::load_at(at.add(16))] }
}

/// 8 rows × 32 columns of a packed panel.
pub struct Packed<L: Layout> {
    codes: *const u8,
    unit: *const u8,
    block: usize,
    masks: <L::Codes as Unpack>::Masks,
    f16: simd::F16,
}

impl<L: Layout> Clone for Packed<L> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<L: Layout> Copy for Packed<L> {}

impl<L: Layout> Packed<L> {
    /// Calls `f` for every block of the panel, in the order of the columns.
    #[inline(always)]
    pub fn for_each(panel: Panel, mut f: impl FnMut(Self)) {
        let units = panel.codes.len() / (L::BLOCKS * L::Codes::BYTES);
        assert!(panel.scales.len() >= units * L::SCALE_BYTES);
        let (mut codes, mut unit) = (panel.codes.as_ptr(), panel.scales.as_ptr());
        let (masks, f16) = (L::Codes::masks(), simd::F16::new());
        for _ in 0..units {
            for block in 0..L::BLOCKS {
                f(Packed { codes, unit, block, masks, f16 });
                // SAFETY: the panel has `units` units of BLOCKS blocks; a pointer one past the end is not read.
                codes = unsafe { codes.add(L::Codes::BYTES) };
            }
            // SAFETY: likewise.
            unit = unsafe { unit.add(L::SCALE_BYTES) };
        }
    }

    /// The codes of a column group (0..8).
    #[inline(always)]
    pub fn group(self, group: usize) -> [V; 2] {
        // SAFETY: `for_each` makes these only for blocks that are there.
        unsafe { L::Codes::group(self.codes, group, self.masks) }
    }

    /// The scales of the block, or of a half of it.
    #[inline(always)]
    pub fn scales(self, half: usize) -> [V; 2] {
        // SAFETY: as above.
        unsafe { L::scales(self.unit, self.block, half, self.f16) }
    }

    /// The minima of the block.
    #[inline(always)]
    pub fn minima(self) -> [V; 2] {
        // SAFETY: as above.
        unsafe { L::minima(self.unit, self.block, self.f16) }
    }
}

/// Whether a panel's outputs are 8, as all of this assumes.
const _: () = assert!(PANEL == 8);
