//! Memory of keys, values and states: allocated once for each sequence that runs at a time, written in place.
//!
//! A layer is one buffer: of each head, for each position integers of 16 or 8 bits, then the scales of blocks of them, as
//! on the CPU; keys, then values. A layer with a window is a ring: positions that no later token can see are written over. A state is
//! there twice: a step reads the half that the last one has left and writes the other, so that one that is dropped has
//! changed nothing.

use super::readback::Signal;
use crate::cpu::KvType;
use crate::plan;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;

/// The shape of a layer's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layer {
    pub heads: usize,
    pub dim: usize,
    pub window: Option<usize>,
    /// Positions that there is room for.
    pub capacity: usize,
    pub kv_type: KvType,
}

/// How values are stored: a scale, the largest of a block's, and each value in units of that.
struct Packing {
    /// Values that have a scale in common.
    block: usize,
    /// Words of four values.
    words: usize,
    /// WGSL of the words of four `values`, and of the values of `words`.
    pack: &'static str,
    unpack: &'static str,
}

const SIXTEEN: Packing = Packing {
    block: 64,
    words: 2,
    pack: "vec2<u32>(pack2x16snorm(values.xy), pack2x16snorm(values.zw))",
    unpack: "vec4<f32>(unpack2x16snorm(words.x), unpack2x16snorm(words.y))",
};

const EIGHT: Packing = Packing {
    block: 32,
    words: 1,
    pack: "vec2<u32>(pack4x8snorm(values))",
    unpack: "unpack4x8snorm(words.x)",
};

impl Layer {
    /// The layer of a cache, for sequences of `context` tokens that come up to `step` at a time.
    pub fn new(cache: &plan::Cache, kv_type: KvType, context: usize, step: usize) -> Self {
        let plan::Cache { heads, dim, window } = *cache;
        let capacity = window.map_or(context, |window| context.min(window.saturating_add(step)));
        Layer { heads, dim, window, capacity, kv_type }
    }

    fn packing(&self) -> Packing {
        match self.kv_type {
            KvType::F16 => SIXTEEN,
            KvType::Q8_0 => EIGHT,
        }
    }

    /// Fours of values of a head's key, or of its value.
    pub fn fours(&self) -> usize {
        self.dim.div_ceil(4)
    }

    /// Words of these.
    pub fn words(&self) -> usize {
        self.fours() * self.packing().words
    }

    /// And with its scales.
    pub fn row(&self) -> usize {
        self.words() + self.dim.div_ceil(self.packing().block)
    }

    pub fn bytes(&self) -> u64 {
        2 * 4 * (self.heads * self.row()) as u64 * self.capacity as u64
    }

    /// Where the first `positions` of each head's keys, and of its values, lie: offsets in bytes and their length.
    pub fn places(&self, positions: usize) -> impl Iterator<Item = (u64, u64)> {
        let row = 4 * self.row() as u64;
        let (step, len) = (row * self.capacity as u64, row * positions as u64);
        (0..2 * self.heads as u64).map(move |head| (head * step, len)).filter(|(_, len)| *len > 0)
    }

    /// WGSL that packs and unpacks words.
    pub fn source(&self) -> String {
        let Packing { block, words, pack, unpack } = self.packing();
        include_str!("kernels/kv.wgsl")
            .replace("$DIM", &self.dim.to_string())
            .replace("$FOURS", &self.fours().to_string())
            .replace("$WORDS", &words.to_string())
            .replace("$BLOCK", &(block / 4).to_string())
            .replace("$ROW", &self.row().to_string())
            .replace("$pack", pack)
            .replace("$unpack", unpack)
    }
}

/// What the sequences of a model have in common.
pub struct Pool {
    pub(super) layers: Vec<Layer>,
    /// Values of each state.
    pub(super) states: Vec<usize>,
    /// Numbers of sequences whose memory nobody uses now.
    free: RefCell<Vec<usize>>,
    next: Cell<usize>,
    /// Of each sequence's memory that was asked for, whether it could be had.
    pub(super) made: RefCell<HashMap<usize, Signal>>,
}

impl Pool {
    pub fn new(layers: Vec<Layer>, states: Vec<usize>) -> Rc<Self> {
        Rc::new(Pool {
            layers,
            states,
            free: RefCell::default(),
            next: Cell::default(),
            made: RefCell::default(),
        })
    }

    /// Whether nobody uses a sequence's memory, nor will the next one.
    pub(super) fn is_spare(&self, lane: usize) -> bool {
        self.free.borrow().split_last().is_some_and(|(_, spare)| spare.contains(&lane))
    }

