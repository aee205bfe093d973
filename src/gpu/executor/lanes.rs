//! Memory of sequences, bound to the dispatches that use it. Where there is none left, that is the fault of the request
//! that asks for it, and it may ask again.

use super::{Dispatch, Executor, Program};
use crate::error::{Error, Result};
use crate::gpu::fault::out_of_memory;
use crate::gpu::readback::Signal;
use crate::gpu::room::{Memory, memory};
use crate::gpu::sequence::{Cache, half_bytes};
use std::rc::Rc;

/// The memory of a sequence.
pub(super) struct Lane {
    pub memory: Memory,
    pub one: Vec<Option<wgpu::BindGroup>>,
    pub many: Vec<Option<wgpu::BindGroup>>,
}

impl Lane {
    /// Gives its memory back now, and not when JavaScript's garbage is collected.
    fn destroy(&self) {
        self.memory.iter().flatten().for_each(wgpu::Buffer::destroy);
    }
}

impl Executor {
    /// The same memory, bound to the programs.
    pub(super) fn bound(&self, memory: Memory) -> Lane {
        let [layers, states] = &memory;
        let bind = |program: &Program| {
            let bind = |dispatch: &Dispatch| {
                dispatch.of_sequence().then(|| dispatch.bind(&self.gpu, [layers, states]))
            };
            program.layers.iter().map(bind).collect()
        };
        let (one, many) = (bind(&self.one), bind(&self.many));
        Lane { memory, one, many }
    }

    /// An empty sequence of this model. Its memory is that of one that has ended, if there is one.
    pub fn new_cache(&self) -> Cache {
        Cache::new(&self.pool)
    }

    /// A new sequence that holds the same tokens: the positions stored are copied, on the GPU. Where there is no room for
    /// it that is an `out-of-memory` error, now or of the first step with it.
    pub fn fork(&mut self, cache: &Cache) -> Result<Cache> {
        // What is stored by a step that waits is to be there.
        self.send();
        let fork = cache.fork();
        if cache.is_lost() {
            return Err(out_of_memory());
        }
        let from = self.lanes.remove(&cache.lane);
        let made = self.fill(fork.lane, |executor, to| {
            let Some(from) = &from else { return };
            executor.gpu.submit(|encoder| {
                let Executor { pool, .. } = executor;
                let ([from, states], [to, new_states]) = (&from.memory, &to.memory);
                for (layer, (from, to)) in pool.layers.iter().zip(from.iter().zip(to)) {
                    for (at, len) in layer.places(cache.stored(layer)) {
                        encoder.copy_buffer_to_buffer(from, at, to, at, len);
                    }
                }
                for (len, (from, to)) in pool.states.iter().zip(states.iter().zip(new_states)) {
                    let (at, len) = (cache.turn as u64 * half_bytes(*len), half_bytes(*len));
                    encoder.copy_buffer_to_buffer(from, at, to, at, len);
                }
            });
        });
        self.lanes.extend(from.map(|from| (cache.lane, from)));
        match made.outcome() {
            Some(false) => Err(self.lacking()),
            _ => self.gpu.check().map(|()| fork),
        }
    }

    /// Frees the memory of sequences that have ended, but for one that the next sequence takes.
    pub fn release(&mut self) {
        let pool = Rc::clone(&self.pool);
        self.retain(|lane| !pool.is_spare(lane));
    }

    fn retain(&mut self, keeps: impl Fn(usize) -> bool) {
        let Executor { lanes, pool, .. } = self;
        lanes.retain(|number, lane| {
            let kept = keeps(*number) && pool.has(*number);
            if !kept {
                lane.destroy();
                pool.made.borrow_mut().retain(|other, made| other != number || made.outcome() == Some(false));
            }
            kept
        });
    }

    /// Has memory filled that the sequence of this number has, or that is made for it: whether that succeeds.
    pub(super) fn fill(&mut self, number: usize, fill: impl FnOnce(&Self, &Lane)) -> Signal {
        let (pool, short) = (Rc::clone(&self.pool), std::mem::take(&mut self.short));
        self.retain(|lane| !short || !pool.is_free(lane));
        let known = self.lanes.remove(&number);
        let spare = if known.is_none() { self.spare.take() } else { None };
        let (lane, made) = self.gpu.attempt(|| {
            let make = || memory(&self.gpu, &pool.layers, &pool.states);
            let lane = known.unwrap_or_else(|| self.bound(spare.unwrap_or_else(make)));
            fill(self, &lane);
            lane
        });
        self.lanes.insert(number, lane);
        self.most_lanes = self.most_lanes.max(self.lanes.len());
        self.pool.made.borrow_mut().insert(number, made.clone());
        made
    }

    /// Sees to the memory of a sequence: true if it is there, false as long as that is not known. Where it could not be
    /// had, that is an error once, and then tried again; but what was stored there is lost.
    pub(super) fn hold(&mut self, cache: &Cache) -> Result<bool> {
        let known = self.pool.made.borrow().get(&cache.lane).cloned();
        let outcome = known.unwrap_or_else(|| self.fill(cache.lane, |_, _| {})).outcome();
        if outcome == Some(false) {
            if cache.is_empty() {
                self.pool.made.borrow_mut().remove(&cache.lane);
            }
            return Err(self.lacking());
        }
        Ok(outcome == Some(true))
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
        let mut pending =
            self.step.iter().flat_map(|step| &step.sequences).filter_map(|sequence| made.get(&sequence.lane));
        pending.find(|made| made.outcome().is_none()).cloned()
    }
}
