//! Memory of keys, values and states, written in place.
//!
//! A layer is one buffer: of each head, for each position integers of 16 or 8 bits, then the scales of blocks of them, as
//! on the CPU; keys, then values. A layer with a window is a ring: positions that no later token can see are written over.
//! A state is there twice: a step reads the half that the last one has left and writes the other, so that one that is
//! dropped has changed nothing.
//!
//! A [`Lane`] is some memory: of what is written over, which each sequence has for itself; or of so many positions of all
//! other layers. Those of a sequence lie in [`Piece`]s of such lanes. A fork has pieces in common with what it was forked
//! from; what is stored in them stays as it is as long as several sequences have them, and who goes on from there takes a
//! lane for what follows.

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

    /// Bytes of so many positions.
    fn bytes_of(&self, positions: usize) -> u64 {
        2 * 4 * (self.heads * self.row()) as u64 * positions as u64
    }

    pub fn bytes(&self) -> u64 {
        self.bytes_of(self.capacity)
    }

    /// Bytes of its buffer in a lane, if it has one there.
    pub fn bytes_in(&self, extent: Extent) -> Option<u64> {
        match (self.window, extent) {
            (None, Extent::Positions(positions)) => Some(self.bytes_of(positions)),
            (Some(_), Extent::Latest) => Some(self.bytes()),
            _ => None,
        }
    }

    /// Where the first `len` of `capacity` positions of a head's keys lie, or of its values, which follow those of all
    /// heads: an offset and a length in bytes.
    pub fn place(&self, head: usize, capacity: usize, len: usize) -> (u64, u64) {
        let row = 4 * self.row() as u64;
        ((head * capacity) as u64 * row, len as u64 * row)
    }

    /// WGSL that packs and unpacks words.
    pub fn source(&self) -> String {
        let Packing { block, words, pack, unpack } = self.packing();
        let slot = self.window.map_or("(p - now.origin)".to_owned(), |_| format!("(p % {}u)", self.capacity));
        wgsl!("kv")
            .replace("$DIM", &self.dim.to_string())
            .replace("$FOURS", &self.fours().to_string())
            .replace("$WORDS", &words.to_string())
            .replace("$BLOCK", &(block / 4).to_string())
            .replace("$ROW", &self.row().to_string())
            .replace("$pack", pack)
            .replace("$unpack", unpack)
            .replace("$slot", &slot)
    }
}

/// What a lane has room for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Extent {
    /// Rings and states.
    Latest,
    /// So many positions of all other layers.
    Positions(usize),
}

impl Extent {
    fn is_latest(self) -> bool {
        self == Extent::Latest
    }
}

/// What the sequences of a model have in common.
pub struct Pool {
    pub(super) layers: Vec<Layer>,
    /// Values of each state.
    pub(super) states: Vec<usize>,
    context: usize,
    /// Lanes whose memory nobody uses now, and their numbers.
    free: RefCell<Vec<(Extent, usize)>>,
    next: Cell<usize>,
    /// Of each lane whose memory was asked for, whether it could be had.
    pub(super) made: RefCell<HashMap<usize, Signal>>,
}

impl Pool {
    pub fn new(layers: Vec<Layer>, states: Vec<usize>, context: usize) -> Rc<Self> {
        Rc::new(Pool {
            layers,
            states,
            context,
            free: RefCell::default(),
            next: Cell::default(),
            made: RefCell::default(),
        })
    }

    /// A lane with this room at least: the smallest that is free, or a new one in place of one that is too small.
    fn lane(self: &Rc<Self>, extent: Extent) -> Rc<Lane> {
        let mut free = self.free.borrow_mut();
        let alike = (0..free.len()).filter(|at| free[*at].0.is_latest() == extent.is_latest());
        let found = alike.min_by_key(|at| (free[*at].0 < extent, free[*at])).map(|at| free.swap_remove(at));
        let (extent, number) = match found {
            Some(lane) if lane.0 >= extent => lane,
            found => {
                // What has no signal has its memory given back.
                found.map(|(_, number)| self.made.borrow_mut().remove(&number));
                (extent, self.next.replace(self.next.get() + 1))
            }
        };
        Rc::new(Lane { pool: Rc::clone(self), number, extent, shared: Cell::new(0) })
    }

