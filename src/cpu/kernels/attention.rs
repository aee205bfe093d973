//! Attention over the cache in pages, with online softmax.
//!
//! out_h = Σ_k softmax(scale·q_h·K + mask)_k · V_k. For each key/value head and each page of [`PAGE`]
//! positions, keys and values are widened from f16 once and used by every query that shares the head: the
//! query heads of its group × the tokens of the step. A query keeps its running maximum m, sum l and
//! output o; a page with maximum m' rescales them by e^(m − m').
//!
//! Keys of a page are stored dimension by dimension, so that lanes are positions and scores need no
//! horizontal sums; values are stored position by position, so that lanes are dimensions. The pages of a
//! query are always the same and taken in order: its answer does not depend on what is computed beside it.

use crate::cpu::cache::{Layer, PAGE, Page};
use crate::cpu::simd;
use std::ops::Range;

/// What one call computes.
pub struct Attention<'a> {
    pub layer: &'a Layer,
    /// Query heads of the model.
    pub heads: usize,
    pub scale: f32,
    pub softcap: Option<f32>,
    pub causal: bool,
    /// Position of the first row.
    pub start: usize,
    /// Values from one row to the next in `q`.
    pub stride: usize,
}

/// Buffers that outlive a call.
#[derive(Default)]
pub struct Scratch {
    keys: Vec<f32>,
    values: Vec<f32>,
    queries: Vec<Query>,
}

/// The running state of one query.
#[derive(Clone, Copy)]
struct Query {
    /// Where its head begins in `q`.
    at: usize,
    /// Where it begins in `out`.
    out: usize,
    position: usize,
    maximum: f32,
    sum: f32,
}

impl Attention<'_> {
    /// Computes some query heads of `rows` rows. `out` gets these heads, row by row.
    pub fn run(&self, heads: Range<usize>, rows: usize, q: &[f32], out: &mut [f32], scratch: &mut Scratch) {
        let cache = self.layer.cache;
        let group = self.heads / cache.heads;
        let width = heads.len() * cache.dim;
        for head in 0..cache.heads {
            let shared = heads.start.max(head * group)..heads.end.min((head + 1) * group);
            scratch.queries.clear();
            for row in 0..rows {
                for h in shared.clone() {
                    let at = row * self.stride + h * cache.dim;
                    let to = row * width + (h - heads.start) * cache.dim;
                    out[to..to + cache.dim].fill(0.0);
                    scratch.queries.push(Query {
                        at,
                        out: to,
                        position: self.start + row,
                        maximum: f32::NEG_INFINITY,
                        sum: 0.0,
                    });
                }
            }
            for (index, page) in self.layer.pages.iter().enumerate().filter(|_| !shared.is_empty()) {
                self.page(index * PAGE, page, head, q, out, scratch);
            }
            for query in &scratch.queries {
                let inverse = 1.0 / query.sum;
                out[query.out..query.out + cache.dim].iter_mut().for_each(|x| *x *= inverse);
            }
        }
    }

    /// The positions of a page that a query sees, counted from the page's first.
    fn visible(&self, first: usize, position: usize) -> (usize, usize) {
        let end = if self.causal { position + 1 } else { self.layer.len() };
        let from = self.layer.cache.window.map_or(0, |window| (position + 1).saturating_sub(window));
        (from.saturating_sub(first).min(PAGE), end.saturating_sub(first).min(PAGE))
    }

    fn page(
        &self,
        first: usize,
        page: &Page,
        head: usize,
        q: &[f32],
        out: &mut [f32],
        scratch: &mut Scratch,
    ) {
        let dim = self.layer.cache.dim;
        let Scratch { keys, values, queries } = scratch;
        let mut widened = false;
        for query in queries {
            let (from, to) = self.visible(first, query.position);
            if from >= to {
                continue;
            }
            if !widened {
                widen(page.keys(head, dim), keys);
                widen(page.values(head, dim), values);
                widened = true;
            }
            let mut scores = scores(&q[query.at..query.at + dim], keys);
            for score in &mut scores {
                *score *= self.scale;
                if let Some(cap) = self.softcap {
                    *score = cap * (*score / cap).tanh();
                }
            }
            scores[..from].fill(f32::NEG_INFINITY);
            scores[to..].fill(f32::NEG_INFINITY);

            let maximum = scores.iter().fold(query.maximum, |m, s| m.max(*s));
            let rescale = simd::to_f32s(simd::exp(simd::splat_f32(query.maximum - maximum)))[0];
            let mut sum = simd::splat_f32(0.0);
            for k in (0..PAGE).step_by(4) {
                let p = simd::exp(simd::sub_f32(simd::load_f32(&scores, k), simd::splat_f32(maximum)));
                simd::store_f32(&mut scores, k, p);
            }
            // eˣ of a masked score is tiny, not zero.
            scores[..from].fill(0.0);
            scores[to..].fill(0.0);
            for k in (0..PAGE).step_by(4) {
                sum = simd::add_f32(sum, simd::load_f32(&scores, k));
            }
            query.maximum = maximum;
            query.sum = query.sum * rescale + simd::sum_f32(sum);
            accumulate(
                &scores[from..to],
                rescale,
                &values[from * dim..to * dim],
                &mut out[query.out..query.out + dim],
            );
        }
    }
}

