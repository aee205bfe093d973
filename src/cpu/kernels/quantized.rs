//! Product of a panel of quantized weights with T rows of int8 activations.
//!
//! out[t][r] = Σ_blocks d_w·d_a·Σ_k (w_k − zero)·a_k (+ m_w·d_a·Σ_k a_k): integer sums over 32 columns (16 for
//! Q6_K) are exact, and are scaled and added in f32 in the order of the columns. The order does not depend on
//! T, so that a prompt taken at once, in pieces or token by token gives the same bits.
//!
//! Shape: one panel (8 rows: two vectors of four) × T activation rows. Unpacked codes are used T times; one
//! broadcast of four activations serves 8 rows.

use super::unpack::Unpack;
use crate::cpu::activations::{Block, Row};
use crate::cpu::simd::{self, Sums, V};
use crate::quant::{BLOCK, PANEL, Panel};
use std::marker::PhantomData;

type Totals<const T: usize> = [[V; 2]; T];

/// How the scales of a unit are read and applied.
pub trait Unit {
    /// Blocks of 32 columns in a unit.
    const BLOCKS: usize;
    const CODE_BYTES: usize;
    const SCALE_BYTES: usize;

    /// Adds the products of one unit. `first` is the activations' block that it begins with.
    fn add<const T: usize>(
        codes: &[u8],
        scales: &[u8],
        rows: &[Row; T],
        first: usize,
        totals: &mut Totals<T>,
    );
}

/// The product of a panel with T rows.
pub fn product<U: Unit, const T: usize>(panel: Panel, rows: &[Row; T], out: &mut [[f32; PANEL]; T]) {
    let mut totals = [[simd::splat_f32(0.0); 2]; T];
    let units = panel.codes.chunks_exact(U::CODE_BYTES).zip(panel.scales.chunks_exact(U::SCALE_BYTES));
    for (u, (codes, scales)) in units.enumerate() {
        U::add(codes, scales, rows, u * U::BLOCKS, &mut totals);
    }
    for (out, total) in out.iter_mut().zip(totals) {
        simd::store_f32(out, 0, total[0]);
        simd::store_f32(out, 4, total[1]);
    }
}

/// Integer sums over the column groups `from..to` of block `block`, starting from −zero·Σ a.
#[inline(always)]
fn sums<C: Unpack, const T: usize>(
    codes: &[u8],
    rows: &[Row; T],
    block: usize,
    (from, to): (usize, usize),
    start: impl Fn(&Block) -> i32,
) -> [[V; 2]; T] {
    let mut sums = [[Sums::new(0); 2]; T];
    for (sums, row) in sums.iter_mut().zip(rows) {
        *sums = [Sums::new(start(&row.blocks[block])); 2];
    }
    for group in from..to {
        let weights = C::group(codes, group);
        for (sums, row) in sums.iter_mut().zip(rows) {
            let quad = simd::load_quad(row.codes, block * BLOCK + group * 4);
            for (sum, weights) in sums.iter_mut().zip(weights) {
                if C::SIGNED { sum.add_signed(weights, quad) } else { sum.add_unsigned(weights, quad) }
            }
        }
    }
    sums.map(|pair| pair.map(|sum| simd::i32_to_f32(sum.finish())))
}

/// What the integer sums of a block start from, for codes with a zero point.
#[inline(always)]
fn start<C: Unpack>(block: &Block, zero: i32) -> i32 {
    if C::SIGNED {
        simd::signed_start(block.negative[0] + block.negative[1])
    } else {
        -zero * (block.halves[0] + block.halves[1])
    }
}

/// total += sum · (scale · d)
#[inline(always)]
fn add_scaled(total: &mut V, sum: V, scale: V, d: V) {
    *total = simd::add_f32(*total, simd::mul_f32(sum, simd::mul_f32(scale, d)));
}

/// One f16 scale per 32 columns: Q4_0, Q5_0, Q8_0. y = d·(q − ZERO).
pub struct Single<C, const ZERO: i32>(PhantomData<C>);

impl<C: Unpack, const ZERO: i32> Unit for Single<C, ZERO> {
    const BLOCKS: usize = 1;
    const CODE_BYTES: usize = C::BYTES;
    const SCALE_BYTES: usize = 16;

    #[inline(always)]
    fn add<const T: usize>(
        codes: &[u8],
        scales: &[u8],
        rows: &[Row; T],
        first: usize,
        totals: &mut Totals<T>,
    ) {
        let codes = &codes[..C::BYTES];
        let (d0, d1) = simd::f16_to_f32(simd::load(scales, 0));
        let sums = sums::<C, T>(codes, rows, first, (0, 8), |block| start::<C>(block, ZERO));
        for ((total, sum), row) in totals.iter_mut().zip(sums).zip(rows) {
            let d = simd::splat_f32(row.blocks[first].d);
            add_scaled(&mut total[0], sum[0], d0, d);
            add_scaled(&mut total[1], sum[1], d1, d);
        }
    }
}

/// An f16 scale and an f16 minimum per 32 columns: Q4_1, Q5_1. y = d·q + m.
pub struct Pair<C>(PhantomData<C>);

