//! The key/value cache of one sequence: f16, in pages, written in place.
//!
//! A page holds [`PAGE`] positions of one layer and is allocated when its first position is stored: a short
//! chat does not pay for a long context, and nothing is ever copied to grow. A windowed layer frees the
//! pages that no later token can see.

use crate::error::{Error, Result};
use crate::plan;

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
pub struct Page(Vec<u16>);

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

    /// Stores the keys and values of one row at `position`, the next one or one stored before.
    pub fn store(&mut self, position: usize, k: &[f32], v: &[f32]) -> Result<()> {
        let (heads, dim) = (self.cache.heads, self.cache.dim);
        while self.pages.len() <= position / PAGE {
            self.pages.push(Page::new(heads * dim)?);
        }
        let slot = position % PAGE;
        let (keys, values) = self.pages[position / PAGE].0.split_at_mut(heads * dim * PAGE);
        for (index, k) in k[..heads * dim].iter().enumerate() {
            keys[index * PAGE + slot] = to_f16(*k);
        }
        for (head, v) in v[..heads * dim].chunks_exact(dim).enumerate() {
            let at = (head * PAGE + slot) * dim;
            for (value, v) in values[at..at + dim].iter_mut().zip(v) {
                *value = to_f16(*v);
            }
        }
        self.len = self.len.max(position + 1);
        Ok(())
    }

    /// Frees the pages that no token from `position` on can see.
    pub fn retire(&mut self, position: usize) {
        let Some(window) = self.cache.window else { return };
        let gone = (position + 1).saturating_sub(window) / PAGE;
        for page in self.pages.iter_mut().take(gone) {
            page.0 = Vec::new();
        }
    }
}

impl Page {
    fn new(width: usize) -> Result<Self> {
        let mut memory = Vec::new();
        memory.try_reserve_exact(2 * width * PAGE).map_err(|_| {
            Error::out_of_memory(
                "the key/value cache does not fit into memory: choose a smaller contextLength",
            )
        })?;
        memory.resize(2 * width * PAGE, 0);
        Ok(Page(memory))
    }

    /// Keys of one head: `dim` × PAGE.
    pub fn keys(&self, head: usize, dim: usize) -> &[u16] {
        &self.0[head * dim * PAGE..(head + 1) * dim * PAGE]
    }

    /// Values of one head: PAGE × `dim`.
    pub fn values(&self, head: usize, dim: usize) -> &[u16] {
        let keys = self.0.len() / 2;
        &self.0[keys + head * dim * PAGE..keys + (head + 1) * dim * PAGE]
    }
}

/// Rounds to f16; what is beyond its range becomes its largest value, since a cache must stay finite.
fn to_f16(x: f32) -> u16 {
    half::f16::from_f32(x.clamp(-65504.0, 65504.0)).to_bits()
}
