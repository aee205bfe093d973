//! Activations as the kernels read them: rows of int8 codes with one scale per 16 values.
//!
//! Weights have a scale per 32 values, and so do llama.cpp's activations. Half of that costs the kernels three
//! operations in forty and takes a quarter off the error of a whole model: the mean |Δ log-probability| of
//! SmolLM2-135M Q4_1 falls from 0.058 to 0.045.

use super::simd::{self, Code};
use crate::quant::BLOCK;

/// What a kernel needs to know of 32 quantized activations a ≈ d·q, in two halves of 16.
#[derive(Clone, Copy, Default)]
pub struct Block {
    /// The scales d = max|a| / 127.
    pub d: [f32; 2],
    /// d · Σ q, both halves.
    pub sum: f32,
    /// Σ q
    pub halves: [i32; 2],
    /// Σ |q| over the negative q.
    pub negative: [i32; 2],
}

/// Quantized rows of equal length, a multiple of 32.
#[derive(Default)]
pub struct Quantized {
    cols: usize,
    codes: Vec<Code>,
    blocks: Vec<Block>,
}

/// One quantized row.
#[derive(Clone, Copy)]
pub struct Row<'a> {
    pub codes: &'a [Code],
    pub blocks: &'a [Block],
}

impl Quantized {
    /// Quantizes `values`, rows of `cols` values (a multiple of 32).
    pub fn quantize(&mut self, values: &[f32], cols: usize) {
        debug_assert!(cols.is_multiple_of(BLOCK) && values.len().is_multiple_of(cols));
        self.cols = cols;
        self.codes.resize(values.len(), 0);
        self.blocks.resize(values.len() / BLOCK, Block::default());
        let (values, _) = values.as_chunks::<BLOCK>();
        let (codes, _) = self.codes.as_chunks_mut::<BLOCK>();
        for ((values, codes), block) in values.iter().zip(codes).zip(&mut self.blocks) {
            *block = quantize(values, codes);
        }
    }

    pub fn row(&self, row: usize) -> Row<'_> {
        let blocks = self.cols / BLOCK;
        Row {
            codes: &self.codes[row * self.cols..(row + 1) * self.cols],
            blocks: &self.blocks[row * blocks..(row + 1) * blocks],
        }
    }
}

fn quantize(values: &[f32; BLOCK], codes: &mut [Code; BLOCK]) -> Block {
    let mut block = Block::default();
    for (half, (values, codes)) in
        values.as_chunks::<16>().0.iter().zip(codes.as_chunks_mut::<16>().0).enumerate()
    {
        quantize_half(values, codes, half, &mut block);
    }
    block
}

/// q = round(a·127/max|a|), ties to even. Zeros, or values too small to divide by, give zeros.
fn quantize_half(values: &[f32; 16], codes: &mut [Code; 16], half: usize, block: &mut Block) {
    let quads: [_; 4] = std::array::from_fn(|k| simd::load_f32(values, k * 4));
    let largest = quads.iter().fold(simd::splat_f32(0.0), |m, quad| simd::max_f32(m, simd::abs_f32(*quad)));
    let largest = simd::to_f32s(largest).into_iter().fold(0.0, f32::max);
    if !(largest > 1e-35 && largest.is_finite()) {
        codes.fill(0);
        return;
    }
    block.d[half] = largest / 127.0;
    let inverse = simd::splat_f32(127.0 / largest);
    for (quad, codes) in quads.into_iter().zip(codes.as_chunks_mut::<4>().0) {
        let rounded = simd::to_f32s(simd::nearest_f32(simd::mul_f32(quad, inverse)));
        for (code, rounded) in codes.iter_mut().zip(rounded) {
            // At most ±127: |a|·(127/max|a|) rounds to no more.
            let q = rounded as i32;
            *code = q as Code;
            block.halves[half] += q;
            block.negative[half] += (-q).max(0);
        }
    }
    block.sum += block.d[half] * block.halves[half] as f32;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_within_half_a_step_and_sums_are_exact() {
        let values: [f32; BLOCK] = std::array::from_fn(|k| ((k * 7919) % 101) as f32 / 10.0 - 5.0);
        let mut quantized = Quantized::default();
        quantized.quantize(&values, BLOCK);
        let row = quantized.row(0);
        let block = row.blocks[0];
        for (half, (codes, values)) in row.codes.chunks(16).zip(values.chunks(16)).enumerate() {
            for (code, value) in codes.iter().zip(values) {
                assert!((f32::from(*code) * block.d[half] - value).abs() <= block.d[half] * 0.5001);
            }
            assert_eq!(block.halves[half], codes.iter().map(|code| i32::from(*code)).sum::<i32>());
        }
        assert_eq!(block.sum, block.d[0] * block.halves[0] as f32 + block.d[1] * block.halves[1] as f32);
    }

    #[test]
    fn zeros_tiny_values_and_nan_give_zeros() {
        for value in [0.0, 1e-40, f32::NAN, f32::INFINITY] {
            let mut quantized = Quantized::default();
            quantized.quantize(&[value; BLOCK], BLOCK);
            assert!(quantized.row(0).codes.iter().all(|code| *code == 0));
        }
    }
}
