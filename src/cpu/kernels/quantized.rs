//! Product of a panel of quantized weights with T rows of int8 activations.
//!
//! out[t][r] = Σ_blocks d_w·(Σ_halves d_a·Σ_k (w_k − zero)·a_k) (+ m_w·Σ d_a·a_k): integer sums over 16 columns are
//! exact, and are scaled and added in f32 in the order of the columns. The order does not depend on
//! T, so that a prompt taken at once, in pieces or token by token gives the same bits.
//!
//! Shape: one panel (8 rows: two vectors of four) × T activation rows. Unpacked codes are used T times; one
//! broadcast of four activations serves 8 rows.

use super::unpack::Unpack;
use crate::cpu::activations::Row;
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

/// d_a·Σ (w − zero)·a over one half (16 columns) of a block.
#[inline(always)]
fn half<C: Unpack, const T: usize>(
    codes: &[u8],
    rows: &[Row; T],
    block: usize,
    half: usize,
    zero: i32,
) -> Totals<T> {
    let mut sums = [[Sums::new(0); 2]; T];
    for (sums, row) in sums.iter_mut().zip(rows) {
        let block = &row.blocks[block];
        let start =
            if C::SIGNED { simd::signed_start(block.negative[half]) } else { -zero * block.halves[half] };
        *sums = [Sums::new(start); 2];
    }
    for group in half * 4..half * 4 + 4 {
        let weights = C::group(codes, group);
        for (sums, row) in sums.iter_mut().zip(rows) {
            let quad = simd::load_quad(row.codes, block * BLOCK + group * 4);
            for (sum, weights) in sums.iter_mut().zip(weights) {
                if C::SIGNED { sum.add_signed(weights, quad) } else { sum.add_unsigned(weights, quad) }
            }
        }
    }
    let mut products = [[simd::splat_f32(0.0); 2]; T];
    for ((products, sums), row) in products.iter_mut().zip(sums).zip(rows) {
        let d = simd::splat_f32(row.blocks[block].d[half]);
        for (product, sum) in products.iter_mut().zip(sums) {
            *product = simd::mul_f32(simd::i32_to_f32(sum.finish()), d);
        }
    }
    products
}

/// d_a·Σ (w − zero)·a over a whole block.
#[inline(always)]
fn whole<C: Unpack, const T: usize>(codes: &[u8], rows: &[Row; T], block: usize, zero: i32) -> Totals<T> {
    let mut sums = half::<C, T>(codes, rows, block, 0, zero);
    for (sums, more) in sums.iter_mut().zip(half::<C, T>(codes, rows, block, 1, zero)) {
        sums[0] = simd::add_f32(sums[0], more[0]);
        sums[1] = simd::add_f32(sums[1], more[1]);
    }
    sums
}

/// total += scale · x, for the 8 rows of a panel
#[inline(always)]
fn add_scaled(total: &mut [V; 2], scale: (V, V), x: [V; 2]) {
    total[0] = simd::add_f32(total[0], simd::mul_f32(scale.0, x[0]));
    total[1] = simd::add_f32(total[1], simd::mul_f32(scale.1, x[1]));
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
        let d = simd::f16_to_f32(simd::load(scales, 0));
        for (total, sum) in totals.iter_mut().zip(whole::<C, T>(codes, rows, first, ZERO)) {
            add_scaled(total, d, sum);
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
        let d = simd::f16_to_f32(simd::load(scales, 0));
        let m = simd::f16_to_f32(simd::load(scales, 16));
        let sums = whole::<C, T>(codes, rows, first, 0);
        for ((total, sum), row) in totals.iter_mut().zip(sums).zip(rows) {
            add_scaled(total, d, sum);
            add_scaled(total, m, [simd::splat_f32(row.blocks[first].sum); 2]);
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
        let mut products = [[simd::splat_f32(0.0); 2]; T];
        let mut minima = products;
        for (g, codes) in codes.chunks_exact(C::BYTES).enumerate() {
            let bytes = simd::load(scales, 32 + g * 16);
            let s = simd::low_u8_to_f32(bytes);
            let m = simd::low_u8_to_f32(simd::high_half(bytes));
            let sums = whole::<C, T>(codes, rows, first + g, 0);
            for (t, row) in rows.iter().enumerate() {
                add_scaled(&mut products[t], s, sums[t]);
                add_scaled(&mut minima[t], m, [simd::splat_f32(row.blocks[first + g].sum); 2]);
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
            for (h, s) in scales.into_iter().enumerate() {
                let sums = half::<C, T>(codes, rows, first + g, h, ZERO);
                for (product, sum) in products.iter_mut().zip(sums) {
                    add_scaled(product, s, sum);
                }
            }
        }
        let d = simd::f16_to_f32(simd::load(scales, 0));
        for (total, product) in totals.iter_mut().zip(products) {
            add_scaled(total, d, product);
        }
    }
}
