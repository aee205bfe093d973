//! Products of a panel of quantized weights with int8 activations.
//!
//! out[t][r] = Σ_blocks s·(d₀·Σ_k (w_k − zero)·a_k + d₁·Σ_k (w_k − zero)·a_k) (+ m·Σ_k d·a_k): integer sums over the 16
//! columns of a half are exact, and are scaled and added in f32 in the order of the columns. The order depends
//! neither on how many rows are taken at once nor on where the weights are read from, so that a prompt taken at once,
//! in pieces or token by token gives the same bits.
//!
//! Shape: one panel (8 rows: two vectors of four) × one activation row, or four. One row reads the packed panel; four
//! read it unpacked (`unpacked.rs`) from the first cache.
//!
//! Per 32 columns × 8 rows and activation row there are 16 dot products and 6 multiplications for 2 × 8 scales, all
//! for the same two of the four vector units of a Zen 5: 8/11 of the peak of dot products is the most to be had.

use super::source::{Layout, Packed, Rule};
use super::unpacked::{self, Unpacked};
use crate::cpu::activations::{Block, TILE, Tile};
use crate::cpu::simd::{self, Quad, SPAN, Sixteen, Sums, V};
use crate::quant::{PANEL, Panel};

/// The product of a packed panel with one row.
#[inline(always)]
pub fn one<L: Layout>(panel: Panel, row: &[Block], out: &mut [f32; PANEL]) {
    let mut totals = [simd::splat_f32(0.0); 2];
    let mut row = row.iter();
    Packed::<L>::for_each(panel, |weights| {
        let Some(activations) = row.next() else { return };
        let low = half_of_one::<L>(weights, activations, 0);
        let high = half_of_one::<L>(weights, activations, 1);
        let sum = simd::splat_f32(activations.sum);
        let minima = if L::Rule::MINIMA { weights.minima() } else { totals };
        let second = if L::Rule::HALVES { weights.scales(1) } else { totals };
        totals = total::<L::Rule>(totals, low, high, weights.scales(0), second, minima, sum);
    });
    let rescale = simd::splat_f32(L::RESCALE);
    simd::store_f32(out, 0, simd::mul_f32(totals[0], rescale));
    simd::store_f32(out, 4, simd::mul_f32(totals[1], rescale));
}

/// d·Σ (w − zero)·a over the 16 columns of half `h`.
#[inline(always)]
fn half_of_one<L: Layout>(weights: Packed<L>, activations: &Block, h: usize) -> [V; 2] {
    let (less, negative) = (activations.less[h], activations.negative[h]);
    let mut sums = [Sums::new(L::Rule::start(simd::splat_i32(less), simd::splat_i32(negative))); 2];
    let (codes, _) = activations.codes.as_chunks::<4>();
    let sixteen = Sixteen::load(&codes[h]);
    for group in 0..4 {
        add::<L::Rule, 2>(&mut sums, weights.group(h * 4 + group), sixteen.quad(group));
    }
    let d = simd::splat_f32(activations.d[h]);
    [scaled(sums[0], d), scaled(sums[1], d)]
}

/// The product of an unpacked panel with four rows.
///
/// The sums of the rows are rotated against each other: lane r of vector k is for activation row (r + k) mod 4, so that
/// one load of four rows' activations and three rotations serve 8 × 4 outputs, and scales need no broadcasts.
#[inline(always)]
pub fn tile<R: Rule>(weights: &Unpacked, rows: &[Tile], out: &mut [[f32; PANEL]; TILE]) {
    let mut totals = [[simd::splat_f32(0.0); 2]; TILE];
    // Not a constant to the compilers: unrolled, all loads would come first, and V8 would keep them on the stack.
    let groups = std::hint::black_box(4);
    for (weights, activations) in weights.blocks().iter().zip(rows) {
        // SAFETY: a half has four groups.
        let low = unsafe { half_of_tile::<R>(weights, activations, 0, groups) };
        // SAFETY: as above.
        let high = unsafe { half_of_tile::<R>(weights, activations, 1, groups) };
        let scales = load(&weights.scales[0]);
        let second = if R::HALVES { load(&weights.scales[1]) } else { scales };
        let minima = if R::MINIMA { load(&weights.minima) } else { scales };
        let sums = rotations(simd::load_f32(&activations.sum, 0));
        for k in 0..TILE {
            totals[k] = total::<R>(totals[k], low[k], high[k], scales, second, minima, sums[k]);
        }
    }
    let rescale = simd::splat_f32(weights.rescale());
    for v in 0..2 {
        let [a, b, c, d] = totals.map(|eight| eight[v]);
        for (t, row) in [(a, d, c, b), (b, a, d, c), (c, b, a, d), (d, c, b, a)].into_iter().enumerate() {
            let row = simd::diagonal(row.0, row.1, row.2, row.3);
            simd::store_f32(&mut out[t], v * 4, simd::mul_f32(row, rescale));
        }
    }
}

