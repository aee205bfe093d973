//! Activations as the kernels read them: rows of int8 codes with one scale per 16 values; on request also of what these
//! leave, in the same form, so that the sum of both terms has 15 bits.
//!
//! Weights have a scale per 32 values, and so do llama.cpp's activations. Half of that costs the kernels three
//! operations in forty and takes a quarter off the error of a whole model: the mean |Δ log-probability| of
//! SmolLM2-135M Q4_1 falls from 0.058 to 0.045.

use super::simd::{self, Code, V};
use crate::quant::BLOCK;
use serde::Deserialize;

/// How exactly activations are multiplied with weights of few bits. Weights that are floats are multiplied with floats.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Activations {
    /// As is fastest on the device: in 8 bits on the CPU; on the GPU as floats, which prompts may round to 16 bits, or to 8
    /// where a trial has found that much faster.
    #[default]
    Auto,
    /// In 15 bits on the CPU, as floats of 32 on the GPU: the answers of both are those of floats. (That the GPU rounds to
    /// the CPU's 8 bits does not make them the same: a difference in a sum's last bit turns some codes to those beside them,
    /// and each of these many more in the next layer. A tiny Gemma 3 is as far apart then as without.)
    Full,
}

/// What the scales are multiplied by: 2⁸⁰. Kernels read f16 scales of weights without the factor 2¹¹² that would
/// take a multiplication per vector (`simd::f16_to_f32_unscaled`); this is part of it, and their sums get the rest
/// at the end. All of it is exact, and neither end of the range is near: activations up to 2³⁷ do not overflow.
pub const GAIN: f32 = 1_208_925_819_614_629_174_706_176.0;

/// Rows that are multiplied together.
pub const TILE: usize = 4;

/// 32 quantized activations a ≈ d·q of one row, in two halves of 16, and what a kernel needs to know of them.
#[derive(Clone, Copy)]
#[repr(C, align(16))]
pub struct Block {
    /// Groups of four columns.
    pub codes: [[Code; 4]; 8],
    /// GAIN · d of the halves, where d = max|a| / 127.
    pub d: [f32; 2],
    /// GAIN · Σ d·q, both halves.
    pub sum: f32,
    /// −Σ q of the halves: times the code of a weight's zero, what sums of products of unsigned codes begin with.
    pub less: [i32; 2],
    /// Σ |q| over the negative q of the halves: what those of signed codes begin with, see `simd::Sums::add_signed`.
    pub negative: [i32; 2],
}

/// The same of four rows, side by side: a vector has one thing of all four.
#[derive(Clone, Copy)]
#[repr(C, align(16))]
pub struct Tile {
    pub codes: [[[Code; 4]; TILE]; 8],
    pub d: [[f32; TILE]; 2],
    pub sum: [f32; TILE],
    pub less: [[i32; TILE]; 2],
    pub negative: [[i32; TILE]; 2],
}

/// Rows up to which each is multiplied by itself: to unpack the weights and take a tile costs 2.4 times as much as one
/// row does, however many of the tile's rows are there.
const ALONE: usize = 2;

/// Quantized rows of equal length, a multiple of 32. Up to [`ALONE`] rows are kept as they are, more are kept in tiles.
#[derive(Default)]
pub struct Quantized {
    rows: usize,
    /// Blocks of a row.
    width: usize,
    alone: Vec<Block>,
    tiles: Vec<Tile>,
    /// The second term, where there is one, and the values that it is of.
    rest: Option<Box<(Quantized, Vec<f32>)>>,
}

/// What one row of a half becomes.
struct Half {
    codes: [[Code; 4]; 4],
    d: f32,
    sum: i32,
    negative: i32,
}

impl Quantized {
    /// Rows of one term, or of two.
    pub fn new(activations: Activations) -> Self {
        let rest = (activations == Activations::Full).then(Box::default);
        Quantized { rest, ..Default::default() }
    }

    /// Quantizes `values`, rows of `cols` values (a multiple of 32).
    pub fn quantize(&mut self, values: &[f32], cols: usize) {
        self.quantize_term(values, cols);
        if let Some(mut rest) = self.rest.take() {
            rest.1.clear();
            rest.1.extend_from_slice(values);
            self.subtract_from(&mut rest.1);
            rest.0.quantize_term(&rest.1, cols);
            self.rest = Some(rest);
        }
    }

    /// Leaves of `values` what the codes of this term do not tell of them.
    fn subtract_from(&self, values: &mut [f32]) {
        let tiled = self.rows > ALONE;
        for (i, values) in values.as_chunks_mut::<16>().0.iter_mut().enumerate() {
            let (row, block, h) = (i / (2 * self.width), i / 2 % self.width, i % 2);
            for (group, values) in values.as_chunks_mut::<4>().0.iter_mut().enumerate() {
                let (codes, d) = if tiled {
                    let tile = &self.tiles[row / TILE * self.width + block];
                    (tile.codes[h * 4 + group][row % TILE], tile.d[h][row % TILE])
                } else {
                    let block = &self.alone[row * self.width + block];
                    (block.codes[h * 4 + group], block.d[h])
                };
                for (value, code) in values.iter_mut().zip(codes) {
                    *value -= f32::from(code) * (d / GAIN);
                }
            }
        }
    }

