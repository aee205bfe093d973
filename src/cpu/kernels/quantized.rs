//! Products of a panel of quantized weights with int8 activations.
//!
//! out[t][r] = Σ_blocks s·(d₀·Σ_k (w_k − zero)·a_k + d₁·Σ_k (w_k − zero)·a_k) (+ m·Σ_k d·a_k): integer sums over the 16
//! columns of a half are exact, and are scaled and added in f32 in the order of the columns. The order depends
//! neither on how many rows are taken at once nor on where the weights are read from, so that a prompt taken at once,
//! in pieces or token by token gives the same bits.
//!
//! Shape: one panel (8 rows: two vectors of four) × T activation rows. One broadcast of four activations serves 8
//! rows. One row reads the packed panel; more rows read it unpacked once (`unpacked.rs`) from the first cache.
//!
//! Per 32 columns × 8 rows and activation row there are 16 dot products and 6 multiplications for 2 × 8 scales, all
//! for the same two of the four vector units of a Zen 5: 8/11 of the peak of dot products is the most to be had.

use super::source::{Layout, Packed, Rule};
use super::unpacked;
use crate::cpu::activations::{Block, GAIN};
use crate::cpu::simd::{self, F16_SCALE, Sums, V};
use crate::quant::{PANEL, Panel};

/// What scales of weights and of activations have too little and too much, together.
const RESCALE: f32 = F16_SCALE / GAIN;

/// The product of a packed panel with one row.
#[inline(always)]
pub fn one<L: Layout>(panel: Panel, row: &[Block], out: &mut [f32; PANEL]) {
    let mut totals = [simd::splat_f32(0.0); 2];
    let mut row = row.iter();
    Packed::<L>::for_each(panel, |weights| {
        let Some(activations) = row.next() else { return };
        let mut products = [[simd::splat_f32(0.0); 2]; 2];
        for h in 0..2 {
            let mut sums = [Sums::new(start::<L::Rule>(activations, h)); 2];
            for group in h * 4..h * 4 + 4 {
                let w = weights.group(group);
                // SAFETY: there are eight groups.
                let quad = unsafe { simd::load_quad(activations.codes.as_ptr().add(group * 4)) };
                add::<L::Rule>(&mut sums, w, quad);
            }
            products[h] = scaled(sums, activations.d[h]);
        }
        let minima = if L::Rule::MINIMA { Some(weights.minima()) } else { None };
        let second = if L::Rule::HALVES { Some(weights.scales(1)) } else { None };
        totals = total(totals, products, weights.scales(0), second, minima, activations.sum);
    });
    finish(totals, out);
}

/// The product of an unpacked panel with T rows.
///
/// Sums of all rows stay in registers for the groups of a half; their products with the activations' scales and the
/// totals do not.
#[inline(always)]
pub fn tile<R: Rule, const T: usize>(
    weights: &[unpacked::Block],
    rows: [&[Block]; T],
    out: &mut [[f32; PANEL]],
) {
    assert!(rows.iter().all(|row| row.len() >= weights.len()) && out.len() >= T);
    let mut totals = [[simd::splat_f32(0.0); 2]; T];
    let mut activations = rows.map(|row| row.as_ptr());
    // Not a constant to the compilers: unrolled, all loads would come first, and V8 would keep them on the stack.
    let groups = std::hint::black_box(4);
    for weights in weights {
        let mut products = [[[simd::splat_f32(0.0); 2]; 2]; T];
        // SAFETY: every row has as many blocks as the panel.
        let blocks = activations.map(|block| unsafe { &*block });
        let mut w = weights.codes.as_ptr();
        let mut group = 0;
        for h in 0..2 {
            let mut sums = [[Sums::new(simd::splat_i32(0)); 2]; T];
            for t in 0..T {
                sums[t] = [Sums::new(start::<R>(blocks[t], h)); 2];
            }
            for _ in 0..groups {
                // SAFETY: twice four groups of two vectors of codes, and of four activations.
                unsafe {
                    let pair = [simd::load_at(w.cast()), simd::load_at(w.add(1).cast())];
                    for t in 0..T {
                        let quad = simd::load_quad(blocks[t].codes.as_ptr().add(group));
                        add::<R>(&mut sums[t], pair, quad);
                    }
                    w = w.add(2);
                    group += 4;
                }
            }
            for t in 0..T {
                products[t][h] = scaled(sums[t], blocks[t].d[h]);
            }
        }
        let scales = load(&weights.scales[0]);
        let second = if R::HALVES { Some(load(&weights.scales[1])) } else { None };
        let minima = if R::MINIMA { Some(load(&weights.minima)) } else { None };
        for t in 0..T {
            totals[t] = total(totals[t], products[t], scales, second, minima, blocks[t].sum);
            // SAFETY: at most one past the row's end.
            activations[t] = unsafe { activations[t].add(1) };
        }
    }
    for t in 0..T {
        finish(totals[t], &mut out[t]);
    }
}

/// Where the sums of a half begin: −zero·Σ a.
#[inline(always)]
fn start<R: Rule>(activations: &Block, half: usize) -> V {
    match R::ZERO {
        Some(shift) => simd::shl_i32_by(simd::splat_i32(activations.minus[half]), shift),
        None if R::SIGNED => simd::signed_start(activations.negative[half]),
        None => simd::splat_i32(0),
    }
}

#[inline(always)]
fn add<R: Rule>(sums: &mut [Sums; 2], w: [V; 2], quad: simd::Quad) {
    if R::SIGNED {
        sums[0].add_signed(w[0], quad);
        sums[1].add_signed(w[1], quad);
    } else {
        sums[0].add_unsigned(w[0], quad);
        sums[1].add_unsigned(w[1], quad);
    }
}

/// d·Σ (w − zero)·a
#[inline(always)]
fn scaled(sums: [Sums; 2], d: f32) -> [V; 2] {
    let d = simd::splat_f32(d);
    [
        simd::mul_f32(simd::i32_to_f32(sums[0].finish()), d),
        simd::mul_f32(simd::i32_to_f32(sums[1].finish()), d),
    ]
}

/// The totals with a block added.
#[inline(always)]
fn total(
    totals: [V; 2],
    products: [[V; 2]; 2],
    scales: [V; 2],
    second: Option<[V; 2]>,
    minima: Option<[V; 2]>,
    sum: f32,
) -> [V; 2] {
    let mut totals = totals;
    for v in 0..2 {
        let [low, high] = [products[0][v], products[1][v]];
        totals[v] = match second {
            Some(second) => add_product(add_product(totals[v], scales[v], low), second[v], high),
            None => add_product(totals[v], scales[v], simd::add_f32(low, high)),
        };
        if let Some(minima) = minima {
            totals[v] = add_product(totals[v], minima[v], simd::splat_f32(sum));
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

#[inline(always)]
fn finish(totals: [V; 2], out: &mut [f32; PANEL]) {
    let rescale = simd::splat_f32(RESCALE);
    simd::store_f32(out, 0, simd::mul_f32(totals[0], rescale));
    simd::store_f32(out, 4, simd::mul_f32(totals[1], rescale));
}
