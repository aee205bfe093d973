//! The gated delta rule (arXiv 2412.06464) of one head: S *= decay; δ = rate·(v − Sᵀk); S += k·δᵀ; out = Sᵀq.
//!
//! A column of S needs no other column. Shape: 16 columns at a time (four vectors) through all rows of a sequence: of a
//! state of 128 × 128 they are 8 KB, which stay in the first cache while the rows pass, and sums stay in registers. S is
//! read twice and written once for a row: Sᵀk is taken before the decay and multiplied with it, as if it came after.

use crate::cpu::simd;

/// What a row brings. Vectors have `dim` values.
pub struct Token<'a> {
    pub q: &'a [f32],
    pub k: &'a [f32],
    pub v: &'a [f32],
    /// In 0..=1.
    pub decay: f32,
    /// In 0..=1.
    pub rate: f32,
}

/// e^(a·softplus(x)), with a ≤ 0.
pub fn decay(a: f32, x: f32) -> f32 {
    // ln(1 + eˣ), of which nothing overflows.
    let softplus = x.max(0.0) + libm::log1pf(libm::expf(-x.abs()));
    libm::expf(a * softplus)
}

/// σ(x)
pub fn rate(x: f32) -> f32 {
    1.0 / (1.0 + libm::expf(-x))
}

/// Takes a head's `state`, `dim` × `dim` with `dim` a multiple of four, through rows; `out` has `dim` values for each.
pub fn run(state: &mut [f32], dim: usize, tokens: &[Token], out: &mut [f32]) {
    let whole = dim / 16 * 16;
    for first in (0..whole).step_by(16) {
        columns::<4>(state, dim, first, tokens, out);
    }
    for first in (whole..dim).step_by(4) {
        columns::<1>(state, dim, first, tokens, out);
    }
}

/// 4·V columns from `first` on.
fn columns<const V: usize>(state: &mut [f32], dim: usize, first: usize, tokens: &[Token], out: &mut [f32]) {
    let zero = [simd::splat_f32(0.0); V];
    let range = first..first + 4 * V;
    for (token, out) in tokens.iter().zip(out.chunks_exact_mut(dim)) {
        let mut known = zero;
        for (k, row) in token.k.iter().zip(state.chunks_exact(dim)) {
            let (k, row) = (simd::splat_f32(*k), &row[range.clone()]);
            for (n, known) in known.iter_mut().enumerate() {
                *known = simd::add_f32(*known, simd::mul_f32(k, simd::load_f32(row, 4 * n)));
            }
        }
        let (decay, rate) = (simd::splat_f32(token.decay), simd::splat_f32(token.rate));
        let v = &token.v[range.clone()];
        let mut change = zero;
        for n in 0..V {
            let missing = simd::sub_f32(simd::load_f32(v, 4 * n), simd::mul_f32(decay, known[n]));
            change[n] = simd::mul_f32(rate, missing);
        }
        let mut sums = zero;
        for ((k, q), row) in token.k.iter().zip(token.q).zip(state.chunks_exact_mut(dim)) {
            let (k, q, row) = (simd::splat_f32(*k), simd::splat_f32(*q), &mut row[range.clone()]);
            for n in 0..V {
                let kept = simd::mul_f32(decay, simd::load_f32(row, 4 * n));
                let value = simd::add_f32(kept, simd::mul_f32(k, change[n]));
                simd::store_f32(row, 4 * n, value);
                sums[n] = simd::add_f32(sums[n], simd::mul_f32(q, value));
            }
        }
        let out = &mut out[range.clone()];
        for (n, sum) in sums.into_iter().enumerate() {
            simd::store_f32(out, 4 * n, sum);
        }
    }
}
