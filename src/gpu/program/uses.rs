//! Which slots ops read and write, to know what a fusion may leave out.

use crate::plan::{DeltaRule, Op, Plan, SlotId};

/// The slots that an op reads.
fn reads(op: &Op) -> Vec<SlotId> {
    match *op {
        Op::Embed { .. } => vec![],
        Op::AddRow { x, .. } | Op::Rotate { x, .. } | Op::Activate { x, .. } => vec![x],
        Op::Scale { x, .. } | Op::Part { x, .. } | Op::Convolve { x, .. } => vec![x],
        Op::Norm { x, .. } | Op::MatMul { x, .. } => vec![x],
        Op::Store { k, v, .. } => vec![k, v],
        Op::Attend { q, .. } => vec![q],
        Op::Gate { x, y, .. } | Op::Add { x, y } => vec![x, y],
        Op::DeltaRule(DeltaRule { q, k, v, decay, rate, .. }) => vec![q, k, v, decay, rate],
    }
}

/// The slot that an op writes.
fn writes(op: &Op) -> Option<SlotId> {
    match *op {
        Op::Embed { out, .. } | Op::Norm { out, .. } | Op::MatMul { out, .. } | Op::Attend { out, .. } => {
            Some(out)
        }
        Op::Part { out, .. } | Op::DeltaRule(DeltaRule { out, .. }) => Some(out),
        Op::AddRow { x, .. } | Op::Rotate { x, .. } | Op::Activate { x, .. } => Some(x),
        Op::Gate { x, .. } | Op::Add { x, .. } | Op::Scale { x, .. } | Op::Convolve { x, .. } => Some(x),
        Op::Store { .. } => None,
    }
}

/// Whether nobody reads what is in `slot` from op `at` on.
pub fn is_dead(plan: &Plan, slot: SlotId, at: usize) -> bool {
    for op in &plan.ops[at..] {
        if reads(op).contains(&slot) {
            return false;
        }
        if writes(op) == Some(slot) {
            return true;
        }
    }
    plan.head.slot() != slot
}