/// Widens f16 values; their number is a multiple of 8 (a page has 32 positions).
fn widen(halves: &[u16], wide: &mut Vec<f32>) {
    wide.resize(halves.len(), 0.0);
    let (from, _) = halves.as_chunks::<8>();
    let (to, _) = wide.as_chunks_mut::<8>();
    for (from, to) in from.iter().zip(to) {
        let (low, high) = simd::f16_to_f32(simd::load(bytemuck::cast_slice(from), 0));
        simd::store_f32(to, 0, low);
        simd::store_f32(to, 4, high);
    }
}

/// q · k for the positions of a page. `keys` holds, for each dimension, the values of all positions.
fn scores(q: &[f32], keys: &[f32]) -> [f32; PAGE] {
    let mut sums = [simd::splat_f32(0.0); PAGE / 4];
    let (columns, _) = keys.as_chunks::<PAGE>();
    for (q, column) in q.iter().zip(columns) {
        let q = simd::splat_f32(*q);
        for (k, sum) in sums.iter_mut().enumerate() {
            *sum = simd::add_f32(*sum, simd::mul_f32(q, simd::load_f32(column, k * 4)));
        }
    }
    let mut scores = [0.0; PAGE];
    for (k, sum) in sums.into_iter().enumerate() {
        simd::store_f32(&mut scores, k * 4, sum);
    }
    scores
}

/// out = out·rescale + Σ p_k·v_k
fn accumulate(p: &[f32], rescale: f32, values: &[f32], out: &mut [f32]) {
    let dim = out.len();
    let rescale = simd::splat_f32(rescale);
    let mut d = 0;
    while d + 16 <= dim {
        let mut sums: [_; 4] =
            std::array::from_fn(|k| simd::mul_f32(simd::load_f32(out, d + k * 4), rescale));
        for (p, value) in p.iter().zip(values.chunks_exact(dim)) {
            let p = simd::splat_f32(*p);
            let value = &value[d..d + 16];
            for (k, sum) in sums.iter_mut().enumerate() {
                *sum = simd::add_f32(*sum, simd::mul_f32(p, simd::load_f32(value, k * 4)));
            }
        }
        for (k, sum) in sums.into_iter().enumerate() {
            simd::store_f32(out, d + k * 4, sum);
        }
        d += 16;
    }
    let rescale = simd::to_f32s(rescale)[0];
    for (d, out) in out.iter_mut().enumerate().skip(d) {
        let sum: f32 = p.iter().zip(values.chunks_exact(dim)).map(|(p, value)| p * value[d]).sum();
        *out = *out * rescale + sum;
    }
}
