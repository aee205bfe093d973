//! The key/value cache of one sequence: integers with scales, in pages, written in place.
//!
//! A page holds [`PAGE`] positions of one layer and is allocated when its first position is stored: a short
//! chat does not pay for a long context, and nothing is ever copied to grow. A windowed layer frees the
//! pages that no later token can see.
//!
//! **Codes.** Keys and values are integers, with a scale for each [`Codes::BLOCK`] values of a head's vector, so that
//! attention multiplies integers: twice or four times as many per instruction as f32, after no conversion, with
//! exact sums. [`KvType::F16`] takes the two bytes of an f16, but spends them on steps of 2⁻¹³ of the block's largest
//! value, where f16 has steps of 2⁻¹⁰ or less of each value: the error of a score, queries' rounding included, is
//! smaller.
//!
//! **Layout.** A *word* is 32 bits of codes: two or four dimensions of a position (keys), or two or four positions of
//! a dimension (values). A [`Row`] is one word each of 8 positions (keys) or of 8 dimensions (values), and the rows
//! of the same 8 follow one another. So lanes are what is wanted (scores of positions, dimensions of the output), a
//! word times a [`Factor`] is what has to be summed up, and everything is read in the order it lies in.

use super::simd::{self, Factor, Pair, SignedQuad, UnsignedQuad};
use crate::error::{Error, Result};
use crate::plan;
use std::ops::Range;

/// Positions per page. One head's share is to be long enough that reading it is limited by bandwidth, not by finding
/// the next: on virtual machines, 8 KB here and there came at 4 GB/s where one stream comes at 27.
pub const PAGE: usize = 256;
/// Positions whose probabilities are computed together.
pub const TILE: usize = 64;
/// Words per row.
pub const ROW: usize = 8;

/// How keys and values are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Deserialize)]
pub enum KvType {
    /// 16 bits per value.
    #[default]
    #[serde(rename = "f16")]
    F16,
    /// 8 bits per value.
    #[serde(rename = "q8_0")]
    Q8_0,
}

impl KvType {
    /// Bytes of a page of a cache.
    pub fn page_bytes(self, cache: &plan::Cache) -> usize {
        let shape = self.shape(cache.dim);
        PAGE / TILE * cache.heads * (shape.rows() * size_of::<Row>() + shape.scales() * size_of::<f32>())
    }

    fn shape(self, dim: usize) -> Shape {
        match self {
            KvType::F16 => Shape::new::<Sixteen>(dim),
            KvType::Q8_0 => Shape::new::<Eight>(dim),
        }
    }
}

/// What a [`KvType`] stores.
pub trait Codes {
    /// What queries become.
    type Query: Factor;
    /// What probabilities become.
    type Weight: Factor;
    /// Values that share a scale.
    const BLOCK: usize;
    /// The largest code.
    const LARGEST: f32;

    /// What numbers are multiplied with so that, rounded, they are factors of a type, given the largest of their
    /// absolute values and the sum of those.
    fn fit(largest: f32, sum: f32) -> f32;

    /// Packs the codes of a word.
    fn word(codes: &[i32]) -> u32;
}

/// Codes of 16 bits, up to 2¹³: sums of products must not exceed an i32, and what codes do not take of its bits is left
/// to what they are multiplied with. With this share both lose about as much.
pub struct Sixteen;

impl Codes for Sixteen {
    type Query = Pair;
    type Weight = Pair;
    const BLOCK: usize = 64;
    const LARGEST: f32 = 8191.0;

    /// Factors of 16 bits whose absolute values, up to 64 rounded numbers, add up to less than 2¹⁸.
    fn fit(largest: f32, sum: f32) -> f32 {
        (32767.0 / largest).min(262_000.0 / sum)
    }

    fn word(codes: &[i32]) -> u32 {
        (codes[0] as u32 & 0xffff) | (codes[1] as u32) << 16
    }
}

/// Codes of 8 bits.
pub struct Eight;

impl Codes for Eight {
    type Query = SignedQuad;
    type Weight = UnsignedQuad;
    const BLOCK: usize = 32;
    const LARGEST: f32 = 127.0;

    fn fit(largest: f32, _sum: f32) -> f32 {
        127.0 / largest
    }

    fn word(codes: &[i32]) -> u32 {
        u32::from_le_bytes([codes[0] as u8, codes[1] as u8, codes[2] as u8, codes[3] as u8])
    }
}

