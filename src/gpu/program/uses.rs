//! Which slots ops read and write, to know what a fusion may leave out.

use crate::plan::{Head, Op, Plan, SlotId};

/// The slots that an op reads.
fn reads(op: &Op) -> [Option<SlotId>; 2] {
    match *op {
        Op::Embed { .. } => [None, None],
        Op::AddRow { x, .. } | Op::Rotate { x, .. } | Op::Activate { x, .. } => [Some(x), None],
        Op::Norm { x, .. } | Op::MatMul { x, .. } => [Some(x), None],
        Op::Store { k, v, .. } => [Some(k), Some(v)],
        Op::Attend { q, .. } => [Some(q), None],
        Op::Gate { x, y, .. } | Op::Add { x, y } => [Some(x), Some(y)],
    }
}

/// The slot that an op writes.
fn writes(op: &Op) -> Option<SlotId> {
    match *op {
        Op::Embed { out, .. } | Op::Norm { out, .. } | Op::MatMul { out, .. } | Op::Attend { out, .. } => {
            Some(out)
        }
        Op::AddRow { x, .. } | Op::Rotate { x, .. } | Op::Activate { x, .. } => Some(x),
        Op::Gate { x, .. } | Op::Add { x, .. } => Some(x),
        Op::Store { .. } => None,
    }
}

/// Whether nobody reads what is in `slot` from op `at` on.
pub fn is_dead(plan: &Plan, slot: SlotId, at: usize) -> bool {
    for op in &plan.ops[at..] {
        if reads(op).contains(&Some(slot)) {
            return false;
        }
        if writes(op) == Some(slot) {
            return true;
        }
    }
    let (Head::Logits { x, .. } | Head::Hidden { x }) = plan.head;
    x != slot
}
