//! Activations as the kernels read them: rows of int8 codes with one scale per 32 values.

use super::simd::{self, Code};
use crate::quant::BLOCK;

/// What a kernel needs to know of 32 quantized activations a ≈ d·q.
#[derive(Clone, Copy, Default)]
pub struct Block {
    /// The scale d = max|a| / 127.
    pub d: f32,
    /// d · Σ q
    pub sum: f32,
    /// Σ q of the first 16 and of the last 16 values.
    pub halves: [i32; 2],
    /// Σ |q| over the negative q of the first 16 and of the last 16 values.
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

/// q = round(a·127/max|a|), ties to even. A block of zeros, or of values too small to divide by, gives zeros.
fn quantize(values: &[f32; BLOCK], codes: &mut [Code; BLOCK]) -> Block {
    let mut largest = simd::splat_f32(0.0);
    for k in 0..8 {
        largest = simd::max_f32(largest, simd::abs_f32(simd::load_f32(values, k * 4)));
    }
    let largest = simd::to_f32s(largest).into_iter().fold(0.0, f32::max);
    if !(largest > 1e-35 && largest.is_finite()) {
        codes.fill(0);
        return Block::default();
    }
    let d = largest / 127.0;
    let inverse = simd::splat_f32(127.0 / largest);
    let mut block = Block { d, ..Block::default() };
    for k in 0..8 {
        let rounded = simd::nearest_f32(simd::mul_f32(simd::load_f32(values, k * 4), inverse));
        for (code, rounded) in codes[k * 4..].iter_mut().zip(simd::to_f32s(rounded)) {
            // At most ±127: |a|·(127/max|a|) rounds to no more.
            let q = rounded as i32;
            *code = q as Code;
            block.halves[k / 4] += q;
            block.negative[k / 4] += (-q).max(0);
        }
    }
    block.sum = d * (block.halves[0] + block.halves[1]) as f32;
    block
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
        for (code, value) in row.codes.iter().zip(values) {
            assert!((f32::from(*code) * block.d - value).abs() <= block.d * 0.5001);
        }
        let sum: i32 = row.codes.iter().map(|code| i32::from(*code)).sum();
        assert_eq!(block.halves[0] + block.halves[1], sum);
        assert_eq!(block.sum, block.d * sum as f32);
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
