//! 128-bit vectors: the one place that knows which instructions there are.
//!
//! `wasm.rs` maps to WebAssembly SIMD (with or without the relaxed dot product), `portable.rs` computes
//! the same values with arrays, for native tests. Every operation is exact or rounds once, in the same
//! order, so the three builds agree to the bit. Fused multiply-add is left out for that reason.

#[cfg(target_arch = "wasm32")]
mod wasm;
#[cfg(target_arch = "wasm32")]
pub use wasm::*;

#[cfg(not(target_arch = "wasm32"))]
mod portable;
#[cfg(not(target_arch = "wasm32"))]
pub use portable::*;

mod math;
pub use math::{exp, gelu_tanh, sigmoid};

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
