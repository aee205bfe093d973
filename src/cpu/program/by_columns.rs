//! Steps for few tokens: products split by panels, attention by heads, the rest done by every thread in its lane.
//!
//! A decoder layer meets five times: after query, key and value; after attention; after its output; after the two
//! products of the gate; after the last. Keys are normalized, rotated and stored by the thread that computed them,
//! queries by the thread that attends with them.

use super::split::{Product, deal};
use super::{At, Columns, Kept, Place, Program, Split, Step, is_quantized, recurrence, runs};
use crate::cpu::weights::Weights;
use crate::error::{Error, Result};
use crate::plan::{DeltaRule, Op, Plan, SlotId};

/// The steps for `threads` threads that split a step by its columns.
pub fn by_columns(plan: &Plan, weights: &Weights, threads: usize) -> Result<Program> {
    let mut compiler = Compiler {
        plan,
        threads,
        steps: Vec::with_capacity(plan.ops.len() * 2),
        splits: Vec::new(),
        slots: vec![State::default(); plan.slots.len()],
        stored: vec![false; plan.caches.len()],
        quantized: None,
    };
    let dealt = deal_products(plan, threads);
    for (op, split) in plan.ops.iter().zip(dealt) {
        match (*op, split) {
            (Op::MatMul { weight, x, .. }, Some(split)) => {
                compiler.product(*op, x, is_quantized(weights, weight)?, split);
            }
            (op, _) => compiler.op(op)?,
        }
    }
    let result = compiler.whole(plan.head.slot());
    let program = Program { steps: compiler.steps, splits: compiler.splits, result };
    program.check(plan, threads)?;
    Ok(program)
}

/// For each op that is a product, how its outputs are dealt.
fn deal_products(plan: &Plan, threads: usize) -> Vec<Option<Split>> {
    let head = |slot: SlotId| {
        plan.ops.iter().find_map(|op| match *op {
            Op::Store { cache, k, v } if k == slot || v == slot => Some(plan.caches[cache].dim),
            _ => None,
        })
    };
    let mut dealt = vec![None; plan.ops.len()];
    for run in runs(plan) {
        let products: Vec<Product> = plan.ops[run.clone()]
            .iter()
            .filter_map(|op| match *op {
                Op::MatMul { out, .. } => Some(Product { outputs: plan.slot(out), head: head(out) }),
                _ => None,
            })
            .collect();
        for (index, split) in run.zip(deal(&products, threads)) {
            dealt[index] = Some(split);
        }
    }
    dealt
}

/// What is known of a slot at this point of the program.
#[derive(Clone, Default)]
struct State {
    place: Place,
    /// Its shared rows were written since the last barrier, by these parts.
    parts: Option<usize>,
    /// Its shared rows were read since the last barrier.
    read: bool,
    /// Ops on each head of it by itself, which wait for a barrier: whoever uses a head then does them.
    waiting: Vec<Op>,
}

struct Compiler<'a> {
    plan: &'a Plan,
    threads: usize,
    steps: Vec<Step>,
    splits: Vec<Split>,
    slots: Vec<State>,
    /// Caches written since the last barrier.
    stored: Vec<bool>,
    /// The slot whose codes every thread has.
    quantized: Option<SlotId>,
}