/// The same as [`half_of_one`], rotated.
///
/// # Safety
/// `groups` is at most 4.
#[inline(always)]
unsafe fn half_of_tile<R: Rule>(
    weights: &unpacked::Block,
    activations: &Tile,
    h: usize,
    groups: usize,
) -> [[V; 2]; TILE] {
    let mut products = [[simd::splat_f32(0.0); 2]; TILE];
    let d = rotations(simd::load_f32(&activations.d[h], 0));
    let (less, negative) = (simd::load_i32(&activations.less[h]), simd::load_i32(&activations.negative[h]));
    let begin = rotations(R::start(less, negative));
    for first in (0..2).step_by(SPAN) {
        let mut sums = [[Sums::new(begin[0]); SPAN]; TILE];
        for k in 1..TILE {
            sums[k] = [Sums::new(begin[k]); SPAN];
        }
        let mut w = weights.codes[h * 8 + first..].as_ptr();
        let mut a = activations.codes[h * 4..].as_ptr();
        for _ in 0..groups {
            // SAFETY: four groups of two vectors of weights, and of four codes of four rows.
            let (codes, quads) = unsafe {
                let mut codes = [simd::load_at(w.cast()); SPAN];
                if SPAN == 2 {
                    codes[1] = simd::load_at(w.add(1).cast());
                }
                (codes, Quad::load_rotated(a.cast()))
            };
            for k in 0..TILE {
                add::<R, SPAN>(&mut sums[k], codes, quads[k]);
            }
            // SAFETY: at most one past the half's end.
            (w, a) = unsafe { (w.add(2), a.add(1)) };
        }
        for k in 0..TILE {
            for v in 0..SPAN {
                products[k][first + v] = scaled(sums[k][v], d[k]);
            }
        }
    }
    products
}

#[inline(always)]
fn rotations(v: V) -> [V; TILE] {
    [v, simd::rotate::<1>(v), simd::rotate::<2>(v), simd::rotate::<3>(v)]
}

#[inline(always)]
fn add<R: Rule, const N: usize>(sums: &mut [Sums; N], w: [V; N], quad: Quad) {
    for v in 0..N {
        if R::SIGNED { sums[v].add_signed(w[v], quad) } else { sums[v].add_unsigned(w[v], quad) }
    }
}

/// d·Σ (w − zero)·a
#[inline(always)]
fn scaled(sums: Sums, d: V) -> V {
    simd::mul_f32(simd::i32_to_f32(sums.finish()), d)
}

/// The totals with a block added.
#[inline(always)]
fn total<R: Rule>(
    totals: [V; 2],
    low: [V; 2],
    high: [V; 2],
    scales: [V; 2],
    second: [V; 2],
    minima: [V; 2],
    sum: V,
) -> [V; 2] {
    let mut totals = totals;
    for v in 0..2 {
        totals[v] = if R::HALVES {
            add_product(add_product(totals[v], scales[v], low[v]), second[v], high[v])
        } else {
            add_product(totals[v], scales[v], simd::add_f32(low[v], high[v]))
        };
        if R::MINIMA {
            totals[v] = add_product(totals[v], minima[v], sum);
        }
    }
    totals
}

/// total + a·b
#[inline(always)]
fn add_product(total: V, a: V, b: V) -> V {
    simd::add_f32(total, simd::mul_f32(a, b))
}

#[inline(always)]
fn load(from: &[f32; PANEL]) -> [V; 2] {
    [simd::load_f32(from, 0), simd::load_f32(from, 4)]
}