    fn quantize_term(&mut self, values: &[f32], cols: usize) {
        debug_assert!(cols.is_multiple_of(BLOCK) && values.len().is_multiple_of(cols));
        self.width = cols / BLOCK;
        self.rows = values.len() / cols.max(1);
        let (blocks, _) = values.as_chunks::<BLOCK>();
        if self.rows <= ALONE {
            self.alone.resize(self.rows * self.width, bytemuck::Zeroable::zeroed());
            for (values, block) in blocks.iter().zip(&mut self.alone) {
                block.fill(values);
            }
            return;
        }
        let tiles = self.rows.div_ceil(TILE);
        self.tiles.resize(tiles * self.width, bytemuck::Zeroable::zeroed());
        for (row, blocks) in blocks.chunks_exact(self.width.max(1)).enumerate() {
            let tiles = &mut self.tiles[row / TILE * self.width..];
            for (values, tile) in blocks.iter().zip(tiles) {
                tile.fill(row % TILE, values);
            }
        }
    }

    /// How many rows there are.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Its terms, each of which has the same rows: their products are to be added.
    pub fn terms(&self) -> impl Iterator<Item = &Quantized> {
        std::iter::once(self).chain(self.rest.iter().map(|rest| &rest.0))
    }

    /// The blocks of each row; `None` where rows are in tiles.
    pub fn alone(&self) -> Option<impl Iterator<Item = &[Block]>> {
        (self.rows <= ALONE).then(|| self.alone.chunks_exact(self.width.max(1)))
    }

    /// The blocks of rows 4·`index` and on. What stands for rows beyond the last one has no meaning.
    pub fn tile(&self, index: usize) -> &[Tile] {
        &self.tiles[index * self.width..(index + 1) * self.width]
    }
}

// SAFETY: integers and floats in fixed places, valid as zeros.
unsafe impl bytemuck::Zeroable for Block {}
// SAFETY: as above.
unsafe impl bytemuck::Zeroable for Tile {}

impl Block {
    fn fill(&mut self, values: &[f32; BLOCK]) {
        let mut sum = 0.0;
        for (h, values) in values.as_chunks::<16>().0.iter().enumerate() {
            let half = quantize_half(values);
            self.codes[h * 4..h * 4 + 4].copy_from_slice(&half.codes);
            self.d[h] = half.d;
            sum += half.d * half.sum as f32;
            (self.less[h], self.negative[h]) = (-half.sum, half.negative);
        }
        self.sum = sum;
    }
}

impl Tile {
    fn fill(&mut self, row: usize, values: &[f32; BLOCK]) {
        let mut sum = 0.0;
        for (h, values) in values.as_chunks::<16>().0.iter().enumerate() {
            let half = quantize_half(values);
            for (group, codes) in half.codes.iter().enumerate() {
                self.codes[h * 4 + group][row] = *codes;
            }
            self.d[h][row] = half.d;
            sum += half.d * half.sum as f32;
            (self.less[h][row], self.negative[h][row]) = (-half.sum, half.negative);
        }
        self.sum[row] = sum;
    }
}

/// q = round(a·127/max|a|), ties to even. Zeros, or values too small to divide by, give zeros.
#[inline(always)]
fn quantize_half(values: &[f32; 16]) -> Half {
    let (a, b) = (simd::load_f32(values, 0), simd::load_f32(values, 4));
    let (c, d) = (simd::load_f32(values, 8), simd::load_f32(values, 12));
    // From 0 on: what is not a number is dropped.
    let largest = simd::max_f32(simd::splat_f32(0.0), simd::abs_f32(a));
    let largest = simd::max_f32(simd::max_f32(largest, simd::abs_f32(b)), simd::abs_f32(c));
    let largest = simd::largest_f32(simd::max_f32(largest, simd::abs_f32(d)));
    if !(largest > 1e-35 && largest.is_finite()) {
        return Half { codes: [[0; 4]; 4], d: 0.0, sum: 0, negative: 0 };
    }
    let inverse = simd::splat_f32(127.0 / largest);
    let (a, b, c, d) = (nearest(a, inverse), nearest(b, inverse), nearest(c, inverse), nearest(d, inverse));
    let sum = simd::add_i32(simd::add_i32(a, b), simd::add_i32(c, d));
    let zero = simd::splat_i32(0);
    let below = simd::add_i32(
        simd::add_i32(simd::min_i32(a, zero), simd::min_i32(b, zero)),
        simd::add_i32(simd::min_i32(c, zero), simd::min_i32(d, zero)),
    );
    Half {
        codes: simd::narrow_codes([a, b, c, d]),
        d: largest / 127.0 * GAIN,
        sum: simd::sum_i32(sum),
        negative: -simd::sum_i32(below),
    }
}

