//! What layers keep of a sequence beside keys and values: a fixed number of f32 values, which every step replaces.
//!
//! Keys and values that a dropped step has stored lie beyond the cache's length and are written over. A state has no
//! length, so there are two of it: a step reads what the last one left, writes the other, and only its end
//! ([`Turn::next`]) makes that the one to read. Before the first token a state is zeros, whatever lies there. A fork
//! shares the half that is read; one that is shared is not written, but another taken in its place.

use super::shared::{Parts, Shared};
use crate::error::{Error, Result};
use std::ops::Range;
use std::sync::Arc;

/// The state of one op. Memory is taken when the first step begins.
#[derive(Default)]
pub struct State {
    len: usize,
    halves: [Arc<Shared<f32>>; 2],
}

/// Which half the last step has left.
#[derive(Debug, Clone, Copy, Default)]
pub struct Turn(bool);

impl Turn {
    pub fn next(&mut self) {
        self.0 = !self.0;
    }

    /// The half that a step reads.
    fn read(self) -> usize {
        usize::from(self.0)
    }
}

impl State {
    pub fn new(len: usize) -> Self {
        State { len, ..State::default() }
    }

    /// Another sequence's, which the last step has left as it has this one.
    pub fn fork(&self, turn: Turn) -> Self {
        let mut fork = State::new(self.len);
        fork.halves[turn.read()] = Arc::clone(&self.halves[turn.read()]);
        fork
    }

    /// What the last step has left.
    pub fn last(&self, turn: Turn) -> &[f32] {
        let half = &self.halves[turn.read()];
        // SAFETY: states are written by steps, and none is on.
        unsafe { half.parts().read(0..half.len()) }
    }

    /// Where to put what a step has left elsewhere.
    pub fn restore(&mut self, turn: Turn) -> Result<&mut [f32]> {
        self.reserve(turn, true)?;
        let half = Arc::get_mut(&mut self.halves[turn.read()]);
        half.map(Shared::values_mut).ok_or_else(|| Error::internal("a state that is restored is shared"))
    }

    /// Has memory for what the next step writes: its half, and both if the sequence `begins`.
    pub fn reserve(&mut self, turn: Turn, begins: bool) -> Result<()> {
        for (index, half) in self.halves.iter_mut().enumerate() {
            if index == turn.read() && !begins {
                continue;
            }
            if Arc::get_mut(half).is_none() {
                *half = Arc::default();
            }
            let own = Arc::get_mut(half);
            if !own.is_some_and(|half| half.len() == self.len || half.resize(self.len, 0.0)) {
                return Err(Error::out_of_memory(
                    "the state of a sequence does not fit into memory: choose a smaller model",
                ));
            }
        }
        Ok(())
    }

    /// Bytes that it occupies: of what it shares with others, its part.
    pub fn bytes(&self) -> usize {
        let part = |half: &Arc<Shared<f32>>| half.len() * size_of::<f32>() / Arc::strong_count(half);
        self.halves.iter().map(part).sum()
    }

    /// Bytes that a state of `len` values will occupy.
    pub fn bytes_of(len: usize) -> u64 {
        2 * len as u64 * size_of::<f32>() as u64
    }

    /// What the last step left of some values, zeros if the sequence `begins`, and where this step leaves its own.
    ///
    /// # Safety
    /// No other thread touches these values in this step.
    #[allow(clippy::mut_from_ref)]
    pub unsafe fn part(&self, turn: Turn, begins: bool, range: Range<usize>) -> [&mut [f32]; 2] {
        let [old, new]: [Parts<f32>; 2] =
            [turn.read(), 1 - turn.read()].map(|half| self.halves[half].parts());
        // SAFETY: the caller's promise.
        let [old, new] = unsafe { [old.write(range.clone()), new.write(range)] };
        if begins {
            old.fill(0.0);
        }
        [old, new]
    }
}
