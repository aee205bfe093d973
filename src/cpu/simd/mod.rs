//! 128-bit vectors: the one place that knows which instructions there are.
//!
//! `wasm.rs` maps to WebAssembly SIMD (with or without the relaxed dot product), `portable.rs` computes
//! the same values with arrays, for native tests. Every operation is exact or rounds once, in the same
//! order, so the three builds agree to the bit. Fused multiply-add is left out for that reason.

#[cfg(target_arch = "wasm32")]
mod wasm;
#[cfg(target_arch = "wasm32")]
mod wasm_dot;
#[cfg(target_arch = "wasm32")]
mod wasm_factors;
#[cfg(target_arch = "wasm32")]
pub use {wasm::*, wasm_dot::*, wasm_factors::*};

#[cfg(not(target_arch = "wasm32"))]
mod portable;
#[cfg(not(target_arch = "wasm32"))]
mod portable_factors;
#[cfg(not(target_arch = "wasm32"))]
pub use {portable::*, portable_factors::*};

mod math;
pub use math::{exp, exp2_negative, gelu_erf, gelu_tanh, round_to_i32, sigmoid, tanh};

/// What multiplies the words of a cache, 32 bits of codes each: in memory, as few bytes as possible; then in every
/// lane of a vector; and sums of the products in the making, which are exact.
pub trait Factor: bytemuck::Pod {
    /// Codes of a word, and numbers of a factor.
    const WORD: usize;
    type Wide: Copy;
    type Sums: Copy;

    /// Packs integers, 16 / [`Factor::WORD`] factors from them.
    fn pack(integers: [V; 4], factors: &mut [Self]);

    fn widen(&self) -> Self::Wide;

    /// Sums that begin with `start`, which [`Factor::start`] gives.
    fn sums(start: i32) -> Self::Sums;

    /// What sums must begin with, if factors have this sum of the absolute values of their negative numbers.
    fn start(_negative: i32) -> i32 {
        0
    }

    /// Adds, per lane, the products of a word and the factor.
    fn add(sums: &mut Self::Sums, words: V, factor: Self::Wide);

    fn finish(sums: Self::Sums) -> V;
}

/// Converts 8 packed f16 values to two vectors of f32, **scaled by 2⁻¹¹²**.
///
/// An f16 shifted left by 13 has its exponent and fraction where f32 has them, but a bias of 15 instead of
/// 127: the value is 2⁻¹¹² times too small, subnormals included. Callers fold the factor [`F16_SCALE`] into
/// a multiplication they do anyway. Infinities and NaN are not represented: packing refuses them.
#[inline(always)]
pub fn f16_to_f32_unscaled(v: V) -> (V, V) {
    let mask = splat_i32(0x8fff_e000_u32 as i32);
    let low = and(shl_i32::<13>(extend_low_i16(v)), mask);
    let high = and(shl_i32::<13>(extend_high_i16(v)), mask);
    (low, high)
}

/// Widens f16 values as [`f16_to_f32_unscaled`] does, with its constant kept in a register.
#[derive(Clone, Copy)]
pub struct F16(V);

impl F16 {
    #[inline(always)]
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        F16(opaque(splat_i32(0x8fff_e000_u32 as i32)))
    }

    #[inline(always)]
    pub fn widen(self, v: V) -> [V; 2] {
        [and(shl_i32::<13>(extend_low_i16(v)), self.0), and(shl_i32::<13>(extend_high_i16(v)), self.0)]
    }
}

/// The same vector, but not a constant to the compilers.
#[inline(always)]
pub fn opaque(v: V) -> V {
    std::hint::black_box(v)
}

/// The factor that [`f16_to_f32_unscaled`] leaves to its caller: 2¹¹².
pub const F16_SCALE: f32 = 5_192_296_858_534_827_628_530_496_329_220_096.0;

/// Converts 8 packed f16 values to two vectors of f32.
#[inline(always)]
pub fn f16_to_f32(v: V) -> (V, V) {
    let (low, high) = f16_to_f32_unscaled(v);
    let scale = splat_f32(F16_SCALE);
    (mul_f32(low, scale), mul_f32(high, scale))
}

/// The sum of the four lanes, pairwise: (0 + 2) + (1 + 3).
#[inline(always)]
pub fn sum_f32(v: V) -> f32 {
    let l = to_f32s(v);
    (l[0] + l[2]) + (l[1] + l[3])
}

/// The largest lane.
#[inline(always)]
pub fn largest(v: V) -> f32 {
    let [a, b, c, d] = to_f32s(v);
    a.max(b).max(c.max(d))
}

/// Σ x², in four lanes, summed pairwise at the end. `x.len()` need not be a multiple of four.
#[inline]
pub fn sum_of_squares(x: &[f32]) -> f32 {
    dot_f32(x, x)
}

/// Σ xᵢyᵢ in eight partial sums. The slices are read up to the shorter one's length.
#[inline]
pub fn dot_f32(x: &[f32], y: &[f32]) -> f32 {
    let (xs, x_rest) = x.as_chunks::<8>();
    let (ys, y_rest) = y.as_chunks::<8>();
    let (mut a, mut b) = (splat_f32(0.0), splat_f32(0.0));
    for (x, y) in xs.iter().zip(ys) {
        a = add_f32(a, mul_f32(load_f32(x, 0), load_f32(y, 0)));
        b = add_f32(b, mul_f32(load_f32(x, 4), load_f32(y, 4)));
    }
    let rest: f32 = x_rest.iter().zip(y_rest).map(|(x, y)| x * y).sum();
    sum_f32(add_f32(a, b)) + rest
}

/// Σ x, in eight partial sums.
#[inline]
pub fn sum(x: &[f32]) -> f32 {
    let (runs, rest) = x.as_chunks::<8>();
    let (mut a, mut b) = (splat_f32(0.0), splat_f32(0.0));
    for run in runs {
        a = add_f32(a, load_f32(run, 0));
        b = add_f32(b, load_f32(run, 4));
    }
    sum_f32(add_f32(a, b)) + rest.iter().sum::<f32>()
}

/// The largest value, NaN passed over; −∞ where there is none.
#[inline]
pub fn maximum(values: &[f32]) -> f32 {
    let least = splat_f32(f32::NEG_INFINITY);
    let mut lanes = [least; 4];
    let (runs, rest) = values.as_chunks::<16>();
    for run in runs {
        for (k, lane) in lanes.iter_mut().enumerate() {
            *lane = max_f32(*lane, load_f32(run, k * 4));
        }
    }
    let lanes = max_f32(max_f32(lanes[0], lanes[1]), max_f32(lanes[2], lanes[3]));
    to_f32s(lanes).into_iter().chain(rest.iter().copied()).fold(f32::NEG_INFINITY, f32::max)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f16_conversion_is_exact_for_every_finite_value() {
        for bits in (0..=u16::MAX).filter(|b| b & 0x7c00 != 0x7c00) {
            let mut bytes = [0u8; 16];
            for lane in bytes.chunks_exact_mut(2) {
                lane.copy_from_slice(&bits.to_le_bytes());
            }
            let (low, high) = f16_to_f32(load(&bytes, 0));
            let want = half::f16::from_bits(bits).to_f32();
            for got in to_f32s(low).into_iter().chain(to_f32s(high)) {
                assert_eq!(got.to_bits(), want.to_bits(), "f16 {bits:#06x}");
            }
        }
    }
}