    /// Whether nobody uses a lane, and the next sequence finds another one that is as large.
    pub(super) fn is_spare(&self, number: usize) -> bool {
        let free = self.free.borrow();
        let found = free.iter().find(|(_, other)| *other == number);
        found.is_some_and(|lane| {
            free.iter().any(|other| other.0.is_latest() == lane.0.is_latest() && other > lane)
        })
    }

    pub(super) fn is_free(&self, number: usize) -> bool {
        self.free.borrow().iter().any(|(_, other)| *other == number)
    }

    /// Whether a lane has memory, as far as is known.
    pub(super) fn has(&self, number: usize) -> bool {
        self.made.borrow().get(&number).is_some_and(|made| made.outcome() != Some(false))
    }

    /// Whether there was none for it.
    fn lacks(&self, number: usize) -> bool {
        self.made.borrow().get(&number).is_some_and(|made| made.outcome() == Some(false))
    }

    /// Notes that a lane's memory was given back.
    pub(super) fn forget(&self, number: usize) {
        self.free.borrow_mut().retain(|(_, other)| *other != number);
        self.made.borrow_mut().retain(|other, made| *other != number || made.outcome() == Some(false));
    }

    /// Bytes of a lane's memory.
    pub fn bytes_in(&self, extent: Extent) -> u64 {
        let layers: u64 = self.layers.iter().filter_map(|layer| layer.bytes_in(extent)).sum();
        let states = self.states.iter().map(|len| state_bytes(*len));
        layers + if extent == Extent::Latest { states.sum() } else { 0 }
    }

