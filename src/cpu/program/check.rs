//! Proof that threads do not get in each other's way: what [`Shared`](crate::cpu::shared) memory relies on.

use super::{Columns, Kept, Place, Program, Step};
use crate::error::{Error, Result};
use crate::plan::{DeltaRule, Op, Plan, SlotId};
use std::ops::Range;

/// What several threads can reach.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Memory {
    /// The shared rows of a slot.
    Slot(SlotId),
    Cache(usize, Kept),
    /// The state of an op, whose parts belong to its columns.
    State(usize),
}

/// What a thread does to it in a step.
#[derive(Debug, Clone)]
struct Access {
    memory: Memory,
    columns: Range<usize>,
    /// Only rows of its own tokens.
    own: bool,
    write: bool,
}

impl Program {
    /// Refuses a program in which, between two barriers, a thread may touch what another one writes.
    pub(super) fn check(&self, plan: &Plan, threads: usize) -> Result<()> {
        for phase in self.steps.split(|step| *step == Step::Barrier) {
            let of = |thread: usize| -> Result<Vec<Access>> {
                let mut accesses = Vec::new();
                for step in phase {
                    self.accesses(plan, step, thread, &mut accesses)?;
                }
                Ok(accesses)
            };
            let accesses = (0..threads).map(of).collect::<Result<Vec<_>>>()?;
            for (thread, one) in accesses.iter().enumerate() {
                for (a, b) in
                    accesses[thread + 1..].iter().flatten().flat_map(|b| one.iter().map(move |a| (a, b)))
                {
                    if a.conflicts(b) {
                        return Err(Error::internal(format!("threads race: {a:?} and {b:?}")));
                    }
                }
            }
        }
        Ok(())
    }

    fn accesses(&self, plan: &Plan, step: &Step, thread: usize, all: &mut Vec<Access>) -> Result<()> {
        let mut touch = |place: Place, slot: SlotId, columns: Columns, write: bool| -> Result<()> {
            let own = place == Place::Own;
            if own && self.result != Place::Own {
                return Err(Error::internal(format!("slot {} is used before it is written", slot.0)));
            }
            let columns = self.columns(columns, thread, plan.slot(slot));
            if place != Place::Lane {
                all.push(Access { memory: Memory::Slot(slot), columns, own, write });
            }
            Ok(())
        };
        match *step {
            Step::Barrier => {}
            Step::Quantize(x) => touch(x.place, x.slot, Columns::All, false)?,
            Step::Copy { slot, columns } => touch(Place::Shared, slot, columns, false)?,
            Step::Store { cache, what, x, columns } => {
                touch(x.place, x.slot, columns, false)?;
                let columns = self.columns(columns, thread, plan.slot(x.slot));
                let own = x.place == Place::Own;
                all.push(Access { memory: Memory::Cache(cache, what), columns, own, write: true });
            }
            Step::Op { op, x: place, out, columns } => match op {
                Op::Part { x, out: slot, .. } => {
                    touch(place, x, Columns::All, false)?;
                    touch(out, slot, columns, true)?;
                }
                Op::Convolve { state, x: slot, .. } => {
                    touch(out, slot, columns, true)?;
                    let columns = self.columns(columns, thread, plan.slot(slot));
                    all.push(Access { memory: Memory::State(state), columns, own: false, write: true });
                }
                Op::DeltaRule(DeltaRule { state, q, k, v, decay, rate, out: slot, .. }) => {
                    for read in [q, k, v, decay, rate] {
                        touch(place, read, Columns::All, false)?;
                    }
                    touch(out, slot, columns, true)?;
                    let columns = self.columns(columns, thread, plan.slot(slot));
                    all.push(Access { memory: Memory::State(state), columns, own: false, write: true });
                }
                Op::Embed { out: slot, .. }
                | Op::AddRow { x: slot, .. }
                | Op::Rotate { x: slot, .. }
                | Op::Scale { x: slot, .. }
                | Op::Activate { x: slot, .. } => touch(out, slot, columns, true)?,
                Op::Norm { x, out: slot, .. } => {
                    if x != slot {
                        touch(place, x, columns, false)?;
                    }
                    touch(out, slot, columns, true)?;
                }
                Op::MatMul { x, out: slot, .. } => {
                    touch(place, x, Columns::All, false)?;
                    touch(out, slot, columns, true)?;
                }
                Op::Attend { cache, q, out: slot, .. } => {
                    touch(place, q, Columns::All, false)?;
                    touch(out, slot, columns, true)?;
                    for what in [Kept::Keys, Kept::Values] {
                        let memory = Memory::Cache(cache, what);
                        all.push(Access { memory, columns: 0..usize::MAX, own: false, write: false });
                    }
                }
                Op::Gate { x: slot, y, .. } | Op::Add { x: slot, y } => {
                    touch(place, y, columns, false)?;
                    touch(out, slot, columns, true)?;
                }
                Op::Store { .. } => {
                    return Err(Error::internal("keys and values are stored by steps of their own"));
                }
            },
        }
        Ok(())
    }
}

impl Access {
    fn conflicts(&self, other: &Access) -> bool {
        let overlap = self.columns.start < other.columns.end && other.columns.start < self.columns.end;
        self.memory == other.memory && overlap && (self.write || other.write) && !(self.own && other.own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::program::{At, Split};
    use crate::plan::{Activation, Head};

    #[test]
    fn races_are_found() {
        let slots = vec![64; 2];
        let (x, y) = (SlotId(0), SlotId(1));
        let head = Head::Hidden { x };
        let (weights, ropes, caches, states, ops) = (vec![], vec![], vec![], vec![], vec![]);
        let plan = Plan { weights, slots, ropes, caches, states, ops, head, context_length: 1, causal: true };
        let activate = |columns| {
            let op = Op::Activate { f: Activation::Silu, x };
            Step::Op { op, x: Place::Shared, out: Place::Shared, columns }
        };
        let add = Step::Op {
            op: Op::Add { x: y, y: x },
            x: Place::Shared,
            out: Place::Lane,
            columns: Columns::All,
        };
        let quantize = Step::Quantize(At { slot: x, place: Place::Shared });
        let halves = Columns::Split(0);
        let races = |steps: &[Step]| {
            let program =
                Program { steps: steps.to_vec(), splits: vec![Split::even(64, 8, 2)], result: Place::Lane };
            program.check(&plan, 2).is_err()
        };
        assert!(!races(&[activate(halves), Step::Barrier, add, quantize]));
        assert!(races(&[activate(Columns::All)]), "two write the same");
        assert!(races(&[activate(halves), add]), "one reads what another is writing");
        assert!(races(&[quantize, activate(halves)]), "one writes what another is reading");
        assert!(races(&[Step::Op {
            op: Op::Add { x, y },
            x: Place::Own,
            out: Place::Lane,
            columns: halves
        }]));
    }
}
