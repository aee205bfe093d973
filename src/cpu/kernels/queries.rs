//! The queries of an attention call as it works on them: as integers, with their running state.

use crate::cpu::cache::{Codes, ROW, Shape, TILE};
use crate::cpu::simd::{self, Factor, largest};

/// Queries that are taken at once: with two vectors of sums each they fill the 16 registers of x86.
pub const CHUNK: usize = 4;

/// Buffers that outlive a call.
#[derive(Default)]
pub struct Scratch {
    queries: Vec<Query>,
    /// For each chunk the factors that its queries have become: word by word, for each query.
    factors: Vec<u32>,
    /// For each chunk, block by block, for each query.
    blocks: Vec<Block>,
    /// For each chunk, eight dimensions after the other, for each query.
    outputs: Vec<[f32; ROW]>,
}

/// The running state of one query.
#[derive(Clone, Copy)]
pub struct Query {
    pub position: usize,
    maximum: f32,
    sum: f32,
}

/// What is to be known of a block of a query.
#[derive(Clone, Copy, Default)]
pub struct Block {
    /// The scale, of the scores too.
    pub scale: f32,
    /// See [`Factor::start`].
    pub start: i32,
}

/// `N` queries in hand.
pub struct Chunk<'a, F, const N: usize> {
    pub queries: &'a mut [Query; N],
    pub factors: &'a [[F; N]],
    pub blocks: &'a [[Block; N]],
    pub outputs: &'a mut [[[f32; ROW]; N]],
}

impl Query {
    /// Turns scores into probabilities, up to a factor, and returns what the output until now is to be multiplied with.
    #[inline(always)]
    pub fn soften(&mut self, scores: &mut [f32; TILE]) -> f32 {
        let mut maximum = simd::splat_f32(self.maximum);
        for at in (0..TILE).step_by(4) {
            maximum = simd::max_f32(maximum, simd::load_f32(scores, at));
        }
        let maximum = largest(maximum);
        let shift = simd::splat_f32(maximum);
        let mut sum = simd::splat_f32(0.0);
        for at in (0..TILE).step_by(4) {
            let p = simd::exp2_negative(simd::sub_f32(simd::load_f32(scores, at), shift));
            simd::store_f32(scores, at, p);
            sum = simd::add_f32(sum, p);
        }
        let rescale = simd::to_f32s(simd::exp2_negative(simd::splat_f32(self.maximum - maximum)))[0];
        self.maximum = maximum;
        self.sum = self.sum * rescale + simd::sum_f32(sum);
        rescale
    }
}

impl Scratch {
    /// How many queries there are.
    pub fn count(&self) -> usize {
        self.queries.len()
    }

    /// Makes room for `count` queries.
    pub fn begin<C: Codes>(&mut self, count: usize, shape: Shape) {
        self.queries.clear();
        self.factors.resize(count * shape.words[0] * size_of::<C::Query>() / 4, 0);
        self.blocks.resize(count * shape.blocks, Block::default());
        self.outputs.clear();
        self.outputs.resize(count * shape.width / ROW, [0.0; ROW]);
    }

    /// Where something of query `index` of `count` lies, `each` of which a query has: `place(k)` is the place of the
    /// k-th. Chunks follow one another, and what the queries of a chunk have is interleaved.
    fn places(index: usize, count: usize, each: usize) -> impl Fn(usize) -> usize {
        let first = index - index % CHUNK;
        let queries = CHUNK.min(count - first);
        move |k| first * each + k * queries + index % CHUNK
    }

    /// Adds the query `q` at `position`, the `index`-th of `count`.
    pub fn put<C: Codes>(
        &mut self,
        index: usize,
        count: usize,
        position: usize,
        q: &[f32],
        scale: f32,
        shape: Shape,
    ) {
        self.queries.push(Query { position, maximum: f32::NEG_INFINITY, sum: 0.0 });
        let place = Self::places(index, count, shape.words[0]);
        let block_place = Self::places(index, count, shape.blocks);
        let factors: &mut [C::Query] = bytemuck::cast_slice_mut(&mut self.factors);
        for block in 0..shape.blocks {
            let from = block * C::BLOCK;
            let values = &q[from.min(q.len())..(from + C::BLOCK).min(q.len())];
            let mut padded = [0.0; 64];
            padded[..values.len()].copy_from_slice(values);
            let (mut most, mut sum) = (simd::splat_f32(0.0), simd::splat_f32(0.0));
            for four in padded.as_chunks::<4>().0 {
                let size = simd::abs_f32(simd::load_f32(four, 0));
                most = simd::max_f32(most, size);
                sum = simd::add_f32(sum, size);
            }
            let (most, sum) = (largest(most), simd::sum_f32(sum));
            // Too small to divide by, or no numbers.
            let fit = if most > 1e-30 && sum.is_finite() { C::fit(most, sum) } else { 0.0 };
            if fit == 0.0 {
                padded = [0.0; 64];
            }
            let times = simd::splat_f32(fit);
            let mut negative = simd::splat_i32(0);
            let mut packed = [bytemuck::Zeroable::zeroed(); 32];
            for (at, values) in padded.as_chunks::<16>().0.iter().enumerate() {
                let integers = [
                    simd::round_to_i32(simd::mul_f32(simd::load_f32(values, 0), times)),
                    simd::round_to_i32(simd::mul_f32(simd::load_f32(values, 4), times)),
                    simd::round_to_i32(simd::mul_f32(simd::load_f32(values, 8), times)),
                    simd::round_to_i32(simd::mul_f32(simd::load_f32(values, 12), times)),
                ];
                for integers in integers {
                    let below = simd::less_i32(integers, simd::splat_i32(0));
                    negative = simd::add_i32(negative, simd::and(integers, below));
                }
                C::Query::pack(integers, &mut packed[at * 16 / C::Query::WORD..]);
            }
            let words = from / C::Query::WORD..((from + C::BLOCK).min(shape.width)) / C::Query::WORD;
            for (word, packed) in words.zip(packed) {
                factors[place(word)] = packed;
            }
            let start = C::Query::start(-simd::to_i32s(negative).iter().sum::<i32>());
            self.blocks[block_place(block)] =
                Block { scale: if fit > 0.0 { scale / fit } else { 0.0 }, start };
        }
    }

    /// The queries from `at` on.
    pub fn chunk<F: Factor, const N: usize>(&mut self, at: usize, shape: Shape) -> Chunk<'_, F, N> {
        let part = |each: usize| at * each..(at + N) * each;
        let factors: &[F] = bytemuck::cast_slice(&self.factors);
        let queries = &mut self.queries[part(1)];
        Chunk {
            queries: queries.try_into().expect("N queries"),
            factors: factors[part(shape.words[0])].as_chunks().0,
            blocks: self.blocks[part(shape.blocks)].as_chunks().0,
            outputs: self.outputs[part(shape.width / ROW)].as_chunks_mut().0,
        }
    }

    /// The output of query `index` of `count`.
    pub fn take(&self, index: usize, count: usize, shape: Shape, out: &mut [f32]) {
        let inverse = 1.0 / self.queries[index].sum;
        let place = Self::places(index, count, shape.width / ROW);
        for (eight, out) in out.chunks_mut(ROW).enumerate() {
            for (out, x) in out.iter_mut().zip(self.outputs[place(eight)]) {
                *out = x * inverse;
            }
        }
    }
}
