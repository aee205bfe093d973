//! The key/value cache of one sequence: f16, in pages, written in place.
//!
//! A page holds [`PAGE`] positions of one layer and is allocated when its first position is stored: a short
//! chat does not pay for a long context, and nothing is ever copied to grow. A windowed layer frees the
//! pages that no later token can see.

use super::shared::Shared;
use crate::error::{Error, Result};
use crate::plan;
use std::ops::Range;

/// Positions per page.
pub const PAGE: usize = 32;

/// The caches of all layers, and how many tokens they hold.
pub struct Cache {
    pub layers: Vec<Layer>,
    len: usize,
}

/// Keys and values of one layer.
pub struct Layer {
    pub cache: plan::Cache,
    pub pages: Vec<Page>,
    len: usize,
}

/// For each head, `dim` × PAGE keys (dimension by dimension), then for each head PAGE × `dim` values. Empty
/// where the positions have left the window.
pub struct Page(Shared<u16>);

impl Cache {
    pub fn new(caches: &[plan::Cache]) -> Self {
        let layers = caches.iter().map(|cache| Layer { cache: *cache, pages: vec![], len: 0 }).collect();
        Cache { layers, len: 0 }
    }

    /// Tokens stored in every layer.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Makes room for `tokens` more positions in every layer, and frees what no later token can see.
    pub fn reserve(&mut self, tokens: usize) -> Result<()> {
        for layer in &mut self.layers {
            layer.retire(self.len);
            layer.reserve(self.len + tokens)?;
        }
        Ok(())
    }

    /// Declares `tokens` more positions stored, after all layers have them.
    pub fn advance(&mut self, tokens: usize) {
        self.len += tokens;
    }

    /// Bytes that it occupies.
    pub fn bytes(&self) -> usize {
        self.layers.iter().flat_map(|layer| &layer.pages).map(|page| page.0.len() * 2).sum()
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

    /// Makes room for positions below `len`, which are those that a token may see.
    pub fn reserve(&mut self, len: usize) -> Result<()> {
        while self.pages.len() < len.div_ceil(PAGE) {
            self.pages.push(Page::new(self.cache.heads * self.cache.dim)?);
        }
        self.len = len;
        Ok(())
    }

    /// Stores the keys and values of one row at `position`, the next one or one stored before.
    pub fn store(&mut self, position: usize, k: &[f32], v: &[f32]) -> Result<()> {
        self.reserve(self.len.max(position + 1))?;
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
        let (page, slot, dim) = (&self.pages[position / PAGE], position % PAGE, self.cache.dim);
        for (index, k) in (heads.start * dim..heads.end * dim).zip(k) {
            let at = index * PAGE + slot;
            // SAFETY: one key, which is this call's alone.
            let key = unsafe { page.0.parts().write(at..at + 1) };
            key[0] = to_f16(*k);
        }
    }

    /// Stores the values of some heads at a position for which there is room.
    ///
    /// # Safety
    /// As for [`Layer::store_keys`].
    pub unsafe fn store_values(&self, position: usize, heads: Range<usize>, v: &[f32]) {
        let (page, slot, dim) = (&self.pages[position / PAGE], position % PAGE, self.cache.dim);
        let keys = page.0.len() / 2;
        for (head, v) in heads.zip(v.chunks_exact(dim)) {
            let at = keys + (head * PAGE + slot) * dim;
            // SAFETY: the values of one head at one position, which are this call's alone.
            let values = unsafe { page.0.parts().write(at..at + dim) };
            for (value, v) in values.iter_mut().zip(v) {
                *value = to_f16(*v);
            }
        }
    }

    /// Frees the pages that no token from `position` on can see.
    pub fn retire(&mut self, position: usize) {
        let Some(window) = self.cache.window else { return };
        let gone = (position + 1).saturating_sub(window) / PAGE;
        for page in self.pages.iter_mut().take(gone) {
            page.0 = Shared::default();
        }
    }
}

impl Page {
    fn new(width: usize) -> Result<Self> {
        let mut memory = Shared::default();
        if !memory.resize(2 * width * PAGE, 0) {
            return Err(Error::out_of_memory(
                "the key/value cache does not fit into memory: choose a smaller contextLength",
            ));
        }
        Ok(Page(memory))
    }

    /// Keys of one head: `dim` × PAGE.
    pub fn keys(&self, head: usize, dim: usize) -> &[u16] {
        // SAFETY: a layer is read after a barrier that all threads pass when they have stored.
        unsafe { self.0.parts().read(head * dim * PAGE..(head + 1) * dim * PAGE) }
    }

    /// Values of one head: PAGE × `dim`.
    pub fn values(&self, head: usize, dim: usize) -> &[u16] {
        let keys = self.0.len() / 2;
        // SAFETY: as for keys.
        unsafe { self.0.parts().read(keys + head * dim * PAGE..keys + (head + 1) * dim * PAGE) }
    }
}

/// Rounds to f16; what is beyond its range becomes its largest value, since a cache must stay finite.
fn to_f16(x: f32) -> u16 {
    half::f16::from_f32(x.clamp(-65504.0, 65504.0)).to_bits()
}
