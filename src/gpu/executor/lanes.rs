//! Memory of sequences, bound to the dispatches that use it. Where there is none left, that is the fault of the request
//! that asks for it, and it may ask again.

use super::{Dispatch, Executor, Lanes, Program, Sequence};
use crate::error::{Error, Result};
use crate::gpu::fault::out_of_memory;
use crate::gpu::readback::Signal;
use crate::gpu::room::{Memory, memory};
use crate::gpu::sequence::{Cache, Extent, Lane, Layer, Piece, Pool, half_bytes};
use std::rc::Rc;

/// The memory of a lane.
pub(super) struct Bound {
    pub memory: Memory,
    pub extent: Extent,
    one: Vec<Option<wgpu::BindGroup>>,
    many: Vec<Option<wgpu::BindGroup>>,
}

impl Bound {
    /// What dispatch `k` is bound to, if it uses this memory.
    pub fn group(&self, one: bool, k: usize) -> Option<&wgpu::BindGroup> {
        if one { self.one[k].as_ref() } else { self.many[k].as_ref() }
    }

    /// Layer (0) or state (1) number so-and-so.
    pub fn buffer(&self, [kind, index]: [usize; 2]) -> Option<&wgpu::Buffer> {
        self.memory[kind][index].as_ref()
    }

    /// Gives its memory back now, and not when JavaScript's garbage is collected.
    fn destroy(&self) {
        self.memory.iter().flatten().flatten().for_each(wgpu::Buffer::destroy);
    }
}

/// A buffer and a place in it, another one and the place there, and how many bytes go from the one to the other.
type Copied<'a> = (&'a wgpu::Buffer, u64, &'a wgpu::Buffer, u64, u64);

/// The layers, or states, that both lanes have, with their buffers there.
fn both<'a, T>(
    all: &'a [T],
    from: &'a [Option<wgpu::Buffer>],
    to: &'a [Option<wgpu::Buffer>],
) -> impl Iterator<Item = (&'a T, &'a wgpu::Buffer, &'a wgpu::Buffer)> {
    let buffers = from.iter().zip(to).map(|(from, to)| from.as_ref().zip(to.as_ref()));
    all.iter().zip(buffers).filter_map(|(of, buffers)| buffers.map(|(from, to)| (of, from, to)))
}

/// The first `len` positions of all heads of a layer, between buffers with room for so many positions.
fn heads<'a>(
    layer: &Layer,
    from: &'a wgpu::Buffer,
    to: &'a wgpu::Buffer,
    rooms: [usize; 2],
    len: usize,
) -> impl Iterator<Item = Copied<'a>> {
    let layer = *layer;
    (0..2 * layer.heads).map(move |head| {
        let [(at, bytes), (to_at, _)] = rooms.map(|room| layer.place(head, room, len));
        (from, at, to, to_at, bytes)
    })
}

impl Lanes {
    pub(super) fn of(cache: &Cache) -> Self {
        let pieces = cache.pieces().iter().map(|piece| (piece.lane.number, piece.from)).collect();
        Lanes { latest: cache.latest().number, pieces }
    }
}

impl Executor {
    /// The same memory, bound to the programs.
    pub(super) fn bound(&self, memory: Memory, extent: Extent) -> Bound {
        let bind = |program: &Program| {
            let bind = |dispatch: &Dispatch| {
                dispatch.of_sequence().then(|| dispatch.bind(&self.gpu, &memory)).flatten()
            };
            program.layers.iter().map(bind).collect()
        };
        let (one, many) = (bind(&self.one), bind(&self.many));
        Bound { memory, extent, one, many }
    }

    /// An empty sequence of this model.
    pub fn new_cache(&self) -> Cache {
        Cache::new(&self.pool)
    }

    /// A new sequence that holds the same tokens. Both have what is stored in common; rings and states are copied, on the
    /// GPU. Where there is no room for these that is an `out-of-memory` error, now or of the first step with it.
    pub fn fork(&mut self, cache: &Cache) -> Result<Cache> {
        // What is stored by a step that waits is to be there.
        self.send();
        let fork = cache.fork();
        if cache.is_lost() {
            return Err(out_of_memory());
        }
        let made = self.fill_from(cache.latest().number, fork.latest(), |pool, from, to| {
            let mut copies = vec![];
            for (layer, from, to) in both(&pool.layers, &from[0], &to[0]) {
                for (_, capacity, len) in cache.stored(layer) {
                    copies.extend(heads(layer, from, to, [capacity; 2], len));
                }
            }
            for (len, from, to) in both(&pool.states, &from[1], &to[1]) {
                let (at, len) = (cache.turn as u64 * half_bytes(*len), half_bytes(*len));
                copies.push((from, at, to, at, len));
            }
            copies
        });
        match made.outcome() {
            Some(false) => Err(self.lacking()),
            _ => self.gpu.check().map(|()| fork),
        }
    }