    pub(super) fn is_free(&self, lane: usize) -> bool {
        self.free.borrow().contains(&lane)
    }

    /// Whether a sequence has memory, as far as is known.
    pub(super) fn has(&self, lane: usize) -> bool {
        self.made.borrow().get(&lane).is_some_and(|made| made.outcome() != Some(false))
    }

    /// Bytes of the memory of a sequence.
    pub fn bytes(&self) -> u64 {
        let layers: u64 = self.layers.iter().map(Layer::bytes).sum();
        layers + self.states.iter().map(|len| state_bytes(*len)).sum::<u64>()
    }
}

/// Bytes of a state of `len` values: what a step has left, and what the next one leaves.
pub fn state_bytes(len: usize) -> u64 {
    2 * half_bytes(len)
}

/// Bytes of one of the two.
pub(super) fn half_bytes(len: usize) -> u64 {
    4 * len.max(1) as u64
}

/// A sequence: which memory it has, and how many tokens are stored there.
pub struct Cache {
    pool: Rc<Pool>,
    pub(super) lane: usize,
    /// The half of each state that the last step has left.
    pub(super) turn: usize,
    len: usize,
    /// Positions that were written, if only by steps that were dropped: rings may have lost what lay there before.
    written: usize,
}

impl Cache {
    pub(super) fn new(pool: &Rc<Pool>) -> Self {
        let lane = pool.free.borrow_mut().pop().unwrap_or_else(|| pool.next.replace(pool.next.get() + 1));
        Cache { pool: Rc::clone(pool), lane, turn: 0, len: 0, written: 0 }
    }

    /// A sequence of the same tokens, whose memory is yet to be copied.
    pub(super) fn fork(&self) -> Self {
        let mut fork = Cache::new(&self.pool);
        (fork.turn, fork.len, fork.written) = (self.turn, self.len, self.written);
        fork
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
        self.pool.bytes()
    }

    /// Whether there was no memory for what it should hold.
    pub(super) fn is_lost(&self) -> bool {
        self.pool.made.borrow().contains_key(&self.lane) && !self.pool.has(self.lane)
    }

    /// The positions of a layer's memory where something was stored.
    pub(super) fn stored(&self, layer: &Layer) -> usize {
        self.written.min(layer.capacity)
    }

    /// Whether it can go back to `len` tokens: a ring may have lost what the token at `len` sees, and states go back to
    /// the beginning only. What was lost for want of memory is all there is.
    pub fn reaches(&self, len: usize) -> bool {
        let Pool { layers, states, .. } = &*self.pool;
        let part = states.is_empty() && layers.iter().all(|layer| self.sees(layer, len));
        len == 0 || !self.is_lost() && (len == self.len || len < self.len && part)
    }

    /// Forgets all positions from `len` on, and answers whether it could.
    pub fn rewind(&mut self, len: usize) -> bool {
        let reached = self.reaches(len);
        if reached {
            self.written = if len == 0 { 0 } else { self.written };
            self.len = len;
        }
        reached
    }

    /// Whether all that a token at `position` sees in a layer is still there.
    fn sees(&self, layer: &Layer, position: usize) -> bool {
        let from = layer.window.map_or(0, |window| (position + 1).saturating_sub(window));
        from + layer.capacity >= self.written
    }

    /// Notes that a step writes `tokens` positions after those stored.
    pub(super) fn reserve(&mut self, tokens: usize) {
        self.written = self.written.max(self.len + tokens);
    }

    /// The same with `len` tokens stored, after writing `written` positions.
    pub(super) fn holding(mut self, len: usize, written: usize) -> Self {
        (self.len, self.written) = (len, written);
        self
    }

    pub(super) fn written(&self) -> usize {
        self.written
    }

    /// Declares `tokens` more positions stored, and a new state left if there are any.
    pub(super) fn advance(&mut self, tokens: usize) {
        self.len += tokens;
        self.turn = if tokens > 0 { 1 - self.turn } else { self.turn };
    }
}

impl Drop for Cache {
    fn drop(&mut self) {
        // The next sequence of this number asks anew for what is not known to be there.
        let unknown = |made: &Signal| made.outcome() != Some(true);
        let mut made = self.pool.made.borrow_mut();
        if made.get(&self.lane).is_some_and(unknown) {
            made.remove(&self.lane);
        }
        self.pool.free.borrow_mut().push(self.lane);
    }
}
