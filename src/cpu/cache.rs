//! What is kept of one sequence. Keys and values: integers with scales, in pages, written in place. States of other
//! kinds: see [`State`].
//!
//! A page holds [`PAGE`] positions of one layer and is allocated when its first position is stored: a short
//! chat does not pay for a long context, and nothing is ever copied to grow. A windowed layer frees the
//! pages that no later token can see. Forks share pages until one of them is written, which is copied then.
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

mod saved;

use super::shared::{Parts, Shared};
use super::simd::{self, Factor, Pair, SignedQuad, UnsignedQuad};
use super::state::{State, Turn};
use crate::error::{Error, Result};
use crate::plan;
use std::ops::Range;
use std::sync::Arc;

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
    type Code: bytemuck::Pod;
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

    fn code(code: i32) -> Self::Code;
}

/// Codes of 16 bits, up to 2¹³: sums of products must not exceed an i32, and what codes do not take of its bits is left
/// to what they are multiplied with. With this share both lose about as much.
pub struct Sixteen;

impl Codes for Sixteen {
    type Code = i16;
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

    fn code(code: i32) -> i16 {
        code as i16
    }
}

/// Codes of 8 bits.
pub struct Eight;

impl Codes for Eight {
    type Code = i8;
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

    fn code(code: i32) -> i8 {
        code as i8
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

/// What all layers keep, and how many tokens that is of.
pub struct Cache {
    pub layers: Vec<Layer>,
    pub states: Vec<State>,
    pub turn: Turn,
    len: usize,
}

/// Keys and values of one layer.
pub struct Layer {
    pub cache: plan::Cache,
    pub kv_type: KvType,
    pub pages: Vec<Arc<Page>>,
    len: usize,
}

/// For each head, for each tile, keys and then values: rows of codes, and for each block the scales of the positions.
/// Empty where the positions have left the window.
#[derive(Default)]
pub struct Page {
    rows: Shared<Row>,
    scales: Shared<f32>,
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
    pub fn new(caches: &[plan::Cache], states: &[usize], kv_type: KvType) -> Self {
        let layer = |cache: &plan::Cache| Layer { cache: *cache, kv_type, pages: vec![], len: 0 };
        Cache {
            layers: caches.iter().map(layer).collect(),
            states: states.iter().map(|len| State::new(*len)).collect(),
            turn: Turn::default(),
            len: 0,
        }
    }

    /// Tokens stored in every layer.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Another sequence of the same tokens. Memory is shared as long as neither writes it.
    pub fn fork(&self) -> Self {
        Cache {
            layers: self.layers.iter().map(|layer| layer.fork(self.len)).collect(),
            states: self.states.iter().map(|state| state.fork(self.turn)).collect(),
            turn: self.turn,
            len: self.len,
        }
    }

    /// Makes room for `tokens` more positions in every layer, and frees what no later token can see.
    pub fn reserve(&mut self, tokens: usize) -> Result<()> {
        for layer in &mut self.layers {
            layer.retire(self.len);
            layer.reserve(self.len..self.len + tokens)?;
        }
        self.states.iter_mut().try_for_each(|state| state.reserve(self.turn, self.len == 0))
    }

    /// Declares `tokens` more positions stored, after all layers have them, and a new state left.
    pub fn advance(&mut self, tokens: usize) {
        self.len += tokens;
        self.turn.next();
    }

    /// Whether it can go back to `len` tokens: a window may have passed what the token at `len` sees, and states go back
    /// to the beginning only.
    pub fn reaches(&self, len: usize) -> bool {
        let part = self.states.is_empty() && self.layers.iter().all(|layer| layer.sees(len));
        len == self.len || len == 0 || (len < self.len && part)
    }

    /// Forgets the positions from `len` on, and answers whether it could. The pages are kept.
    pub fn rewind(&mut self, len: usize) -> bool {
        let reached = self.reaches(len);
        if reached && len < self.len {
            self.len = len;
            self.layers.iter_mut().for_each(|layer| layer.rewind(len));
        }
        reached
    }

    /// Bytes that it occupies: of what it shares with others, its part.
    pub fn bytes(&self) -> usize {
        let part = |page: &Arc<Page>| page.bytes() / Arc::strong_count(page);
        let pages: usize = self.layers.iter().flat_map(|layer| &layer.pages).map(part).sum();
        pages + self.states.iter().map(State::bytes).sum::<usize>()
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

    fn fork(&self, len: usize) -> Self {
        let Layer { cache, kv_type, .. } = *self;
        Layer { cache, kv_type, pages: self.pages.iter().take(len.div_ceil(PAGE)).cloned().collect(), len }
    }

    /// Whether all that a token at `position` sees is still there.
    fn sees(&self, position: usize) -> bool {
        let from = self.cache.window.map_or(0, |window| (position + 1).saturating_sub(window));
        self.pages.iter().take(position.div_ceil(PAGE)).skip(from / PAGE).all(|page| !page.is_gone())
    }

    /// Forgets the positions from `len` on. From the beginning no page may be missing.
    fn rewind(&mut self, len: usize) {
        self.len = len;
        if len == 0 && self.pages.iter().any(|page| page.is_gone()) {
            self.pages.clear();
        }
    }

    /// Makes room for positions before the end of `written`, which are those that a token may see, and for what is
    /// written in pages that nobody shares.
    pub fn reserve(&mut self, written: Range<usize>) -> Result<()> {
        let (shape, heads) = (self.kv_type.shape(self.cache.dim), self.cache.heads);
        let pages = written.end.div_ceil(PAGE);
        for page in self.pages.iter_mut().take(pages).skip(written.start / PAGE) {
            if Arc::get_mut(page).is_none() {
                *page = Arc::new(page.copy(shape, heads)?);
            }
        }
        while self.pages.len() < pages {
            self.pages.push(Arc::new(Page::new(shape, heads)?));
        }
        self.len = written.end;
        Ok(())
    }

    /// Stores the keys and values of one row at `position`, the next one or one stored before.
    pub fn store(&mut self, position: usize, k: &[f32], v: &[f32]) -> Result<()> {
        let end = self.len.max(position + 1);
        self.reserve(position.min(self.len)..end)?;
        let heads = 0..self.cache.heads;
        // SAFETY: `&mut self`: nobody else touches the layer.
        unsafe {
            self.store_keys(position, heads.clone(), k);
            self.store_values(position, heads, v);
        }
        Ok(())
    }

    /// Stores the keys of some heads at a position for which there is room.
    ///
    /// # Safety
    /// No other thread touches the keys of these heads at this position, or reads any of the layer, meanwhile.
    pub unsafe fn store_keys(&self, position: usize, heads: Range<usize>, k: &[f32]) {
        // SAFETY: the caller's promise.
        unsafe {
            match self.kv_type {
                KvType::F16 => self.store_keys_as::<Sixteen>(position, heads, k),
                KvType::Q8_0 => self.store_keys_as::<Eight>(position, heads, k),
            }
        }
    }

    /// Stores the values of some heads at a position for which there is room.
    ///
    /// # Safety
    /// As for [`Layer::store_keys`].
    pub unsafe fn store_values(&self, position: usize, heads: Range<usize>, v: &[f32]) {
        // SAFETY: the caller's promise.
        unsafe {
            match self.kv_type {
                KvType::F16 => self.store_values_as::<Sixteen>(position, heads, v),
                KvType::Q8_0 => self.store_values_as::<Eight>(position, heads, v),
            }
        }
    }

    unsafe fn store_keys_as<C: Codes>(&self, position: usize, heads: Range<usize>, k: &[f32]) {
        let (shape, slot) = (Shape::new::<C>(self.cache.dim), position % TILE);
        let mut codes = [0; 64];
        for (head, k) in heads.zip(k.chunks_exact(self.cache.dim)) {
            let (rows, scales) = self.pages[position / PAGE].share(head, position % PAGE / TILE, shape);
            let words: Parts<u32> = rows.cast();
            let first = slot / ROW * shape.words[0] * ROW + slot % ROW;
            for (block, k) in k.chunks(C::BLOCK).enumerate() {
                let scale = quantize::<C>(k, &mut codes);
                let from = first + block * C::BLOCK / C::Query::WORD * ROW;
                // SAFETY: a scale and words of this position, which are this call's alone.
                unsafe {
                    scales.put(block * TILE + slot, scale);
                    let codes = codes[..k.len().next_multiple_of(ROW)].chunks_exact(C::Query::WORD);
                    for (word, codes) in codes.enumerate() {
                        words.put(from + word * ROW, C::word(codes));
                    }
                }
            }
        }
    }

    /// Codes of other positions lie in the same words, so each is written by itself: two threads may store neighbours.
    unsafe fn store_values_as<C: Codes>(&self, position: usize, heads: Range<usize>, v: &[f32]) {
        let (shape, slot) = (Shape::new::<C>(self.cache.dim), position % TILE);
        let mut codes = [0; 64];
        for (head, v) in heads.zip(v.chunks_exact(self.cache.dim)) {
            let (rows, scales) = self.pages[position / PAGE].share(head, position % PAGE / TILE, shape);
            let all: Parts<C::Code> = rows.cast();
            let first = shape.key_rows() * ROW * C::Weight::WORD
                + slot / C::Weight::WORD * ROW * C::Weight::WORD
                + slot % C::Weight::WORD;
            for (block, v) in v.chunks(C::BLOCK).enumerate() {
                let scale = quantize::<C>(v, &mut codes);
                let from = first + block * C::BLOCK * shape.words[1] * C::Weight::WORD;
                // SAFETY: a scale and codes of this position, which are this call's alone.
                unsafe {
                    scales.put((shape.blocks + block) * TILE + slot, scale);
                    for (eight, codes) in
                        codes[..v.len().next_multiple_of(ROW)].as_chunks::<ROW>().0.iter().enumerate()
                    {
                        let from = from + eight * ROW * shape.words[1] * C::Weight::WORD;
                        for (d, code) in codes.iter().enumerate() {
                            all.put(from + d * C::Weight::WORD, C::code(*code));
                        }
                    }
                }
            }
        }
    }

    /// Frees the pages that no token from `position` on can see.
    pub fn retire(&mut self, position: usize) {
        let Some(window) = self.cache.window else { return };
        let gone = (position + 1).saturating_sub(window) / PAGE;
        for page in self.pages.iter_mut().take(gone).filter(|page| !page.is_gone()) {
            *page = Arc::default();
        }
    }
}

impl Page {
    fn new(shape: Shape, heads: usize) -> Result<Self> {
        let shares = heads * (PAGE / TILE);
        let mut page = Page::default();
        if page.rows.resize(shares * shape.rows(), Row::default())
            && page.scales.resize(shares * shape.scales(), 0.0)
        {
            return Ok(page);
        }
        Err(Error::out_of_memory(
            "the key/value cache does not fit into memory: choose a smaller contextLength",
        ))
    }

    /// The same in other memory.
    fn copy(&self, shape: Shape, heads: usize) -> Result<Self> {
        let mut page = Page::new(shape, heads)?;
        // SAFETY: pages are written by steps, and none is on: nobody asks for room then.
        unsafe {
            page.rows.values_mut().copy_from_slice(self.rows.parts().read(0..self.rows.len()));
            page.scales.values_mut().copy_from_slice(self.scales.parts().read(0..self.scales.len()));
        }
        Ok(page)
    }

    /// Whether it has left the window.
    fn is_gone(&self) -> bool {
        self.rows.len() == 0
    }

    fn bytes(&self) -> usize {
        self.rows.len() * size_of::<Row>() + self.scales.len() * size_of::<f32>()
    }

    /// Rows and scales of one head in a tile: of its keys, then of its values.
    fn share(&self, head: usize, tile: usize, shape: Shape) -> (Parts<'_, Row>, Parts<'_, f32>) {
        let (rows, scales) = (shape.part(shape.rows(), head, tile), shape.part(shape.scales(), head, tile));
        (self.rows.parts().slice(rows), self.scales.parts().slice(scales))
    }

    /// Keys and values of one head in a tile.
    pub fn tile(&self, head: usize, tile: usize, shape: Shape) -> [Half<'_>; 2] {
        let (rows, scales) = self.share(head, tile, shape);
        // SAFETY: a layer is read after a barrier that all threads pass when they have stored.
        let (rows, scales) = unsafe { (rows.read(0..shape.rows()), scales.read(0..shape.scales())) };
        let (keys, values) = rows.split_at(shape.key_rows());
        let (key_scales, value_scales) = scales.as_chunks().0.split_at(shape.blocks);
        [Half { rows: keys, scales: key_scales }, Half { rows: values, scales: value_scales }]
    }
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