    /// Fills a lane with copies of what lane `number` has.
    fn fill_from(
        &mut self,
        number: usize,
        lane: &Lane,
        copies: impl for<'a> FnOnce(&'a Pool, &'a Memory, &'a Memory) -> Vec<Copied<'a>>,
    ) -> Signal {
        let from = self.lanes.remove(&number);
        let made = self.fill(lane, |executor, to| {
            let Some(from) = &from else { return };
            let mut copies = copies(&executor.pool, &from.memory, &to.memory);
            copies.retain(|(.., len)| *len > 0);
            if copies.is_empty() {
                return;
            }
            executor.gpu.submit(|encoder| {
                for (from, at, to, to_at, len) in copies {
                    encoder.copy_buffer_to_buffer(from, at, to, to_at, len);
                    executor.gpu.count(|counts| counts.copied += len);
                }
            });
        });
        self.lanes.extend(from.map(|from| (number, from)));
        made
    }

    /// Sees to it that a sequence has a lane to go on in.
    pub(super) fn claim(&mut self, cache: &mut Cache) {
        let Some(Piece { lane: old, from, .. }) = cache.claim() else { return };
        let Some(Piece { lane, .. }) = cache.pieces().last() else { return };
        let (Extent::Positions(capacity), Extent::Positions(room)) = (old.extent, lane.extent) else {
            return;
        };
        let len = cache.len() - from;
        self.fill_from(old.number, lane, |pool, from, to| {
            let layers = both(&pool.layers, &from[0], &to[0]);
            layers.flat_map(|(layer, from, to)| heads(layer, from, to, [capacity, room], len)).collect()
        });
    }

    /// Frees the memory of sequences that have ended, but for one that the next sequence takes.
    pub fn release(&mut self) {
        let pool = Rc::clone(&self.pool);
        self.retain(|lane| !pool.is_spare(lane));
    }

    fn retain(&mut self, keeps: impl Fn(usize) -> bool) {
        let Executor { lanes, pool, .. } = self;
        let kept = |number: &usize| keeps(*number) && pool.has(*number);
        let gone: Vec<usize> = lanes.keys().filter(|number| !kept(number)).copied().collect();
        for number in gone {
            lanes.remove(&number).iter().for_each(Bound::destroy);
            pool.forget(number);
        }
    }

    /// Has memory filled that a lane has, or that is made for it: whether that succeeds.
    pub(super) fn fill(&mut self, lane: &Lane, fill: impl FnOnce(&Self, &Bound)) -> Signal {
        let Lane { number, extent, .. } = *lane;
        let (pool, short) = (Rc::clone(&self.pool), std::mem::take(&mut self.short));
        self.retain(|lane| !short || !pool.is_free(lane));
        let known = self.lanes.remove(&number);
        let spare = match known {
            None => self.spare.iter().position(|(other, _)| *other == extent),
            Some(_) => None,
        };
        let spare = spare.map(|at| self.spare.swap_remove(at).1);
        let (bound, made) = self.gpu.attempt(|| {
            let make = || memory(&self.gpu, &pool.layers, &pool.states, extent);
            let bound = known.unwrap_or_else(|| self.bound(spare.unwrap_or_else(make), extent));
            fill(self, &bound);
            bound
        });
        self.lanes.insert(number, bound);
        let bytes = self.lanes.values().map(|lane| pool.bytes_in(lane.extent)).sum();
        self.most_bytes = self.most_bytes.max(bytes);
        self.pool.made.borrow_mut().insert(number, made.clone());
        made
    }

    /// Sees to the memory of a sequence: true if it is there, false as long as that is not known. Where it could not be
    /// had, that is an error once, and then tried again; but what was stored there is lost.
    pub(super) fn hold(&mut self, cache: &mut Cache) -> Result<bool> {
        let ready = self.ready(cache);
        if ready.is_err() {
            cache.disclaim();
        }
        ready
    }

    /// The same, with no second try.
    pub(super) fn ready(&mut self, cache: &Cache) -> Result<bool> {
        let mut known = true;
        for lane in cache.lanes() {
            let made = self.pool.made.borrow().get(&lane.number).cloned();
            match made.unwrap_or_else(|| self.fill(lane, |_, _| {})).outcome() {
                Some(true) => {}
                Some(false) => return Err(self.lacking()),
                None => known = false,
            }
        }
        Ok(known)
    }

    /// What could not be had is given back as far as it was there, and next time what nobody uses.
    pub(super) fn lacking(&mut self) -> Error {
        self.short = true;
        self.retain(|_| true);
        out_of_memory()
    }

    /// What has to be known of the memory of the last step's sequences.
    pub(super) fn making(&self) -> Option<Signal> {
        let made = self.pool.made.borrow();
        let sequences = self.step.iter().flat_map(|step| &step.sequences);
        let mut pending = sequences.flat_map(|Sequence { lanes: Lanes { latest, pieces }, .. }| {
            pieces.iter().map(|(number, _)| number).chain([latest]).filter_map(|number| made.get(number))
        });
        pending.find(|made| made.outcome().is_none()).cloned()
    }
}
