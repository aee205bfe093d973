//! Memory of keys, values and states: allocated once for each sequence that runs at a time, written in place.
//!
//! A layer is one buffer: of each head, for each position its words (two f16s each); keys, then values. A layer with a
//! window is a ring: positions that no later token can see are written over. A state is there twice: a step reads the
//! half that the last one has left and writes the other, so that one that is dropped has changed nothing.

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
}

impl Layer {
    /// The layer of a cache, for sequences of `context` tokens that come up to `step` at a time.
    pub fn new(cache: &plan::Cache, context: usize, step: usize) -> Self {
        let plan::Cache { heads, dim, window } = *cache;
        let capacity = window.map_or(context, |window| context.min(window.saturating_add(step)));
        Layer { heads, dim, window, capacity }
    }

    /// Words of a head's key, or of its value.
    pub fn words(&self) -> usize {
        self.dim.div_ceil(2)
    }

    pub fn bytes(&self) -> u64 {
        2 * 4 * (self.heads * self.words()) as u64 * self.capacity as u64
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
