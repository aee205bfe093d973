//! Keys and values as integers with scales, and how their words lie.
//!
//! **Codes.** Keys and values are integers, with a scale for each [`Codes::BLOCK`] values of a head's vector, so that
//! attention multiplies integers: twice or four times as many per instruction as f32, after no conversion, with
//! exact sums. [`KvType::F16`] takes the two bytes of an f16, but spends them on steps of 2⁻¹³ of the block's largest
//! value, where f16 has steps of 2⁻¹⁰ or less of each value: the error of a score, queries' rounding included, is
//! smaller.
//!
//! **Layout.** A *word* is 32 bits of codes: two or four dimensions of a position (keys), or two or four positions of
//! a dimension (values). A [`Row`] is one word each of 8 positions (keys) or of 8 dimensions (values), and the rows
//! of the same 8 follow one another. So lanes are what is wanted (scores of positions, dimensions of the output), a
//! word times a [`Factor`] is what has to be summed up, and everything is read in the order it lies in.

use super::page::{PAGE, TILE};
use crate::cpu::simd::{self, Factor, Pair, SignedQuad, UnsignedQuad};
use crate::plan;
use std::ops::Range;

/// Words per row.
pub const ROW: usize = 8;

/// How keys and values are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
pub enum KvType {
    /// 16 bits per value.
    #[default]
    #[serde(rename = "f16")]
    F16,
    /// 8 bits per value.
    #[serde(rename = "q8_0")]
    Q8_0,
}

impl KvType {
    /// Bytes of a page of a cache.
    pub fn page_bytes(self, cache: &plan::Cache) -> usize {
        let shape = self.shape(cache.dim);
        PAGE / TILE * cache.heads * (shape.rows() * size_of::<Row>() + shape.scales() * size_of::<f32>())
    }

    pub fn shape(self, dim: usize) -> Shape {
        match self {
            KvType::F16 => Shape::new::<Sixteen>(dim),
            KvType::Q8_0 => Shape::new::<Eight>(dim),
        }
    }
}

/// What a [`KvType`] stores.
pub trait Codes {
    type Code: bytemuck::Pod;
    /// What queries become.
    type Query: Factor;
    /// What probabilities become.
    type Weight: Factor;
    /// Values that share a scale.
    const BLOCK: usize;
    /// The largest code.
    const LARGEST: f32;

    /// What numbers are multiplied with so that, rounded, they are factors of a type, given the largest of their
    /// absolute values and the sum of those.
    fn fit(largest: f32, sum: f32) -> f32;

    /// Packs the codes of a word.
    fn word(codes: &[i32]) -> u32;

    fn code(code: i32) -> Self::Code;
}

/// Codes of 16 bits, up to 2¹³: sums of products must not exceed an i32, and what codes do not take of its bits is left
/// to what they are multiplied with. With this share both lose about as much.
pub struct Sixteen;

impl Codes for Sixteen {
    type Code = i16;
    type Query = Pair;
    type Weight = Pair;
    const BLOCK: usize = 64;
    const LARGEST: f32 = 8191.0;

    /// Factors of 16 bits whose absolute values, up to 64 rounded numbers, add up to less than 2¹⁸.
    fn fit(largest: f32, sum: f32) -> f32 {
        (32767.0 / largest).min(262_000.0 / sum)
    }

    fn word(codes: &[i32]) -> u32 {
        (codes[0] as u32 & 0xffff) | (codes[1] as u32) << 16
    }

    fn code(code: i32) -> i16 {
        code as i16
    }
}

/// Codes of 8 bits.
pub struct Eight;

impl Codes for Eight {
    type Code = i8;
    type Query = SignedQuad;
    type Weight = UnsignedQuad;
    const BLOCK: usize = 32;
    const LARGEST: f32 = 127.0;

    fn fit(largest: f32, _sum: f32) -> f32 {
        127.0 / largest
    }

    fn word(codes: &[i32]) -> u32 {
        u32::from_le_bytes([codes[0] as u8, codes[1] as u8, codes[2] as u8, codes[3] as u8])
    }

    fn code(code: i32) -> i8 {
        code as i8
    }
}

/// Eight words: one vector would not keep both multipliers of a core busy.
#[derive(Clone, Copy, Default, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(32))]
pub struct Row(pub [u32; ROW]);

/// What one head has in a tile.
#[derive(Clone, Copy)]
pub struct Shape {
    /// Dimensions, filled up to whole rows.
    pub width: usize,
    /// Words of one position (keys), or of one dimension (values).
    pub words: [usize; 2],
    /// Scales of one position.
    pub blocks: usize,
}

impl Shape {
    pub fn new<C: Codes>(dim: usize) -> Self {
        let width = dim.next_multiple_of(ROW);
        Shape {
            width,
            words: [width / C::Query::WORD, TILE / C::Weight::WORD],
            blocks: width.div_ceil(C::BLOCK),
        }
    }

    /// Rows of keys and values.
    pub fn rows(&self) -> usize {
        self.key_rows() + self.width / ROW * self.words[1]
    }

    pub fn key_rows(&self) -> usize {
        TILE / ROW * self.words[0]
    }

    /// Where a head's share of a tile lies, `len` of something.
    pub fn part(&self, len: usize, head: usize, tile: usize) -> Range<usize> {
        let at = head * (PAGE / TILE) + tile;
        at * len..(at + 1) * len
    }

    /// Scales of keys and values.
    pub fn scales(&self) -> usize {
        2 * self.blocks * TILE
    }
}

/// Writes the codes of up to 64 values and returns their scale. Values too small to divide by become zeros, and so do
/// all of a block with one that is not a number: a cache must stay finite.
pub fn quantize<C: Codes>(values: &[f32], codes: &mut [i32; 64]) -> f32 {
    let mut padded = [0.0; 64];
    padded[..values.len()].copy_from_slice(values);
    let mut largest = simd::splat_f32(0.0);
    for four in padded.as_chunks::<4>().0 {
        largest = simd::max_f32(largest, simd::abs_f32(simd::load_f32(four, 0)));
    }
    let largest = simd::to_f32s(largest).into_iter().fold(0.0, f32::max);
    if !(largest > 1e-30 && largest.is_finite()) {
        *codes = [0; 64];
        return 0.0;
    }
    let inverse = simd::splat_f32(C::LARGEST / largest);
    for (codes, four) in codes.as_chunks_mut::<4>().0.iter_mut().zip(padded.as_chunks::<4>().0) {
        *codes = simd::to_i32s(simd::round_to_i32(simd::mul_f32(simd::load_f32(four, 0), inverse)));
    }
    largest / C::LARGEST
}
