//! Memory of keys, values and states: allocated once for each sequence that runs at a time, written in place.
//!
//! A layer is one buffer: of each head, for each position its words, packed as f16s or as bytes with their scales; keys,
//! then values. A layer with a window is a ring: positions that no later token can see are written over. A state is
//! there twice: a step reads the half that the last one has left and writes the other, so that one that is dropped has
//! changed nothing.

use crate::cpu::KvType;
use crate::plan;
use std::cell::{Cell, RefCell};
use std::rc::Rc;

/// The shape of a layer's memory.
#[derive(Debug, Clone, Copy)]
pub struct Layer {
    pub heads: usize,
    pub dim: usize,
    pub window: Option<usize>,
    /// Positions that there is room for.
    pub capacity: usize,
    kv_type: KvType,
}

/// Values that have a scale in common.
const BLOCK: usize = 32;

impl Layer {
    /// The layer of a cache, for sequences of `context` tokens that come up to `step` at a time.
    pub fn new(cache: &plan::Cache, kv_type: KvType, context: usize, step: usize) -> Self {
        let plan::Cache { heads, dim, window } = *cache;
        let capacity = window.map_or(context, |window| context.min(window.saturating_add(step)));
        Layer { heads, dim, window, capacity, kv_type }
    }

    /// Words of the numbers of a head's key, or of its value.
    pub fn words(&self) -> usize {
        match self.kv_type {
            KvType::F16 => self.dim.div_ceil(2),
            KvType::Q8_0 => self.dim.div_ceil(4),
        }
    }

    /// All of its words.
    fn row(&self) -> usize {
        match self.kv_type {
            KvType::F16 => self.words(),
            KvType::Q8_0 => self.words() + self.dim.div_ceil(BLOCK),
        }
    }

    pub fn bytes(&self) -> u64 {
        2 * 4 * (self.heads * self.row()) as u64 * self.capacity as u64
    }

    /// WGSL that packs and unpacks words.
    pub fn source(&self) -> String {
        let packing = match self.kv_type {
            KvType::F16 => include_str!("kernels/kv_f16.wgsl"),
            KvType::Q8_0 => include_str!("kernels/kv_q8_0.wgsl"),
        };
        let sizes = include_str!("kernels/kv.wgsl")
            .replace("$DIM", &self.dim.to_string())
            .replace("$WORDS", &self.words().to_string())
            .replace("$ROW", &self.row().to_string());
        sizes + packing
    }
}

/// Numbers of sequences whose memory nobody uses now.
#[derive(Default)]
pub struct Pool {
    free: RefCell<Vec<usize>>,
    next: Cell<usize>,
}

/// A sequence: which memory it has, and how many tokens are stored there.
pub struct Cache {
    pool: Rc<Pool>,
    pub(super) lane: usize,
    /// The half of each state that the last step has left.
    pub(super) turn: usize,
    len: usize,
    bytes: u64,
}

impl Cache {
    pub(super) fn new(pool: &Rc<Pool>, bytes: u64) -> Self {
        let lane = pool.free.borrow_mut().pop().unwrap_or_else(|| pool.next.replace(pool.next.get() + 1));
        Cache { pool: Rc::clone(pool), lane, turn: 0, len: 0, bytes }
    }

    /// Tokens stored in every layer.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of its memory.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Forgets all positions from `len` on. States cannot go back: nothing is taken ahead where there are some.
    pub fn rewind(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// Declares `tokens` more positions stored, and a new state left if there are any.
    pub(super) fn advance(&mut self, tokens: usize) {
        self.len += tokens;
        self.turn = if tokens > 0 { 1 - self.turn } else { self.turn };
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        self.pool.free.borrow_mut().push(self.lane);
    }
}
