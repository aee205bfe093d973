//! A plan compiled for the CPU: its ops, with what they share made explicit.

use crate::cpu::weights::Weights;
use crate::error::Result;
use crate::plan::{Op, Plan, SlotId};

/// One step of the program.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Step {
    /// Quantizes a slot for the products that follow: once, however many read it.
    Quantize(SlotId),
    Op(Op),
}

/// Puts a quantization before the first product that reads a slot after it was written.
pub fn compile(plan: &Plan, weights: &Weights) -> Result<Vec<Step>> {
    let mut steps = Vec::with_capacity(plan.ops.len() * 2);
    let mut quantized = None;
    for op in &plan.ops {
        if let Op::MatMul { weight, x, .. } = *op
            && is_quantized(weights, weight)?
            && quantized != Some(x)
        {
            steps.push(Step::Quantize(x));
            quantized = Some(x);
        }
        steps.push(Step::Op(*op));
        if written(op).is_some_and(|slot| quantized == Some(slot)) {
            quantized = None;
        }
    }
    Ok(steps)
}

/// Whether a matrix is multiplied with int8 activations.
pub fn is_quantized(weights: &Weights, weight: crate::plan::WeightId) -> Result<bool> {
    Ok(weights.matrix(weight)?.packing().scale_bytes > 0)
}

/// The slot that an op changes.
fn written(op: &Op) -> Option<SlotId> {
    match *op {
        Op::Embed { out, .. } | Op::Norm { out, .. } | Op::MatMul { out, .. } | Op::Attend { out, .. } => {
            Some(out)
        }
        Op::AddRow { x, .. }
        | Op::Rotate { x, .. }
        | Op::Activate { x, .. }
        | Op::Gate { x, .. }
        | Op::Add { x, .. } => Some(x),
        Op::Store { .. } => None,
    }
}
