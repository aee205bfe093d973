//! Operations on single values: x += y, x *= a number, x = f(x), x = f(x)·y, caps. Shape: four lanes at a time over whole rows.

use crate::cpu::simd::{self, V};
use crate::plan::Activation;

/// x += y
pub fn add(x: &mut [f32], y: &[f32]) {
    zip(x, y, simd::add_f32);
}

/// x *= by
pub fn scale(x: &mut [f32], by: f32) {
    let by = simd::splat_f32(by);
    map(x, |x| simd::mul_f32(x, by));
}

/// x = f(x)
pub fn activate(f: Activation, x: &mut [f32]) {
    match f {
        Activation::Silu => map(x, silu),
        Activation::Sigmoid => map(x, simd::sigmoid),
        Activation::GeluTanh => map(x, simd::gelu_tanh),
        Activation::GeluErf => map(x, simd::gelu_erf),
        Activation::Tanh => map(x, simd::tanh),
    }
}

/// x = f(x)·y
pub fn gate(f: Activation, x: &mut [f32], y: &[f32]) {
    match f {
        Activation::Silu => zip(x, y, |x, y| simd::mul_f32(silu(x), y)),
        Activation::Sigmoid => zip(x, y, |x, y| simd::mul_f32(simd::sigmoid(x), y)),
        Activation::GeluTanh => zip(x, y, |x, y| simd::mul_f32(simd::gelu_tanh(x), y)),
        Activation::GeluErf => zip(x, y, |x, y| simd::mul_f32(simd::gelu_erf(x), y)),
        Activation::Tanh => zip(x, y, |x, y| simd::mul_f32(simd::tanh(x), y)),
    }
}

/// x = cap·tanh(x/cap)
pub fn softcap(x: &mut [f32], cap: f32) {
    let (cap, inverse) = (simd::splat_f32(cap), simd::splat_f32(1.0 / cap));
    map(x, |x| simd::mul_f32(cap, simd::tanh(simd::mul_f32(x, inverse))));
}

#[inline(always)]
fn silu(x: V) -> V {
    simd::mul_f32(x, simd::sigmoid(x))
}

#[inline(always)]
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

/// x = f(x, y)
#[inline(always)]
fn zip(x: &mut [f32], y: &[f32], f: impl Fn(V, V) -> V) {
    let (runs, rest) = x.as_chunks_mut::<16>();
    let (others, other_rest) = y.as_chunks::<16>();
    for (run, other) in runs.iter_mut().zip(others) {
        // All of y before the first store: where y lies a multiple of 4096 bytes and a little behind x, as it does when
        // one is allocated after the other, a load waits for the store before it.
        let others = [
            simd::load_f32(other, 0),
            simd::load_f32(other, 4),
            simd::load_f32(other, 8),
            simd::load_f32(other, 12),
        ];
        for (k, other) in others.into_iter().enumerate() {
            let z = f(simd::load_f32(run, k * 4), other);
            simd::store_f32(run, k * 4, z);
        }
    }
    for (x, y) in rest.iter_mut().zip(other_rest) {
        *x = simd::to_f32s(f(simd::splat_f32(*x), simd::splat_f32(*y)))[0];
    }
}