/// Eight words: one vector would not keep both multipliers of a core busy.
#[derive(Clone, Copy, Default, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(32))]
pub struct Row(pub [u32; ROW]);

/// What one head has in a tile.
#[derive(Clone, Copy)]
pub struct Shape {
    /// Dimensions, filled up to whole rows.
    pub width: usize,
    /// Words of one position (keys), or of one dimension (values).
    pub words: [usize; 2],
    /// Scales of one position.
    pub blocks: usize,
}

impl Shape {
    pub fn new<C: Codes>(dim: usize) -> Self {
        let width = dim.next_multiple_of(ROW);
        Shape {
            width,
            words: [width / C::Query::WORD, TILE / C::Weight::WORD],
            blocks: width.div_ceil(C::BLOCK),
        }
    }

    /// Rows of keys and values.
    fn rows(&self) -> usize {
        self.key_rows() + self.width / ROW * self.words[1]
    }

    fn key_rows(&self) -> usize {
        TILE / ROW * self.words[0]
    }

    /// Where a head's share of a tile lies, `len` of something.
    fn part(&self, len: usize, head: usize, tile: usize) -> Range<usize> {
        let at = head * (PAGE / TILE) + tile;
        at * len..(at + 1) * len
    }

    /// Scales of keys and values.
    fn scales(&self) -> usize {
        2 * self.blocks * TILE
    }
}

/// The caches of all layers, and how many tokens they hold.
pub struct Cache {
    pub layers: Vec<Layer>,
    len: usize,
}

/// Keys and values of one layer.
pub struct Layer {
    pub cache: plan::Cache,
    pub kv_type: KvType,
    pub pages: Vec<Page>,
    len: usize,
}

/// For each head, for each tile, keys and then values: rows of codes, and for each block the scales of the positions.
/// Empty where the positions have left the window.
#[derive(Default)]
pub struct Page {
    rows: Vec<Row>,
    scales: Vec<f32>,
}

/// Keys or values of one head in a tile.
#[derive(Clone, Copy)]
pub struct Half<'a> {
    /// [`Shape::words`] rows for each eight positions, or dimensions.
    pub rows: &'a [Row],
    /// For each block.
    pub scales: &'a [[f32; TILE]],
}

impl Cache {
    pub fn new(caches: &[plan::Cache], kv_type: KvType) -> Self {
        let layer = |cache: &plan::Cache| Layer { cache: *cache, kv_type, pages: vec![], len: 0 };
        Cache { layers: caches.iter().map(layer).collect(), len: 0 }
    }

    /// Tokens stored in every layer.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Declares `tokens` more positions stored, after all layers have them.
    pub fn advance(&mut self, tokens: usize) {
        self.len += tokens;
    }

    /// Bytes that it occupies.
    pub fn bytes(&self) -> usize {
        self.layers.iter().flat_map(|layer| &layer.pages).map(Page::bytes).sum()
    }
}

impl Layer {
    /// Positions stored so far.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Makes room for positions up to `positions`.
    pub fn reserve(&mut self, positions: usize) -> Result<()> {
        while self.pages.len() * PAGE < positions {
            self.pages.push(Page::new(self.kv_type.shape(self.cache.dim), self.cache.heads)?);
        }
        Ok(())
    }

    /// Stores the keys and values of one row at `position`, the next one or one stored before.
    pub fn store(&mut self, position: usize, k: &[f32], v: &[f32]) -> Result<()> {
        self.reserve(position + 1)?;
        match self.kv_type {
            KvType::F16 => self.store_as::<Sixteen>(position, k, v),
            KvType::Q8_0 => self.store_as::<Eight>(position, k, v),
        }
        self.len = self.len.max(position + 1);
        Ok(())
    }

