//! Rotary position embedding.
//!
//! Pair i of a head is rotated by θ = position · frequency_i: (a, b) → (a·cos θ − b·sin θ, a·sin θ + b·cos θ).
//! Sines and cosines are made once per step and shared by all heads and layers; angles in f64, since at
//! position 10⁵ an f32 angle is off by 10⁻².

use crate::plan::Pairs;

/// Sines and cosines of one position: `[cos, sin]` per pair.
pub fn angles(position: usize, frequencies: &[f32], magnitude: f32, out: &mut [[f32; 2]]) {
    for (out, frequency) in out.iter_mut().zip(frequencies) {
        let (sin, cos) = (position as f64 * f64::from(*frequency)).sin_cos();
        *out = [cos as f32 * magnitude, sin as f32 * magnitude];
    }
}

/// Rotates every head of `dim` values of a row in place.
pub fn rotate(row: &mut [f32], dim: usize, pairs: Pairs, angles: &[[f32; 2]]) {
    for head in row.chunks_exact_mut(dim) {
        match pairs {
            Pairs::Interleaved => {
                for (pair, [cos, sin]) in head.as_chunks_mut::<2>().0.iter_mut().zip(angles) {
                    let [a, b] = *pair;
                    *pair = [a * cos - b * sin, a * sin + b * cos];
                }
            }
            Pairs::Halves => {
                let (low, high) = head.split_at_mut(angles.len());
                for ((a, b), [cos, sin]) in low.iter_mut().zip(high).zip(angles) {
                    (*a, *b) = (*a * cos - *b * sin, *a * sin + *b * cos);
                }
            }
        }
    }
}
