//! Elementary functions of four f32 lanes.

use super::*;

/// eˣ to about 1 ulp for x in −87..88; below it returns 0 to within 2⁻¹²⁶, above it saturates.
///
/// x = n·ln 2 + r with |r| ≤ ln 2 / 2; eʳ by its Taylor polynomial of degree 7 (remainder below 2⁻²⁸ of the
/// result); 2ⁿ by writing n into the exponent.
#[inline(always)]
pub fn exp(x: V) -> V {
    let x = min_f32(max_f32(x, splat_f32(-87.3)), splat_f32(88.3));
    let n = nearest_f32(mul_f32(x, splat_f32(std::f32::consts::LOG2_E)));
    // ln 2 in two parts: n · 0.693359375 (355/512) is exact, so r carries no cancellation error.
    let r = sub_f32(x, mul_f32(n, splat_f32(0.693_359_4)));
    let r = sub_f32(r, mul_f32(n, splat_f32(-2.121_944_4e-4)));
    let mut p = splat_f32(1.0 / 5040.0);
    for c in [1.0 / 720.0, 1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        p = add_f32(mul_f32(p, r), splat_f32(c));
    }
    let power = shl_i32::<23>(add_i32(f32_to_i32(n), splat_i32(127)));
    mul_f32(p, power)
}

/// 1 / (1 + e⁻ˣ).
#[inline(always)]
pub fn sigmoid(x: V) -> V {
    let one = splat_f32(1.0);
    div_f32(one, add_f32(one, exp(sub_f32(splat_f32(0.0), x))))
}

/// GELU in its tanh form, 0.5·x·(1 + tanh(√(2/π)·(x + 0.044715·x³))), as x·σ(2·√(2/π)·(…)).
#[inline(always)]
pub fn gelu_tanh(x: V) -> V {
    let cube = mul_f32(mul_f32(x, x), x);
    let inner = add_f32(x, mul_f32(splat_f32(0.044_715), cube));
    let twice = splat_f32(std::f32::consts::FRAC_2_SQRT_PI * std::f32::consts::SQRT_2);
    mul_f32(x, sigmoid(mul_f32(twice, inner)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_within_2e_7_relative() {
        for k in 0..100_000 {
            let x = -87.0 + 175.0 * k as f32 / 100_000.0;
            let want = f64::from(x).exp();
            let got = f64::from(to_f32s(exp(splat_f32(x)))[0]);
            assert!((got / want - 1.0).abs() < 2e-7, "exp({x}) = {got}, want {want}");
        }
        assert_eq!(to_f32s(exp(splat_f32(0.0)))[0], 1.0);
        assert!(to_f32s(exp(splat_f32(f32::NEG_INFINITY)))[0] < 1e-37);
    }

    #[test]
    fn gelu_and_sigmoid_are_within_1e_6_absolute() {
        for k in 0..100_000 {
            let x = -12.0 + 24.0 * k as f32 / 100_000.0;
            let wide = f64::from(x);
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (wide + 0.044715 * wide.powi(3));
            let gelu = 0.5 * wide * (1.0 + inner.tanh());
            assert!(
                (f64::from(to_f32s(gelu_tanh(splat_f32(x)))[0]) - gelu).abs() < 1e-6 * wide.abs().max(1.0)
            );
            let sigma = 1.0 / (1.0 + (-wide).exp());
            assert!((f64::from(to_f32s(sigmoid(splat_f32(x)))[0]) - sigma).abs() < 2e-7);
        }
    }
}