    fn store_as<C: Codes>(&mut self, position: usize, k: &[f32], v: &[f32]) {
        let dim = self.cache.dim;
        let shape = Shape::new::<C>(dim);
        let (page, tile, slot) = (&mut self.pages[position / PAGE], position % PAGE / TILE, position % TILE);
        let mut codes = [0; 64];
        for (head, (k, v)) in k.chunks_exact(dim).zip(v.chunks_exact(dim)).enumerate().take(self.cache.heads)
        {
            let (rows, scales) =
                (shape.part(shape.rows(), head, tile), shape.part(shape.scales(), head, tile));
            let (key_rows, value_rows) = page.rows[rows].split_at_mut(shape.key_rows());
            let (key_scales, value_scales) = page.scales[scales].split_at_mut(shape.blocks * TILE);
            let key_rows = &mut key_rows[slot / ROW * shape.words[0]..][..shape.words[0]];
            for (block, k) in k.chunks(C::BLOCK).enumerate() {
                key_scales[block * TILE + slot] = quantize::<C>(k, &mut codes);
                let rows = &mut key_rows[block * C::BLOCK / C::Query::WORD..];
                for (row, codes) in
                    rows.iter_mut().zip(codes[..k.len().next_multiple_of(ROW)].chunks(C::Query::WORD))
                {
                    row.0[slot % ROW] = C::word(codes);
                }
            }
            for (block, v) in v.chunks(C::BLOCK).enumerate() {
                value_scales[block * TILE + slot] = quantize::<C>(v, &mut codes);
                let bits = 32 / C::Weight::WORD;
                let (word, shift) = (slot / C::Weight::WORD, slot % C::Weight::WORD * bits);
                let mask = (u32::MAX >> (32 - bits)) << shift;
                let columns =
                    value_rows[block * C::BLOCK / ROW * shape.words[1]..].chunks_exact_mut(shape.words[1]);
                for (column, codes) in
                    columns.zip(codes[..v.len().next_multiple_of(ROW)].as_chunks::<ROW>().0)
                {
                    for (value, code) in column[word].0.iter_mut().zip(codes) {
                        *value = *value & !mask | (*code as u32) << shift & mask;
                    }
                }
            }
        }
    }

    /// Frees the pages that no token from `position` on can see.
    pub fn retire(&mut self, position: usize) {
        let Some(window) = self.cache.window else { return };
        let gone = (position + 1).saturating_sub(window) / PAGE;
        for page in self.pages.iter_mut().take(gone) {
            *page = Page::default();
        }
    }
}

impl Page {
    fn new(shape: Shape, heads: usize) -> Result<Self> {
        let shares = heads * (PAGE / TILE);
        Ok(Page { rows: zeros(shares * shape.rows())?, scales: zeros(shares * shape.scales())? })
    }

    fn bytes(&self) -> usize {
        size_of_val(&*self.rows) + size_of_val(&*self.scales)
    }

    /// Keys and values of one head in a tile.
    pub fn tile(&self, head: usize, tile: usize, shape: Shape) -> [Half<'_>; 2] {
        let (keys, values) = self.rows[shape.part(shape.rows(), head, tile)].split_at(shape.key_rows());
        let (scales, _) = self.scales[shape.part(shape.scales(), head, tile)].as_chunks();
        let (key_scales, value_scales) = scales.split_at(shape.blocks);
        [Half { rows: keys, scales: key_scales }, Half { rows: values, scales: value_scales }]
    }
}

fn zeros<T: bytemuck::Zeroable + Clone>(len: usize) -> Result<Vec<T>> {
    let mut memory = Vec::new();
    memory.try_reserve_exact(len).map_err(|_| {
        Error::out_of_memory("the key/value cache does not fit into memory: choose a smaller contextLength")
    })?;
    memory.resize(len, T::zeroed());
    Ok(memory)
}

/// Writes the codes of up to 64 values and returns their scale. Values too small to divide by become zeros, and so do
/// all of a block with one that is not a number: a cache must stay finite.
fn quantize<C: Codes>(values: &[f32], codes: &mut [i32; 64]) -> f32 {
    let mut padded = [0.0; 64];
    padded[..values.len()].copy_from_slice(values);
    let mut largest = simd::splat_f32(0.0);
    for four in padded.as_chunks::<4>().0 {
        largest = simd::max_f32(largest, simd::abs_f32(simd::load_f32(four, 0)));
    }
    let largest = simd::to_f32s(largest).into_iter().fold(0.0, f32::max);
    if !(largest > 1e-30 && largest.is_finite()) {
        *codes = [0; 64];
        return 0.0;
    }
    let inverse = simd::splat_f32(C::LARGEST / largest);
    for (codes, four) in codes.as_chunks_mut::<4>().0.iter_mut().zip(padded.as_chunks::<4>().0) {
        *codes = simd::to_i32s(simd::round_to_i32(simd::mul_f32(simd::load_f32(four, 0), inverse)));
    }
    largest / C::LARGEST
}
