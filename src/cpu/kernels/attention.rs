//! Attention over the cache in tiles, with online softmax.
//!
//! out_h = Σ_k softmax(scale·q_h·K + mask)_k · V_k. For each key/value head and each tile of [`TILE`] positions, up
//! to [`CHUNK`] queries that share the head are taken at a time: query heads of its group, then the next rows'.
//! Keys and values are multiplied as the integers that they are stored as (see [`crate::cpu::cache`]): a query
//! becomes integers once, its probabilities tile by tile. A query keeps its running maximum m, sum l and output o; a
//! tile with maximum m' rescales them by 2^(m − m'): scores are in units of log 2 throughout.
//!
//! The tiles of a query are always the same and taken in order, and sums of integers are exact: its answer does not
//! depend on what is computed beside it.

use super::queries::{CHUNK, Chunk};
use crate::cpu::cache::{Codes, Eight, Half, KvType, Layer, PAGE, ROW, Row, Shape, Sixteen, TILE};
use crate::cpu::simd::{self, Factor, V, largest};
use std::f32::consts::LOG2_E;
use std::ops::Range;

pub use super::queries::Scratch;

/// What one call computes: consecutive rows of one sequence.
pub struct Attention<'a> {
    pub layer: &'a Layer,
    /// Query heads of the model.
    pub heads: usize,
    pub scale: f32,
    pub softcap: Option<f32>,
    pub causal: bool,
    /// Position of the first row.
    pub start: usize,
    /// Values from one row of queries to the next.
    pub stride: usize,
}

