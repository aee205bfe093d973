//! RMSNorm and LayerNorm of runs of values.
//!
//! RMS: out = x / √(mean(x²) + ε) · w, or times one number. Layer: out = (x − mean) / √(mean((x − mean)²) + ε) · w + b. Shape: one run
//! at a time, sums in eight lanes. Runs are some hundred values.

use super::elementwise;
use crate::cpu::simd;

/// Normalizes `x` in place by its root mean square.
pub fn rms(x: &mut [f32], weight: &[f32], eps: f32) {
    let scale = 1.0 / (simd::sum_of_squares(x) / x.len() as f32 + eps).sqrt();
    for (x, weight) in x.iter_mut().zip(weight) {
        *x = *x * scale * weight;
    }
}

/// Normalizes `x` in place by its root mean square, to the root mean square `scale`.
pub fn even(x: &mut [f32], scale: f32, eps: f32) {
    let scale = scale / (simd::sum_of_squares(x) / x.len() as f32 + eps).sqrt();
    elementwise::scale(x, scale);
}

/// Normalizes `x` in place by its mean and population variance.
pub fn layer(x: &mut [f32], weight: &[f32], bias: &[f32], eps: f32) {
    let mean = simd::sum(x) / x.len() as f32;
    for x in x.iter_mut() {
        *x -= mean;
    }
    let scale = 1.0 / (simd::sum_of_squares(x) / x.len() as f32 + eps).sqrt();
    for ((x, weight), bias) in x.iter_mut().zip(weight).zip(bias) {
        *x = *x * scale * weight + bias;
    }
}
