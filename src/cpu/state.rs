//! What layers keep of a sequence beside keys and values: a fixed number of f32 values, which every step replaces.
//!
//! Keys and values that a dropped step has stored lie beyond the cache's length and are written over. A state has no
//! length, so there are two of it: a step reads what the last one left, writes the other, and only its end
//! ([`Turn::next`]) makes that the one to read. Before the first token a state is zeros, whatever lies there.

use super::shared::{Parts, Shared};
use crate::error::{Error, Result};
use std::ops::Range;

/// The state of one op. Memory is taken when the first step begins.
#[derive(Default)]
pub struct State {
    len: usize,
    halves: [Shared<f32>; 2],
}

/// Which half the last step has left.
#[derive(Debug, Clone, Copy, Default)]
pub struct Turn(bool);

impl Turn {
    pub fn next(&mut self) {
        self.0 = !self.0;
    }
}

impl State {
    pub fn new(len: usize) -> Self {
        State { len, ..State::default() }
    }

    pub fn reserve(&mut self) -> Result<()> {
        if self.halves.iter_mut().all(|half| half.len() == self.len || half.resize(self.len, 0.0)) {
            return Ok(());
        }
        Err(Error::out_of_memory("the state of a sequence does not fit into memory: choose a smaller model"))
    }

    /// Bytes that it occupies.
    pub fn bytes(&self) -> usize {
        self.halves.iter().map(|half| half.len() * size_of::<f32>()).sum()
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
        let [first, second] = &self.halves;
        let [old, new]: [Parts<f32>; 2] =
            if turn.0 { [second.parts(), first.parts()] } else { [first.parts(), second.parts()] };
        // SAFETY: the caller's promise.
        let [old, new] = unsafe { [old.write(range.clone()), new.write(range)] };
        if begins {
            old.fill(0.0);
        }
        [old, new]
    }
}