impl Attention<'_> {
    /// Computes the query heads `heads` of `rows` rows. `q` has all heads of a row, `out` is filled with those asked
    /// for, row by row.
    pub fn run(&self, heads: Range<usize>, rows: usize, q: &[f32], out: &mut [f32], scratch: &mut Scratch) {
        match self.layer.kv_type {
            KvType::F16 => self.run_as::<Sixteen>(heads, rows, q, out, scratch),
            KvType::Q8_0 => self.run_as::<Eight>(heads, rows, q, out, scratch),
        }
    }

    fn run_as<C: Codes>(
        &self,
        heads: Range<usize>,
        rows: usize,
        q: &[f32],
        out: &mut [f32],
        scratch: &mut Scratch,
    ) {
        let dim = self.layer.cache.dim;
        let shape = Shape::new::<C>(dim);
        let group = self.heads / self.layer.cache.heads;
        for head in heads.start / group..heads.end.div_ceil(group) {
            let shared = heads.start.max(head * group)..heads.end.min((head + 1) * group);
            let count = rows * shared.len();
            scratch.begin::<C>(count, shape);
            let rows_and_heads = (0..rows).flat_map(|row| shared.clone().map(move |head| (row, head)));
            for (index, (row, head)) in rows_and_heads.clone().enumerate() {
                let q = &q[row * self.stride + head * dim..][..dim];
                scratch.put::<C>(index, count, self.start + row, q, self.score_scale(), shape);
            }
            // Rows see more and more: from what the first sees first to what the last sees last.
            let (from, _) = self.visible(self.start);
            let (_, to) = self.visible(self.start + rows - 1);
            for tile in from / TILE..to.div_ceil(TILE) {
                let page = &self.layer.pages[tile * TILE / PAGE];
                self.tile::<C>(tile * TILE, page.tile(head, tile % (PAGE / TILE), shape), scratch, shape);
            }
            for (index, (row, head)) in rows_and_heads.enumerate() {
                let at = (row * heads.len() + head - heads.start) * dim;
                scratch.take(index, count, shape, &mut out[at..at + dim]);
            }
        }
    }

    /// What scores are multiplied with: they are in units of log 2, unless they must be capped first.
    fn score_scale(&self) -> f32 {
        if self.softcap.is_some() { self.scale } else { self.scale * LOG2_E }
    }

    /// The positions that a query sees, from the first to before the last.
    fn visible(&self, position: usize) -> (usize, usize) {
        let end = if self.causal { position + 1 } else { self.layer.len() };
        (self.layer.cache.window.map_or(0, |window| (position + 1).saturating_sub(window)), end)
    }

    fn tile<C: Codes>(&self, first: usize, tile: [Half; 2], scratch: &mut Scratch, shape: Shape) {
        let count = scratch.count();
        for at in (0..count).step_by(CHUNK) {
            match count - at {
                1 => self.chunk::<C, 1>(first, tile, scratch.chunk(at, shape), shape),
                2 => self.chunk::<C, 2>(first, tile, scratch.chunk(at, shape), shape),
                3 => self.chunk::<C, 3>(first, tile, scratch.chunk(at, shape), shape),
                _ => self.chunk::<C, CHUNK>(first, tile, scratch.chunk(at, shape), shape),
            }
        }
    }

    /// Takes `N` queries over a tile, whose first position is `first`.
    fn chunk<C: Codes, const N: usize>(
        &self,
        first: usize,
        [keys, values]: [Half; 2],
        chunk: Chunk<C::Query, N>,
        shape: Shape,
    ) {
        let mut visible = [(0, 0); N];
        let (mut from, mut to) = (TILE, 0);
        for (visible, query) in visible.iter_mut().zip(&*chunk.queries) {
            let (from_position, to_position) = self.visible(query.position);
            *visible =
                (from_position.saturating_sub(first).min(TILE), to_position.saturating_sub(first).min(TILE));
            if visible.0 < visible.1 {
                (from, to) = (from.min(visible.0), to.max(visible.1));
            }
        }
        if from >= to {
            return;
        }
        let mut scores = [[0.0; TILE]; N];
        score::<C, N>(keys, &chunk, from / ROW..to.div_ceil(ROW), shape, &mut scores);

        let mut rescale = [1.0; N];
        for ((query, scores), (rescale, (from, to))) in
            chunk.queries.iter_mut().zip(&mut scores).zip(rescale.iter_mut().zip(visible))
        {
            if from >= to {
                // Nothing is added to a query that sees nothing here.
                *scores = [0.0; TILE];
                continue;
            }
            if let Some(cap) = self.softcap {
                soften(scores, cap);
            }
            if to - from < TILE {
                hide(scores, from, to);
            }
            *rescale = query.soften(scores);
        }

        for (block, scales) in values.scales.iter().enumerate() {
            let mut weights = [[bytemuck::Zeroable::zeroed(); TILE / 2]; N];
            let mut factors = [0.0; N];
            for ((weights, factor), p) in weights.iter_mut().zip(&mut factors).zip(&scores) {
                *factor = weigh::<C>(p, scales, weights);
            }
            let columns = block * C::BLOCK / ROW..((block + 1) * C::BLOCK).min(shape.width) / ROW;
            let rows = values.rows[columns.start * shape.words[1]..].chunks_exact(shape.words[1]);
            for (rows, outputs) in rows.zip(&mut chunk.outputs[columns]) {
                let words = to.div_ceil(C::Weight::WORD);
                let sums = products(&rows[..words], |word, query| weights[query][word], &[0; N]);
                for query in 0..N {
                    let (rescale, factor) =
                        (simd::splat_f32(rescale[query]), simd::splat_f32(factors[query]));
                    for (half, sum) in sums[query].into_iter().enumerate() {
                        let old = simd::mul_f32(simd::load_f32(&outputs[query], half * 4), rescale);
                        let new = simd::mul_f32(simd::i32_to_f32(sum), factor);
                        simd::store_f32(&mut outputs[query], half * 4, simd::add_f32(old, new));
                    }
                }
            }
        }
    }
}

/// Scores of the positions in `eights`, eight at a time.
#[inline(always)]
fn score<C: Codes, const N: usize>(
    keys: Half,
    chunk: &Chunk<C::Query, N>,
    eights: Range<usize>,
    shape: Shape,
    scores: &mut [[f32; TILE]; N],
) {
    let words = C::BLOCK / C::Query::WORD;
    for eight in eights {
        let rows = &keys.rows[eight * shape.words[0]..][..shape.words[0]];
        let mut totals = [[simd::splat_f32(0.0); 2]; N];
        for (((rows, factors), blocks), scales) in
            rows.chunks(words).zip(chunk.factors.chunks(words)).zip(chunk.blocks).zip(keys.scales)
        {
            let mut start = [0; N];
            for query in 0..N {
                start[query] = blocks[query].start;
            }
            let factors = &factors[..rows.len()];
            let sums = products(rows, |word, query| factors[word][query], &start);
            let scales = [simd::load_f32(scales, eight * ROW), simd::load_f32(scales, eight * ROW + 4)];
            for query in 0..N {
                let scale = simd::splat_f32(blocks[query].scale);
                for half in 0..2 {
                    let scale = simd::mul_f32(scale, scales[half]);
                    let part = simd::mul_f32(simd::i32_to_f32(sums[query][half]), scale);
                    totals[query][half] = simd::add_f32(totals[query][half], part);
                }
            }
        }
        for query in 0..N {
            simd::store_f32(&mut scores[query], eight * ROW, totals[query][0]);
            simd::store_f32(&mut scores[query], eight * ROW + 4, totals[query][1]);
        }
    }
}