/// a/d to the nearest integer, ties to even, at most ±127: |a|·(127/max|a|) rounds to no more. What is not a number
/// becomes −127.
///
/// Adding 1.5·2²³ leaves no bits for a fraction: the sum's last bits are the integer. V8's conversion, which must
/// saturate, takes nine instructions instead of two.
#[inline(always)]
fn nearest(a: V, inverse: V) -> V {
    const MAGIC: f32 = 12_582_912.0;
    let scaled = simd::max_f32(simd::splat_f32(-127.0), simd::mul_f32(a, inverse));
    let rounded = simd::add_f32(scaled, simd::splat_f32(MAGIC));
    simd::sub_i32(rounded, simd::splat_i32(MAGIC.to_bits() as i32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_within_half_a_step_and_sums_are_exact() {
        let values: [f32; BLOCK] = std::array::from_fn(|k| ((k * 7919) % 101) as f32 / 10.0 - 5.0);
        let mut quantized = Quantized::default();
        quantized.quantize(&values, BLOCK);
        let block = quantized.alone().unwrap().next().unwrap()[0];
        let mut sum = 0.0;
        for (h, (codes, values)) in block.codes.chunks(4).zip(values.chunks(16)).enumerate() {
            let codes = codes.as_flattened();
            for (code, value) in codes.iter().zip(values) {
                assert!((f32::from(*code) * block.d[h] / GAIN - value).abs() <= block.d[h] / GAIN * 0.5001);
            }
            let codes = || codes.iter().map(|code| i32::from(*code));
            sum += block.d[h] * codes().sum::<i32>() as f32;
            assert_eq!(block.less[h], -codes().sum::<i32>());
            assert_eq!(block.negative[h], codes().map(|code| (-code).max(0)).sum::<i32>());
        }
        assert_eq!(block.sum, sum);
    }

    #[test]
    fn a_tile_has_what_its_rows_have_alone() {
        let values: Vec<f32> = (0..6 * 64).map(|k| ((k * 7919) % 1013) as f32 / 100.0 - 5.0).collect();
        let mut together = Quantized::default();
        together.quantize(&values, 64);
        assert_eq!((together.rows(), together.alone().is_none()), (6, true));
        for (row, values) in values.chunks_exact(64).enumerate() {
            let mut alone = Quantized::default();
            alone.quantize(values, 64);
            let row_alone = alone.alone().unwrap().next().unwrap();
            for (block, tile) in row_alone.iter().zip(together.tile(row / TILE)) {
                let t = row % TILE;
                assert_eq!(tile.codes.map(|group| group[t]), block.codes);
                assert_eq!((tile.d.map(|d| d[t]), tile.sum[t]), (block.d, block.sum));
                assert_eq!(
                    (tile.less.map(|half| half[t]), tile.negative.map(|half| half[t])),
                    (block.less, block.negative)
                );
            }
        }
    }

    #[test]
    fn two_terms_leave_a_hundredth_of_what_one_leaves() {
        for rows in [1, 2, 3, 6] {
            let values: Vec<f32> = (0..rows * 64).map(|k| ((k * 7919) % 1013) as f32 / 100.0 - 5.0).collect();
            let mut quantized = Quantized::new(Activations::Full);
            quantized.quantize(&values, 64);
            let mut left = values.clone();
            for term in quantized.terms() {
                assert_eq!((term.rows(), term.alone().is_some()), (rows, rows <= ALONE));
                term.subtract_from(&mut left);
            }
            assert_eq!(quantized.terms().count(), 2);
            for (left, values) in left.chunks(16).zip(values.chunks(16)) {
                let largest = values.iter().fold(0.0, |most: f32, value| most.max(value.abs()));
                // Half a step of the second term, whose largest value is half a step of the first.
                let most = largest / 127.0 / 2.0 / 127.0 / 2.0 * 1.01;
                assert!(left.iter().all(|left| left.abs() <= most), "{left:?}, at most {most}");
            }
        }
    }

    #[test]
    fn zeros_tiny_values_and_nan_give_zeros() {
        for value in [0.0, 1e-40, f32::NAN, f32::INFINITY] {
            let mut quantized = Quantized::default();
            quantized.quantize(&[value; BLOCK], BLOCK);
            assert!(
                quantized.alone().unwrap().next().unwrap()[0]
                    .codes
                    .as_flattened()
                    .iter()
                    .all(|code| *code == 0)
            );
        }
    }
}
