//! A plan compiled for the CPU and a number of threads: its ops, with what they share made explicit.
//!
//! All threads walk the same steps. There are two ways to share the work. **By rows** ([`by_rows`]): each thread
//! takes its own tokens through all ops; it meets the others only where a token looks at keys and values that
//! another thread has stored, and before and after a recurrence, which takes all tokens in order and is split by
//! columns. **By columns** ([`by_columns`]), for a step of few tokens: products are split by
//! panels and attention by heads, and what is cheap (norms, quantization, residuals) every thread does for
//! itself, in its own lane, since that takes less time than to meet.
//!
//! Nothing here changes what is computed, so the bits are the same for any number of threads.

mod by_columns;
mod by_rows;
mod check;
mod split;

pub use by_columns::by_columns;
pub use by_rows::by_rows;
pub use split::Split;

use super::weights::Weights;
use crate::error::Result;
use crate::plan::{DeltaRule, Op, Plan, SlotId, WeightId};
use crate::quant::PANEL;
use std::ops::Range;

/// Steps for all threads.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Program {
    pub steps: Vec<Step>,
    /// The splits that steps name.
    pub splits: Vec<Split>,
    /// Where the slot that the head reads is at the end.
    pub result: Place,
}

/// One step of a program.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Step {
    /// Nobody goes on before all are here.
    Barrier,
    /// Quantizes the rows of a slot for the products that follow: once, however many read it.
    Quantize(At),
    /// Copies columns from the shared rows into the lane.
    Copy { slot: SlotId, columns: Columns },
    /// Stores keys or values of a layer. Columns are whole heads.
    Store { cache: usize, what: Kept, x: At, columns: Columns },
    /// An op of the plan other than `Store`. `x` is where the slot lies that it only reads, `out` where the one is
    /// that it writes; `columns` those of `out`.
    Op { op: Op, x: Place, out: Place, columns: Columns },
}

/// What a cache keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    Keys,
    Values,
}

/// A slot, and which of its rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct At {
    pub slot: SlotId,
    pub place: Place,
}

/// Which rows of a slot a thread works on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Place {
    /// Those of its own tokens.
    #[default]
    Own,
    /// All tokens', which all threads see.
    Shared,
    /// All tokens', in memory of its own.
    Lane,
}

/// Which columns of a row a thread writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Columns {
    All,
    /// Those that a split gives it: an index into [`Program::splits`].
    Split(usize),
}

impl Step {
    /// Whether it is most of a step's work.
    pub fn takes_time(&self) -> bool {
        matches!(self, Step::Op { op: Op::MatMul { .. } | Op::Attend { .. } | Op::DeltaRule(_), .. })
    }
}

impl Program {
    /// The columns that are a thread's.
    pub fn columns(&self, columns: Columns, thread: usize, width: usize) -> Range<usize> {
        match columns {
            Columns::All => 0..width,
            Columns::Split(split) => self.splits[split].range(thread),
        }
    }

    /// Barriers on the way, not counting the end.
    pub fn barriers(&self) -> usize {
        self.steps.iter().filter(|step| **step == Step::Barrier).count()
    }
}

/// Whether a matrix is multiplied with int8 activations.
fn is_quantized(weights: &Weights, weight: WeightId) -> Result<bool> {
    Ok(weights.matrix(weight)?.packing().scale_bytes > 0)
}

/// The slot that an op changes.
fn written(op: &Op) -> Option<SlotId> {
    match *op {
        Op::Embed { out, .. }
        | Op::Norm { out, .. }
        | Op::MatMul { out, .. }
        | Op::Attend { out, .. }
        | Op::Part { out, .. }
        | Op::DeltaRule(DeltaRule { out, .. }) => Some(out),
        Op::AddRow { x, .. }
        | Op::Rotate { x, .. }
        | Op::Activate { x, .. }
        | Op::Gate { x, .. }
        | Op::Add { x, .. }
        | Op::Scale { x, .. }
        | Op::Convolve { x, .. } => Some(x),
        Op::Store { .. } => None,
    }
}

/// How the columns of a recurrence may be split: each needs all rows of its own, in order.
fn recurrence(op: &Op) -> Option<(SlotId, usize)> {
    match *op {
        Op::Convolve { x, .. } => Some((x, PANEL)),
        Op::DeltaRule(DeltaRule { dim, out, .. }) => Some((out, dim)),
        _ => None,
    }
}

/// The products that follow each other over the same slot, by the index of the first: they need no barrier between.
fn runs(plan: &Plan) -> Vec<Range<usize>> {
    let input = |op: &Op| match op {
        Op::MatMul { x, .. } => Some(*x),
        _ => None,
    };
    let mut runs = Vec::new();
    let mut first = 0;
    while first < plan.ops.len() {
        let x = input(&plan.ops[first]);
        let len = plan.ops[first..].iter().take_while(|op| x.is_some() && input(op) == x).count();
        if len > 0 {
            runs.push(first..first + len);
        }
        first += len.max(1);
    }
    runs
}
