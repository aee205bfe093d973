//! Elementary functions of four f32 lanes.

use super::*;

/// 1.5·2²³: added to a number below 2²², it leaves the nearest integer in the lowest bits of the fraction. Cheaper
/// than a rounding and a conversion, which on x86 is eight instructions.
const ROUND: f32 = 12_582_912.0;

/// `p`·2ⁿ, where n are the low bits of `rounded`, a sum with [`ROUND`]: n goes into the exponent.
#[inline(always)]
fn scale_by_power(p: V, rounded: V) -> V {
    add_i32(p, shl_i32::<23>(rounded))
}

/// eˣ to about 1 ulp for x in −87..88; below it returns 0 to within 2⁻¹²⁶, above it saturates.
///
/// x = n·ln 2 + r with |r| ≤ ln 2 / 2; eʳ by a polynomial of degree 6 (off by 2⁻²⁶ of the result).
#[inline(always)]
pub fn exp(x: V) -> V {
    let x = min_f32(max_f32(x, splat_f32(-87.3)), splat_f32(88.3));
    let rounded = add_f32(mul_f32(x, splat_f32(std::f32::consts::LOG2_E)), splat_f32(ROUND));
    let n = sub_f32(rounded, splat_f32(ROUND));
    // ln 2 in two parts: n · 0.693359375 (355/512) is exact, so r carries no cancellation error.
    let r = sub_f32(x, mul_f32(n, splat_f32(0.693_359_4)));
    let r = sub_f32(r, mul_f32(n, splat_f32(-2.121_944_4e-4)));
    let mut p = splat_f32(1.393_365e-3);
    for c in [8.369_155e-3, 4.166_646_7e-2, 1.666_650_5e-1, 0.5, 1.0, 1.0] {
        p = add_f32(mul_f32(p, r), splat_f32(c));
    }
    scale_by_power(p, rounded)
}

/// 2ˣ for x in −126..127, off by 4·10⁻⁷ of the result at most. Two thirds of the price of [`exp`], for where the factor
/// log₂ e costs nothing, or its rounding does no harm.
#[inline(always)]
fn exp2(x: V) -> V {
    let rounded = add_f32(x, splat_f32(ROUND));
    let r = sub_f32(x, sub_f32(rounded, splat_f32(ROUND)));
    let mut p = splat_f32(1.338_131_3e-3);
    for c in [9.666_379e-3, 5.550_381e-2, 2.402_234_8e-1, std::f32::consts::LN_2, 1.0] {
        p = add_f32(mul_f32(p, r), splat_f32(c));
    }
    scale_by_power(p, rounded)
}

/// 2ˣ for x ≤ 0; 2⁻¹²⁶ for x below −126.
#[inline(always)]
pub fn exp2_negative(x: V) -> V {
    exp2(max_f32(x, splat_f32(-126.0)))
}

/// The nearest integers of values in −2²²..2²², ties to even.
#[inline(always)]
pub fn round_to_i32(x: V) -> V {
    add_i32(add_f32(x, splat_f32(ROUND)), splat_i32(-(ROUND.to_bits() as i32)))
}

/// tanh x to 3·10⁻⁷ of itself: 1 − 2/(1 + e²ˣ), which near 0 leaves nothing of x, and there an odd polynomial.
#[inline(always)]
pub fn tanh(x: V) -> V {
    let (one, two) = (splat_f32(1.0), splat_f32(2.0));
    let far = sub_f32(one, div_f32(two, add_f32(one, exp(mul_f32(two, x)))));
    let square = mul_f32(x, x);
    let mut p = splat_f32(-6.268_506_4e-3);
    for c in [2.111_046e-2, -5.387_381_5e-2, 1.333_291_4e-1, -3.333_333e-1] {
        p = add_f32(mul_f32(p, square), splat_f32(c));
    }
    let near = add_f32(x, mul_f32(mul_f32(p, square), x));
    // Squares are not negative: as integers they are in the same order.
    select(less_i32(square, splat_f32(0.36)), near, far)
}

/// 1 / (1 + e⁻ˣ).
#[inline(always)]
pub fn sigmoid(x: V) -> V {
    let one = splat_f32(1.0);
    let power = mul_f32(x, splat_f32(-std::f32::consts::LOG2_E));
    let power = min_f32(max_f32(power, splat_f32(-126.0)), splat_f32(126.0));
    div_f32(one, add_f32(one, exp2(power)))
}

