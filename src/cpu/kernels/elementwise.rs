//! Operations on single values: x += y, x = f(x), x = f(x)·y. Shape: four lanes at a time over whole rows.

use crate::cpu::simd::{self, V};
use crate::plan::Activation;

/// x += y
pub fn add(x: &mut [f32], y: &[f32]) {
    for (x, y) in x.iter_mut().zip(y) {
        *x += y;
    }
}

/// x = f(x)
pub fn activate(f: Activation, x: &mut [f32]) {
    match f {
        Activation::Silu => map(x, silu),
        Activation::GeluTanh => map(x, simd::gelu_tanh),
        Activation::GeluErf => {
            for x in x {
                *x = 0.5 * *x * (1.0 + libm::erff(*x * std::f32::consts::FRAC_1_SQRT_2));
            }
        }
    }
}

/// x = f(x)·y
pub fn gate(f: Activation, x: &mut [f32], y: &[f32]) {
    activate(f, x);
    for (x, y) in x.iter_mut().zip(y) {
        *x *= y;
    }
}

#[inline(always)]
fn silu(x: V) -> V {
    simd::mul_f32(x, simd::sigmoid(x))
}

fn map(x: &mut [f32], f: impl Fn(V) -> V) {
    let (fours, rest) = x.as_chunks_mut::<4>();
    for four in fours {
        let y = f(simd::load_f32(four, 0));
        simd::store_f32(four, 0, y);
    }
    for x in rest {
        *x = simd::to_f32s(f(simd::splat_f32(*x)))[0];
    }
}