/// Σ words · factors of each query.
#[inline(always)]
fn products<F: Factor, const N: usize>(
    rows: &[Row],
    factor: impl Fn(usize, usize) -> F,
    start: &[i32; N],
) -> [[V; 2]; N] {
    let mut sums = [[F::sums(0); 2]; N];
    for (sums, start) in sums.iter_mut().zip(start) {
        *sums = [F::sums(*start); 2];
    }
    for (word, row) in rows.iter().enumerate() {
        let (low, high) = (simd::load_u32(&row.0, 0), simd::load_u32(&row.0, 4));
        for (query, [first, second]) in sums.iter_mut().enumerate() {
            let factor = factor(word, query).widen();
            F::add(first, low, factor);
            F::add(second, high, factor);
        }
    }
    let mut products = [[simd::splat_i32(0); 2]; N];
    for (products, [first, second]) in products.iter_mut().zip(sums) {
        *products = [F::finish(first), F::finish(second)];
    }
    products
}

/// Scores capped: cap·tanh(s/cap), in units of log 2.
fn soften(scores: &mut [f32; TILE], cap: f32) {
    let (inverse, cap) = (simd::splat_f32(1.0 / cap), simd::splat_f32(cap * LOG2_E));
    for at in (0..TILE).step_by(4) {
        let score = simd::tanh(simd::mul_f32(simd::load_f32(scores, at), inverse));
        simd::store_f32(scores, at, simd::mul_f32(score, cap));
    }
}

/// Makes the scores of positions that are not seen −∞.
#[inline(always)]
fn hide(scores: &mut [f32; TILE], from: usize, to: usize) {
    let (from, to) = (simd::splat_i32(from as i32), simd::splat_i32(to as i32));
    let nothing = simd::splat_f32(f32::NEG_INFINITY);
    let mut position = simd::load_u32(&[0, 1, 2, 3], 0);
    for at in (0..TILE).step_by(4) {
        let seen = simd::select(simd::less_i32(position, to), simd::load_f32(scores, at), nothing);
        simd::store_f32(scores, at, simd::select(simd::less_i32(position, from), nothing, seen));
        position = simd::add_i32(position, simd::splat_i32(4));
    }
}

/// Makes factors of probabilities times the scales of values, and returns what the products must be multiplied with.
#[inline(always)]
fn weigh<C: Codes>(p: &[f32; TILE], scales: &[f32; TILE], weights: &mut [C::Weight; TILE / 2]) -> f32 {
    let mut scaled = [0.0; TILE];
    let (mut most, mut sum) = (simd::splat_f32(0.0), simd::splat_f32(0.0));
    for at in (0..TILE).step_by(4) {
        let p = simd::mul_f32(simd::load_f32(p, at), simd::load_f32(scales, at));
        simd::store_f32(&mut scaled, at, p);
        most = simd::max_f32(most, p);
        sum = simd::add_f32(sum, p);
    }
    let most = largest(most);
    // Nothing to see, or values that are all zero.
    let fit = if most > 1e-30 { C::fit(most, simd::sum_f32(sum)) } else { 0.0 };
    let times = simd::splat_f32(fit);
    for at in (0..TILE).step_by(16) {
        let integers = [
            simd::round_to_i32(simd::mul_f32(simd::load_f32(&scaled, at), times)),
            simd::round_to_i32(simd::mul_f32(simd::load_f32(&scaled, at + 4), times)),
            simd::round_to_i32(simd::mul_f32(simd::load_f32(&scaled, at + 8), times)),
            simd::round_to_i32(simd::mul_f32(simd::load_f32(&scaled, at + 12), times)),
        ];
        C::Weight::pack(integers, &mut weights[at / C::Weight::WORD..]);
    }
    if fit > 0.0 { 1.0 / fit } else { 0.0 }
}