/// GELU in its tanh form, 0.5·x·(1 + tanh(√(2/π)·(x + 0.044715·x³))), as x·σ(2·√(2/π)·(…)).
#[inline(always)]
pub fn gelu_tanh(x: V) -> V {
    let cube = mul_f32(mul_f32(x, x), x);
    let inner = add_f32(x, mul_f32(splat_f32(0.044_715), cube));
    let twice = splat_f32(std::f32::consts::FRAC_2_SQRT_PI * std::f32::consts::SQRT_2);
    mul_f32(x, sigmoid(mul_f32(twice, inner)))
}

/// GELU with the error function, x·Φ(x), off by 2·10⁻⁷·max(1, |x|).
///
/// For x < 0, Φ(x) = ½·erfc(|x|/√2), and erfc(y) = e^(−y²)·P(1/(1 + 0.3275911·y)) with P of degree 5: formula 7.1.26 of
/// Abramowitz and Stegun, off by 1.5·10⁻⁷. For x > 0, Φ(x) = 1 − Φ(−x).
#[inline(always)]
pub fn gelu_erf(x: V) -> V {
    let one = splat_f32(1.0);
    let y = mul_f32(abs_f32(x), splat_f32(std::f32::consts::FRAC_1_SQRT_2));
    let t = div_f32(one, add_f32(one, mul_f32(y, splat_f32(0.327_591_1))));
    let mut p = splat_f32(1.061_405_4);
    for c in [-1.453_152, 1.421_413_7, -0.284_496_74, 0.254_829_6, 0.0] {
        p = add_f32(mul_f32(p, t), splat_f32(c));
    }
    let tail = mul_f32(mul_f32(p, splat_f32(0.5)), exp(sub_f32(splat_f32(0.0), mul_f32(y, y))));
    let phi = select(less_i32(x, splat_i32(0)), tail, sub_f32(one, tail));
    mul_f32(x, phi)
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
    fn powers_of_two_are_within_4e_7_relative() {
        for k in 0..125_999 {
            let x = -0.001 * k as f32;
            let want = f64::from(x).exp2();
            let got = f64::from(to_f32s(exp2_negative(splat_f32(x)))[0]);
            assert!((got / want - 1.0).abs() < 4e-7, "2^{x} = {got}, want {want}");
        }
        assert_eq!(to_f32s(exp2_negative(splat_f32(0.0)))[0], 1.0);
        assert_eq!(to_f32s(exp2_negative(splat_f32(f32::NEG_INFINITY)))[0], 2f32.powi(-126));
    }

    #[test]
    fn values_are_rounded_to_the_nearest_even() {
        for (x, want) in
            [(0.5, 0), (1.5, 2), (-0.5, 0), (-1.5, -2), (2.4999, 2), (32766.5, 32766), (-4.0e6, -4_000_000)]
        {
            assert_eq!(to_i32s(round_to_i32(splat_f32(x))), [want; 4], "{x}");
        }
    }

    #[test]
    fn tanh_is_within_3e_7_relative() {
        for k in 0..100_000 {
            let x = -20.0 + 40.0 * k as f32 / 100_001.0;
            let got = f64::from(to_f32s(tanh(splat_f32(x)))[0]);
            assert!((got / f64::from(x).tanh() - 1.0).abs() < 3e-7, "tanh({x}) = {got}");
        }
        assert_eq!(to_f32s(tanh(splat_f32(0.0)))[0], 0.0);
        for x in [-100.0, 100.0] {
            assert_eq!(to_f32s(tanh(splat_f32(x)))[0], x.signum());
        }
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
            let erf = 0.5 * wide * (1.0 + libm::erf(wide / std::f64::consts::SQRT_2));
            assert!((f64::from(to_f32s(gelu_erf(splat_f32(x)))[0]) - erf).abs() < 3e-7 * wide.abs().max(1.0));
            let sigma = 1.0 / (1.0 + (-wide).exp());
            assert!((f64::from(to_f32s(sigmoid(splat_f32(x)))[0]) - sigma).abs() < 2e-7);
        }
    }
}