    /// Bytes of a sequence that has nothing in common with others.
    pub fn bytes(&self) -> u64 {
        self.bytes_in(Extent::Latest) + self.bytes_in(Extent::Positions(self.context))
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

/// Some memory, which is free for others when nobody holds it any more.
pub struct Lane {
    pool: Rc<Pool>,
    pub number: usize,
    pub extent: Extent,
    /// Positions before this one may be read by several sequences.
    shared: Cell<usize>,
}

impl Drop for Lane {
    fn drop(&mut self) {
        // What is not known to be there is asked for anew.
        let there = |made: &Signal| made.outcome() == Some(true);
        if self.pool.made.borrow().get(&self.number).is_some_and(there) {
            self.pool.free.borrow_mut().push((self.extent, self.number));
        } else {
            self.pool.made.borrow_mut().remove(&self.number);
        }
    }
}

/// The positions of a sequence from `from` on, up to where the next piece begins: the first ones of a lane.
#[derive(Clone)]
pub struct Piece {
    pub lane: Rc<Lane>,
    pub from: usize,
    /// Whether the sequence may write behind what it shares.
    owned: bool,
}

/// A sequence has no more pieces than this, as each takes dispatches and memory of its own: what would be the next one
/// goes on in a copy of the last.
pub const MOST_PIECES: usize = 4;

/// A sequence: which memory it has, and how many tokens are stored there.
pub struct Cache {
    pool: Rc<Pool>,
    /// Rings and states.
    latest: Rc<Lane>,
    pieces: Vec<Piece>,
    /// The half of each state that the last step has left.
    pub(super) turn: usize,
    len: usize,
    /// Positions that were written, if only by steps that were dropped: rings may have lost what lay there before.
    written: usize,
}

impl Cache {
    pub(super) fn new(pool: &Rc<Pool>) -> Self {
        let latest = pool.lane(Extent::Latest);
        Cache { pool: Rc::clone(pool), latest, pieces: vec![], turn: 0, len: 0, written: 0 }
    }

    /// A sequence of the same tokens, whose rings and states are yet to be copied.
    pub(super) fn fork(&self) -> Self {
        if let Some(Piece { lane, .. }) = self.pieces.last() {
            lane.shared.set(lane.shared.get().max(self.len));
        }
        let pieces = self.pieces.iter().map(|piece| Piece { owned: false, ..piece.clone() }).collect();
        Cache { pieces, turn: self.turn, len: self.len, written: self.written, ..Cache::new(&self.pool) }
    }

    /// Sees to it that positions from the next one on lie where nobody else reads. Where that takes a lane for what a
    /// piece already holds, that piece is returned: its positions are yet to be copied.
    pub(super) fn claim(&mut self) -> Option<Piece> {
        if let Some(Piece { lane, owned, .. }) = self.pieces.last_mut() {
            let alone = Rc::strong_count(lane) == 1;
            if alone {
                (*owned, _) = (true, lane.shared.set(0));
            }
        }
        if self.owns_next() {
            return None;
        }
        self.pieces.retain(|piece| piece.from < self.len);
        let moved = if self.pieces.len() < MOST_PIECES { None } else { self.pieces.pop() };
        let from = moved.as_ref().map_or(self.len, |piece| piece.from);
        let lane = self.pool.lane(Extent::Positions(self.pool.context - from));
        self.pieces.push(Piece { lane, from, owned: true });
        moved
    }

    /// Whether nobody else reads where the next position lies.
    pub(super) fn owns_next(&self) -> bool {
        self.pieces.last().is_some_and(|piece| piece.owned && piece.lane.shared.get() <= self.len)
    }

    /// Gives a lane back for which there was no memory, if nothing is lost with it.
    pub(super) fn disclaim(&mut self) {
        let (pool, len) = (&self.pool, self.len);
        self.pieces.retain(|Piece { lane, from, .. }| *from < len || !pool.lacks(lane.number));
        if len == 0 && pool.lacks(self.latest.number) {
            self.latest = pool.lane(Extent::Latest);
        }
    }

    pub(super) fn latest(&self) -> &Rc<Lane> {
        &self.latest
    }

    pub(super) fn pieces(&self) -> &[Piece] {
        &self.pieces
    }

    /// All its lanes.
    pub(super) fn lanes(&self) -> impl Iterator<Item = &Rc<Lane>> {
        self.pieces.iter().map(|piece| &piece.lane).chain([&self.latest])
    }

    /// Tokens stored in every layer.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Bytes of its memory: of what it shares with others, its part.
    pub fn bytes(&self) -> u64 {
        let part = |lane: &Rc<Lane>| self.pool.bytes_in(lane.extent) / Rc::strong_count(lane) as u64;
        self.lanes().map(part).sum()
    }

    /// Whether there was no memory for what it should hold.
    pub(super) fn is_lost(&self) -> bool {
        self.lanes().any(|lane| self.pool.lacks(lane.number))
    }

    /// Where a layer's positions are stored: in which lanes, how many there is room for in each, and how many are there.
    pub(super) fn stored(&self, layer: &Layer) -> Vec<(usize, usize, usize)> {
        if layer.window.is_some() {
            return vec![(self.latest.number, layer.capacity, self.written.min(layer.capacity))];
        }
        let ends = self.pieces.iter().skip(1).map(|piece| piece.from).chain([self.len]);
        let pieces = self.pieces.iter().zip(ends);
        let stored = pieces.map(|(Piece { lane, from, .. }, end)| match lane.extent {
            Extent::Positions(capacity) => (lane.number, capacity, end - from),
            Extent::Latest => (lane.number, 0, 0),
        });
        stored.collect()
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
            self.pieces.retain(|piece| piece.from <= len);
        }
        reached
    }

    /// Whether all that a token at `position` sees in a layer is still there.
    fn sees(&self, layer: &Layer, position: usize) -> bool {
        let begin = |window| (position + 1).saturating_sub(window);
        layer.window.is_none_or(|window| begin(window) + layer.capacity >= self.written)
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
