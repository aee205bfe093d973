//! Product of a panel of F32, F16 or BF16 weights with T rows of f32 activations.
//!
//! out[t][r] = Σ_k w[r][k]·x[t][k], summed over 32 columns at a time and those sums added in order: shorter
//! chains of additions, and the same order for every T.
//!
//! Shape: one panel (8 rows: two vectors of four) × T activation rows; a broadcast activation serves 8 rows. F16 and BF16
//! are widened to F32 as they are read, which for F16 takes half as long as the products with four rows: of many rows, the
//! panel is widened once, into the first cache.

use crate::cpu::simd::{self, V};
use crate::quant::{Bf16, F16, F32, Format, PANEL, Panel};

/// Weights that convert to f32 exactly.
pub trait Values {
    /// The weights of one column, rows 0..4 and 4..8.
    fn column(codes: &[u8], column: usize) -> (V, V);
}

impl Values for F32 {
    #[inline(always)]
    fn column(codes: &[u8], column: usize) -> (V, V) {
        (simd::load(codes, column * 32), simd::load(codes, column * 32 + 16))
    }
}

impl Values for F16 {
    #[inline(always)]
    fn column(codes: &[u8], column: usize) -> (V, V) {
        simd::f16_to_f32(simd::load(codes, column * 16))
    }
}

impl Values for Bf16 {
    #[inline(always)]
    fn column(codes: &[u8], column: usize) -> (V, V) {
        let halves = simd::load(codes, column * 16);
        (
            simd::shl_i32::<16>(simd::extend_low_i16(halves)),
            simd::shl_i32::<16>(simd::extend_high_i16(halves)),
        )
    }
}

/// The weights of a panel as F32 has them, column by column.
pub fn widen<F: Format + Values>(panel: Panel, wide: &mut Vec<f32>) {
    let columns = panel.codes.len() / F::CODE_BYTES * F::UNIT;
    wide.resize(columns * PANEL, 0.0);
    for (column, eight) in wide.as_chunks_mut::<PANEL>().0.iter_mut().enumerate() {
        let (w0, w1) = F::column(panel.codes, column);
        simd::store_f32(eight, 0, w0);
        simd::store_f32(eight, 4, w1);
    }
}

/// The product of a panel with T rows, each as long as the panel's padded columns.
pub fn product<F: Format + Values, const T: usize>(
    panel: Panel,
    rows: &[&[f32]; T],
    out: &mut [[f32; PANEL]; T],
) {
    let zero = [[simd::splat_f32(0.0); 2]; T];
    let mut totals = zero;
    for (u, codes) in panel.codes.chunks_exact(F::CODE_BYTES).enumerate() {
        let rows: [&[f32]; T] = std::array::from_fn(|t| &rows[t][u * F::UNIT..(u + 1) * F::UNIT]);
        let mut sums = zero;
        for column in 0..F::UNIT {
            let (w0, w1) = F::column(codes, column);
            for (sum, row) in sums.iter_mut().zip(rows) {
                let x = simd::splat_f32(row[column]);
                sum[0] = simd::add_f32(sum[0], simd::mul_f32(w0, x));
                sum[1] = simd::add_f32(sum[1], simd::mul_f32(w1, x));
            }
        }
        for (total, sum) in totals.iter_mut().zip(sums) {
            total[0] = simd::add_f32(total[0], sum[0]);
            total[1] = simd::add_f32(total[1], sum[1]);
        }
    }
    for (out, total) in out.iter_mut().zip(totals) {
        simd::store_f32(out, 0, total[0]);
        simd::store_f32(out, 4, total[1]);
    }
}