impl Compiler<'_> {
    fn barrier(&mut self) {
        self.steps.push(Step::Barrier);
        self.stored.fill(false);
        for slot in &mut self.slots {
            (slot.parts, slot.read) = (None, false);
        }
    }

    fn split(&mut self, split: Split) -> usize {
        self.splits.push(split);
        self.splits.len() - 1
    }

    fn emit(&mut self, op: Op, x: Place, out: Place, columns: Columns) {
        self.steps.push(Step::Op { op, x, out, columns });
    }

    /// Makes sure that all columns of a slot may be read, and says where.
    fn whole(&mut self, slot: SlotId) -> Place {
        if self.slots[slot.0].parts.is_some() {
            self.barrier();
        }
        let waiting = std::mem::take(&mut self.slots[slot.0].waiting);
        if !waiting.is_empty() {
            self.copy_to_lane(slot, Columns::All);
            for op in waiting {
                self.emit(op, Place::Lane, Place::Lane, Columns::All);
            }
        }
        let state = &mut self.slots[slot.0];
        state.read |= state.place == Place::Shared;
        state.place
    }

    /// Makes sure that every thread has all columns of a slot in its lane.
    fn own(&mut self, slot: SlotId) {
        if self.whole(slot) == Place::Shared {
            self.copy_to_lane(slot, Columns::All);
        }
        self.forget(slot);
    }

    fn copy_to_lane(&mut self, slot: SlotId, columns: Columns) {
        self.steps.push(Step::Copy { slot, columns });
        let state = &mut self.slots[slot.0];
        (state.place, state.read) = (Place::Lane, true);
    }

    /// A slot is about to change: its codes are out of date.
    fn forget(&mut self, slot: SlotId) {
        if self.quantized == Some(slot) {
            self.quantized = None;
        }
    }

    /// A slot's shared rows are about to be written, by parts.
    fn share(&mut self, slot: SlotId, split: usize) {
        if self.slots[slot.0].read || self.slots[slot.0].parts.is_some() {
            self.barrier();
        }
        self.slots[slot.0] = State { place: Place::Shared, parts: Some(split), read: false, waiting: vec![] };
        self.forget(slot);
    }

    fn product(&mut self, op: Op, x: SlotId, quantized: bool, split: Split) {
        let Op::MatMul { out, .. } = op else { return };
        let place = self.whole(x);
        if quantized && self.quantized != Some(x) {
            self.steps.push(Step::Quantize(At { slot: x, place }));
            self.quantized = Some(x);
        }
        let split = self.split(split);
        self.share(out, split);
        // Again: there may have been a barrier.
        let place = self.whole(x);
        self.emit(op, place, Place::Shared, Columns::Split(split));
    }

    /// An op that changes each run of `width` columns of `x` by itself.
    fn each(&mut self, op: Op, x: SlotId, width: usize) {
        match self.slots[x.0].parts {
            Some(split) if self.slots[x.0].waiting.is_empty() && self.splits[split].respects(width) => {
                self.emit(op, Place::Shared, Place::Shared, Columns::Split(split));
            }
            Some(_) if width < self.plan.slot(x) => self.slots[x.0].waiting.push(op),
            _ => {
                self.own(x);
                self.emit(op, Place::Lane, Place::Lane, Columns::All);
            }
        }
    }

    fn op(&mut self, op: Op) -> Result<()> {
        match op {
            Op::Embed { out, .. } => {
                self.slots[out.0] = State { place: Place::Lane, ..State::default() };
                self.forget(out);
                self.emit(op, Place::Lane, Place::Lane, Columns::All);
            }
            Op::AddRow { x, .. } => {
                self.own(x);
                self.emit(op, Place::Lane, Place::Lane, Columns::All);
            }
            Op::Norm { width, x, out, .. } if x == out => self.each(op, x, width),
            Op::Norm { x, out, .. } | Op::Part { x, out, .. } => {
                let place = self.whole(x);
                self.slots[out.0] = State { place: Place::Lane, ..State::default() };
                self.forget(out);
                self.emit(op, place, Place::Lane, Columns::All);
            }
            // Dealt with its run.
            Op::MatMul { .. } => {}
            Op::Rotate { dim, x, .. } => self.each(op, x, dim),
            Op::Activate { x, .. } | Op::Scale { x, .. } => self.each(op, x, 1),
            Op::Store { cache, k, v } => {
                for (what, slot) in [(Kept::Keys, k), (Kept::Values, v)] {
                    self.store(cache, what, slot);
                }
                self.stored[cache] = true;
            }
            Op::Attend { cache, heads, q, out, .. } => self.attend(op, cache, heads, q, out),
            Op::Gate { x, y, .. } => {
                let parts = |slot: SlotId| {
                    let state = &self.slots[slot.0];
                    state.parts.filter(|_| state.waiting.is_empty())
                };
                match (parts(x), parts(y)) {
                    (Some(split), Some(other)) if self.splits[split] == self.splits[other] => {
                        self.emit(op, Place::Shared, Place::Shared, Columns::Split(split));
                    }
                    _ => self.replicate(op, x, y),
                }
            }
            Op::Add { x, y } => self.replicate(op, x, y),
            Op::Convolve { x, .. } => {
                let split = self.parts_of(&op, x)?;
                self.emit(op, Place::Shared, Place::Shared, Columns::Split(split));
            }
            Op::DeltaRule(DeltaRule { q, k, v, decay, rate, out, .. }) => {
                [q, k, v, decay, rate].into_iter().for_each(|slot| self.own(slot));
                let split = self.split_of(&op)?;
                self.share(out, split);
                self.emit(op, Place::Lane, Place::Shared, Columns::Split(split));
            }
        }
        Ok(())
    }

    /// An even split of a recurrence.
    fn split_of(&mut self, op: &Op) -> Result<usize> {
        let (slot, unit) = recurrence(op).ok_or_else(|| Error::internal("an op without a recurrence"))?;
        Ok(self.split(Split::even(self.plan.slot(slot), unit, self.threads)))
    }

    /// The parts of the shared rows of `x` that each thread may change in a recurrence: those that it has written.
    fn parts_of(&mut self, op: &Op, x: SlotId) -> Result<usize> {
        let State { place, waiting, .. } = &self.slots[x.0];
        if *place != Place::Shared || !waiting.is_empty() {
            return Err(Error::internal("a convolution of something else than a product"));
        }
        self.forget(x);
        if let Some(split) = self.slots[x.0].parts {
            return Ok(split);
        }
        let split = self.split_of(op)?;
        self.share(x, split);
        Ok(split)
    }

    /// An op that changes `x` by `y`, done by every thread.
    fn replicate(&mut self, op: Op, x: SlotId, y: SlotId) {
        self.whole(y);
        self.own(x);
        let place = self.whole(y);
        self.emit(op, place, Place::Lane, Columns::All);
    }

    fn store(&mut self, cache: usize, what: Kept, slot: SlotId) {
        let dim = self.plan.caches[cache].dim;
        let state = &self.slots[slot.0];
        let columns = match state.parts.filter(|_| state.waiting.is_empty()) {
            Some(split) if self.splits[split].respects(dim) => split,
            _ => {
                self.whole(slot);
                self.split(Split::even(self.plan.slot(slot), dim, self.threads))
            }
        };
        let x = At { slot, place: self.slots[slot.0].place };
        self.steps.push(Step::Store { cache, what, x, columns: Columns::Split(columns) });
    }

    fn attend(&mut self, op: Op, cache: usize, heads: usize, q: SlotId, out: SlotId) {
        let (waiting, parts) = (std::mem::take(&mut self.slots[q.0].waiting), self.slots[q.0].parts);
        if self.stored[cache] || parts.is_some() {
            self.barrier();
        }
        let split = self.split(Split::even(self.plan.slot(out), self.plan.slot(out) / heads, self.threads));
        if !waiting.is_empty() {
            self.copy_to_lane(q, Columns::Split(split));
            for op in waiting {
                self.emit(op, Place::Lane, Place::Lane, Columns::Split(split));
            }
        }
        self.share(out, split);
        let place = self.whole(q);
        self.emit(op, place, Place::Shared, Columns::Split(split));
        // A thread's lane has only the heads that it attends with.
        if place == Place::Lane {
            self.slots[q.0] = State::default();
        }
    }
}
