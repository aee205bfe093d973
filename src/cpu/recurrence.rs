//! What one thread does of a recurrence: some columns of all rows, sequence by sequence, from the state that the last
//! step has left.

use super::kernels::convolution;
use super::kernels::delta_rule::{self, Token};
use super::program::{At, Place};
use super::shared::View;
use super::walk::{Segment, Walk};
use crate::error::Result;
use crate::plan::{DeltaRule, SlotId, WeightId};
use std::ops::Range;

/// Columns of what a convolution of a sequence looks at: the rows that its state has, then those of the step.
struct Inputs<'a> {
    kept: Vec<&'a [f32]>,
    x: At,
    first: usize,
    columns: Range<usize>,
}

impl<'a> Inputs<'a> {
    fn row(&self, view: &View<'a>, row: usize) -> &'a [f32] {
        match row.checked_sub(self.kept.len()) {
            Some(row) => view.part(self.x, self.first + row, self.columns.clone()),
            None => self.kept[row],
        }
    }
}

impl<'a> Walk<'a> {
    /// Convolves columns of `x`. A state has a row of all columns for each tap but the last.
    pub(super) fn convolve(
        &mut self,
        state: usize,
        weight: WeightId,
        x: At,
        columns: Range<usize>,
    ) -> Result<()> {
        let width = self.view.width(x.slot);
        let taps = self.weights.vector(weight)?.chunks_exact(width);
        let taps: Vec<&[f32]> = taps.map(|tap| &tap[columns.clone()]).collect();
        for (index, Segment { rows, .. }) in self.segments.iter().enumerate() {
            let (mut kept, mut keeps) = (vec![], vec![]);
            for tap in 1..taps.len() {
                let part = (tap - 1) * width + columns.start..(tap - 1) * width + columns.end;
                // SAFETY: these columns of the state are this thread's alone: the program is checked.
                let [old, new] = unsafe { self.state(index, state, part) };
                kept.push(&*old);
                keeps.push(new);
            }
            let before = kept.len();
            let inputs = Inputs { kept, x, first: rows.start, columns: columns.clone() };
            for (row, new) in keeps.into_iter().enumerate() {
                new.copy_from_slice(inputs.row(&self.view, rows.len() + row));
            }
            for row in (0..rows.len()).rev() {
                let before: Vec<&[f32]> =
                    (row..row + before).map(|row| inputs.row(&self.view, row)).collect();
                let values = self.view.part_mut(x, rows.start + row, columns.clone());
                convolution::convolve(values, &before, &taps);
            }
        }
        Ok(())
    }

    /// The heads of `columns`, one after the other, so that a state stays in the cache while the rows pass.
    pub(super) fn delta_rule(&mut self, rule: &DeltaRule, from: Place, columns: Range<usize>) -> Result<()> {
        let &DeltaRule { state, dim, q, k, v, decay, rate, a, out } = rule;
        let a = self.weights.vector(a)?;
        let key_heads = self.view.width(q) / dim;
        for (index, Segment { rows, .. }) in self.segments.iter().enumerate() {
            let heads = columns.start / dim..columns.end / dim;
            for (head, a) in heads.clone().zip(&a[heads]) {
                let read = |slot: SlotId, row: usize, columns: Range<usize>| {
                    self.view.part(At { slot, place: from }, row, columns)
                };
                let key = head % key_heads * dim..(head % key_heads + 1) * dim;
                let own = head * dim..(head + 1) * dim;
                let token = |row: usize| Token {
                    q: read(q, row, key.clone()),
                    k: read(k, row, key.clone()),
                    v: read(v, row, own.clone()),
                    decay: delta_rule::decay(*a, read(decay, row, head..head + 1)[0]),
                    rate: delta_rule::rate(read(rate, row, head..head + 1)[0]),
                };
                let tokens: Vec<Token> = rows.clone().map(token).collect();
                // SAFETY: these heads' states are this thread's alone: the program is checked.
                let [old, new] = unsafe { self.state(index, state, own.start * dim..own.end * dim) };
                new.copy_from_slice(old);
                let outputs = &mut self.lane.buffer;
                outputs.resize(tokens.len() * dim, 0.0);
                delta_rule::run(new, dim, &tokens, outputs);
                let out = At { slot: out, place: Place::Shared };
                for (row, values) in rows.clone().zip(outputs.chunks_exact(dim)) {
                    self.view.part_mut(out, row, own.clone()).copy_from_slice(values);
                }
            }
        }
        Ok(())
    }

    /// A part of a sequence's state as the last step has left it, and where this step leaves its own.
    ///
    /// # Safety
    /// No other thread touches this part in this step.
    unsafe fn state(&self, segment: usize, state: usize, part: Range<usize>) -> [&'a mut [f32]; 2] {
        let cache = self.caches[segment];
        // SAFETY: the caller's promise.
        unsafe { cache.states[state].part(cache.turn, self.segments[segment].start == 0, part) }
    }
}