impl<C: Unpack> Unit for Pair<C> {
    const BLOCKS: usize = 1;
    const CODE_BYTES: usize = C::BYTES;
    const SCALE_BYTES: usize = 32;

    #[inline(always)]
    fn add<const T: usize>(
        codes: &[u8],
        scales: &[u8],
        rows: &[Row; T],
        first: usize,
        totals: &mut Totals<T>,
    ) {
        let codes = &codes[..C::BYTES];
        let (d0, d1) = simd::f16_to_f32(simd::load(scales, 0));
        let (m0, m1) = simd::f16_to_f32(simd::load(scales, 16));
        let sums = sums::<C, T>(codes, rows, first, (0, 8), |_| 0);
        for ((total, sum), row) in totals.iter_mut().zip(sums).zip(rows) {
            let block = &row.blocks[first];
            let (d, s) = (simd::splat_f32(block.d), simd::splat_f32(block.sum));
            add_scaled(&mut total[0], sum[0], d0, d);
            add_scaled(&mut total[1], sum[1], d1, d);
            total[0] = simd::add_f32(total[0], simd::mul_f32(m0, s));
            total[1] = simd::add_f32(total[1], simd::mul_f32(m1, s));
        }
    }
}

/// f16 d and dmin per 256 columns, a byte s and a byte m per 32: Q4_K, Q5_K. y = d·s·q − dmin·m.
pub struct Super<C>(PhantomData<C>);

impl<C: Unpack> Unit for Super<C> {
    const BLOCKS: usize = 8;
    const CODE_BYTES: usize = 8 * C::BYTES;
    const SCALE_BYTES: usize = 160;

    #[inline(always)]
    fn add<const T: usize>(
        codes: &[u8],
        scales: &[u8],
        rows: &[Row; T],
        first: usize,
        totals: &mut Totals<T>,
    ) {
        let zero = [[simd::splat_f32(0.0); 2]; T];
        let (mut products, mut minima) = (zero, zero);
        for (g, codes) in codes.chunks_exact(C::BYTES).enumerate() {
            let bytes = simd::load(scales, 32 + g * 16);
            let (s0, s1) = simd::low_u8_to_f32(bytes);
            let (m0, m1) = simd::low_u8_to_f32(simd::high_half(bytes));
            let sums = sums::<C, T>(codes, rows, first + g, (0, 8), |_| 0);
            for (t, row) in rows.iter().enumerate() {
                let block = &row.blocks[first + g];
                let (d, s) = (simd::splat_f32(block.d), simd::splat_f32(block.sum));
                add_scaled(&mut products[t][0], sums[t][0], s0, d);
                add_scaled(&mut products[t][1], sums[t][1], s1, d);
                minima[t][0] = simd::add_f32(minima[t][0], simd::mul_f32(m0, s));
                minima[t][1] = simd::add_f32(minima[t][1], simd::mul_f32(m1, s));
            }
        }
        let (d0, d1) = simd::f16_to_f32(simd::load(scales, 0));
        let (m0, m1) = simd::f16_to_f32(simd::load(scales, 16));
        for (t, total) in totals.iter_mut().enumerate() {
            for (half, (d, m)) in [(d0, m0), (d1, m1)].into_iter().enumerate() {
                let less = simd::mul_f32(m, minima[t][half]);
                let sum = simd::sub_f32(simd::mul_f32(d, products[t][half]), less);
                total[half] = simd::add_f32(total[half], sum);
            }
        }
    }
}

/// f16 d per 256 columns, a signed byte s per 16: Q6_K. y = d·s·(q − ZERO).
pub struct Halves<C, const ZERO: i32>(PhantomData<C>);

impl<C: Unpack, const ZERO: i32> Unit for Halves<C, ZERO> {
    const BLOCKS: usize = 8;
    const CODE_BYTES: usize = 8 * C::BYTES;
    const SCALE_BYTES: usize = 144;

    #[inline(always)]
    fn add<const T: usize>(
        codes: &[u8],
        scales: &[u8],
        rows: &[Row; T],
        first: usize,
        totals: &mut Totals<T>,
    ) {
        let mut products = [[simd::splat_f32(0.0); 2]; T];
        for (g, codes) in codes.chunks_exact(C::BYTES).enumerate() {
            let bytes = simd::load(scales, 16 + g * 16);
            let scales = [simd::low_i8_to_f32(bytes), simd::low_i8_to_f32(simd::high_half(bytes))];
            for (half, (s0, s1)) in scales.into_iter().enumerate() {
                let groups = (half * 4, half * 4 + 4);
                let sums = sums::<C, T>(codes, rows, first + g, groups, |block| -ZERO * block.halves[half]);
                for (t, row) in rows.iter().enumerate() {
                    let d = simd::splat_f32(row.blocks[first + g].d);
                    add_scaled(&mut products[t][0], sums[t][0], s0, d);
                    add_scaled(&mut products[t][1], sums[t][1], s1, d);
                }
            }
        }
        let (d0, d1) = simd::f16_to_f32(simd::load(scales, 0));
        for (total, product) in totals.iter_mut().zip(products) {
            total[0] = simd::add_f32(total[0], simd::mul_f32(d0, product[0]));
            total[1] = simd::add_f32(total[1], simd::mul_f32(d1, product[1]));
        }
    }
}
