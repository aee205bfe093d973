//! What is kept of one sequence. Keys and values: integers with scales, in pages, written in place. States of other
//! kinds: see [`State`].
//!
//! A page holds [`PAGE`] positions of one layer and is allocated when its first position is stored: a short
//! chat does not pay for a long context, and nothing is ever copied to grow. A windowed layer frees the
//! pages that no later token can see. Forks share pages until one of them is written, which is copied then.
//!
//! What a page holds is said in `cache/codes.rs`.

mod codes;
mod page;
mod saved;

pub use codes::{Codes, Eight, KvType, ROW, Row, Shape, Sixteen};
pub use page::{Half, PAGE, Page, TILE};

use super::shared::Parts;
use super::simd::Factor;
use super::state::{State, Turn};
use crate::error::Result;
use crate::plan;
use codes::quantize;
use std::ops::Range;
use std::sync::Arc;

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
