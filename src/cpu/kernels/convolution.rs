//! A causal convolution of each column by itself: x_t[c] = Σ_j w_j[c]·x_{t−J+1+j}[c], for one row t.
//!
//! Shape: four columns at a time, all taps of them. Rows are taken from the last to the first, so that a row still has
//! what it came with when those behind it are computed: no copy of them is made.

use crate::cpu::simd;

/// Computes row `x` in place. `before` are the J − 1 rows before it, the nearest last, as they came; `weights` the J
/// rows of taps, the row's own last. All are equally long.
pub fn convolve(x: &mut [f32], before: &[&[f32]], weights: &[&[f32]]) {
    let Some((own, weights)) = weights.split_last() else { return };
    let whole = x.len() / 4 * 4;
    for at in (0..whole).step_by(4) {
        let mut sum = simd::mul_f32(simd::load_f32(own, at), simd::load_f32(x, at));
        for (weights, before) in weights.iter().zip(before) {
            let product = simd::mul_f32(simd::load_f32(weights, at), simd::load_f32(before, at));
            sum = simd::add_f32(sum, product);
        }
        simd::store_f32(x, at, sum);
    }
    for at in whole..x.len() {
        let mut sum = own[at] * x[at];
        for (weights, before) in weights.iter().zip(before) {
            sum += weights[at] * before[at];
        }
        x[at] = sum;
    }
}
