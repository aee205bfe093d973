//! Steps for many tokens: each thread takes its own through all ops.

use super::{Columns, Kept, Place, Program, Split, Step, is_quantized, recurrence, runs, written};
use crate::cpu::program::At;
use crate::cpu::weights::Weights;
use crate::error::Result;
use crate::plan::{Op, Plan};

/// Weights of products between two barriers, about: where threads can be told to pause. 128 tokens take 20 ms
/// for so many on one core.
const PAUSE_WEIGHTS: usize = 8 << 20;

/// The steps for `threads` threads that split a step by its rows.
pub fn by_rows(plan: &Plan, weights: &Weights, threads: usize) -> Result<Program> {
    let mut steps = Vec::with_capacity(plan.ops.len() * 2);
    let mut splits = Vec::new();
    let runs = runs(plan);
    let mut quantized = None;
    let mut since_barrier = 0;
    for (index, op) in plan.ops.iter().enumerate() {
        if let Some(run) = runs.iter().find(|run| run.start == index) {
            let products: usize = plan.ops[run.clone()].iter().map(|op| product_weights(plan, op)).sum();
            if since_barrier + products > PAUSE_WEIGHTS && since_barrier > 0 {
                steps.push(Step::Barrier);
                since_barrier = 0;
            }
            since_barrier += products;
        }
        if let Op::MatMul { weight, x, .. } = *op
            && is_quantized(weights, weight)?
            && quantized != Some(x)
        {
            steps.push(Step::Quantize(At { slot: x, place: Place::Own }));
            quantized = Some(x);
        }
        if let Op::Store { cache, k, v } = *op {
            for (what, slot) in [(Kept::Keys, k), (Kept::Values, v)] {
                let x = At { slot, place: Place::Own };
                steps.push(Step::Store { cache, what, x, columns: Columns::All });
            }
            // Tokens see those that came before them, whoever's they are.
            steps.push(Step::Barrier);
            since_barrier = 0;
        } else if let Some((slot, unit)) = recurrence(op) {
            // All rows are there before it, and changed after it.
            let (place, columns) = (Place::Shared, Columns::Split(splits.len()));
            splits.push(Split::even(plan.slot(slot), unit, threads));
            steps.extend([Step::Barrier, Step::Op { op: *op, x: place, out: place, columns }, Step::Barrier]);
            since_barrier = 0;
        } else {
            steps.push(Step::Op { op: *op, x: Place::Own, out: Place::Own, columns: Columns::All });
        }
        if written(op).is_some_and(|slot| quantized == Some(slot)) {
            quantized = None;
        }
    }
    let program = Program { steps, splits, result: Place::Own };
    program.check(plan, threads)?;
    Ok(program)
}

fn product_weights(plan: &Plan, op: &Op) -> usize {
    match op {
        Op::MatMul { weight, .. } => plan.weight(*weight).rows * plan.weight(*weight).cols,
        _ => 0,
    }
}
