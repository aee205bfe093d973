//! The CPU executor: runs a plan with SIMD kernels over packed weights.
//!
//! A step takes some tokens of one sequence through all ops of the plan, row by row of activations. It can
//! stop between any two ops and go on later, so that a cancellation never waits for a whole step.

pub mod activations;
pub mod cache;
pub mod kernels;
mod program;
pub mod simd;
mod weights;

pub use cache::{Cache, KvType};
pub use weights::{Loading, Weights};

use crate::error::{Error, Result};
use crate::plan::{self, Head, Norm, Op, Pairs, Plan, Row, SlotId};
use crate::quant::BLOCK;
use activations::Quantized;
use kernels::attention::{Attention, Scratch};
use kernels::{elementwise, matmul::multiply, norm, rotary};
use program::Step;
use std::ops::Range;

/// Tokens of a prompt that are taken at a time: enough to use each weight often, few enough that the
/// activations stay in a core's cache.
const STEP_TOKENS: usize = 128;

/// A plan with its weights, ready to run.
pub struct Executor {
    plan: Plan,
    weights: Weights,
    program: Vec<Step>,
    ropes: Vec<Rotation>,
    slots: Vec<Slot>,
    quantized: Quantized,
    scratch: Scratch,
    kv_type: KvType,
    step: Option<Running>,
}

/// A slot's memory: one row per token, filled up with zeros to a multiple of 32.
struct Slot {
    width: usize,
    stride: usize,
    values: Vec<f32>,
}

struct Rotation {
    pairs: Pairs,
    frequencies: Vec<f32>,
    magnitude: f32,
    /// Sines and cosines of the running step's positions.
    angles: Vec<[f32; 2]>,
}

/// The step in progress.
struct Running {
    tokens: Vec<u32>,
    start: usize,
    /// The next step of the program.
    at: usize,
}

impl Executor {
    pub fn new(plan: Plan, weights: Weights) -> Result<Self> {
        let program = program::compile(&plan, &weights)?;
        let slots = plan.slots.iter().map(|width| Slot::new(*width)).collect();
        let mut ropes = Vec::new();
        for rope in &plan.ropes {
            let mut frequencies = rope.frequencies.clone();
            if let Some(factors) = rope.factors {
                for (frequency, factor) in frequencies.iter_mut().zip(weights.vector(factors)?) {
                    if *factor <= 0.0 {
                        let message = format!("a rotary factor of {factor} is not positive");
                        return Err(Error::invalid_model(message).tensor(&plan.weight(factors).name));
                    }
                    *frequency /= factor;
                }
            }
            ropes.push(Rotation {
                pairs: rope.pairs,
                frequencies,
                magnitude: rope.magnitude,
                angles: vec![],
            });
        }
        if let Head::Logits { weight, .. } = plan.head {
            weights.matrix(weight)?;
        }
        let (quantized, scratch) = (Quantized::default(), Scratch::default());
        let kv_type = KvType::default();
        Ok(Executor { plan, weights, program, ropes, slots, quantized, scratch, kv_type, step: None })
    }

    /// Stores keys and values as `kv_type`.
    pub fn with_kv_type(mut self, kv_type: KvType) -> Self {
        self.kv_type = kv_type;
        self
    }

    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// Bytes of the packed weights.
    pub fn weight_bytes(&self) -> usize {
        self.weights.bytes()
    }

    /// Bytes of the cache of a sequence that fills the context. 131072 tokens of a 1B model are beyond 32 bits.
    pub fn cache_capacity(&self) -> u64 {
        let bytes = |cache: &plan::Cache| {
            let kept =
                cache.window.map_or(usize::MAX, |window| window.saturating_add(STEP_TOKENS + cache::PAGE));
            let positions = self.plan.context_length.min(kept).next_multiple_of(cache::PAGE);
            (positions / cache::PAGE) as u64 * self.kv_type.page_bytes(cache) as u64
        };
        self.plan.caches.iter().map(bytes).sum()
    }

    /// An empty cache for a sequence of this model.
    pub fn new_cache(&self) -> Cache {
        Cache::new(&self.plan.caches, self.kv_type)
    }

    /// How many of `remaining` tokens the next step should take.
    pub fn step_tokens(&self, remaining: usize) -> usize {
        if self.plan.causal { remaining.min(STEP_TOKENS) } else { remaining }
    }

    /// Refuses tokens that the model does not know.
    pub fn check(&self, tokens: &[u32]) -> Result<()> {
        let vocabulary = self.plan.ops.iter().find_map(|op| match op {
            Op::Embed { table, .. } => Some(self.plan.weight(*table).rows),
            _ => None,
        });
        if let Some(token) = tokens.iter().find(|token| **token as usize >= vocabulary.unwrap_or(0)) {
            return Err(Error::invalid_argument(format!("token {token} is not in the vocabulary")));
        }
        Ok(())
    }

    /// Begins a step over `tokens`, which follow what `cache` holds. A step in progress is dropped.
    pub fn begin(&mut self, cache: &Cache, tokens: &[u32]) -> Result<()> {
        let start = cache.len();
        self.check(tokens)?;
        for slot in &mut self.slots {
            slot.resize(tokens.len())?;
        }
        for rope in &mut self.ropes {
            let pairs = rope.frequencies.len();
            rope.angles.resize(tokens.len() * pairs, [0.0; 2]);
            for (row, angles) in rope.angles.chunks_exact_mut(pairs.max(1)).enumerate() {
                rotary::angles(start + row, &rope.frequencies, rope.magnitude, angles);
            }
        }
        self.step = Some(Running { tokens: tokens.to_vec(), start, at: 0 });
        Ok(())
    }

    /// Goes on with the step until it is done (true) or `pause` says to stop (false). `pause` is asked between
    /// ops.
    pub fn advance(&mut self, cache: &mut Cache, pause: &mut dyn FnMut() -> bool) -> Result<bool> {
        let Some(mut step) = self.step.take() else {
            return Err(Error::internal("no step was begun"));
        };
        while let Some(next) = self.program.get(step.at).copied() {
            self.run(next, &step, cache)?;
            step.at += 1;
            if pause() {
                self.step = Some(step);
                return Ok(false);
            }
        }
        cache.advance(step.tokens.len());
        Ok(true)
    }

    /// Drops the step in progress. What it stored in its cache lies beyond the cache's length.
    pub fn cancel(&mut self) {
        self.step = None;
    }

    /// The logits of some rows of the last step, one row of the vocabulary's length after the other.
    pub fn logits(&mut self, rows: Range<usize>, logits: &mut Vec<f32>) -> Result<()> {
        let Head::Logits { weight, x, softcap } = self.plan.head else {
            return Err(Error::unsupported_model(
                "this model is an encoder: it has no head to generate or score with",
            ));
        };
        let matrix = self.weights.matrix(weight)?;
        let slot = &self.slots[x.0];
        let values = &slot.values[rows.start * slot.stride..rows.end * slot.stride];
        self.quantized.quantize(values, slot.stride);
        logits.resize(rows.len() * matrix.rows(), 0.0);
        multiply(matrix, rows.len(), values, &self.quantized, logits, matrix.rows())?;
        if let Some(cap) = softcap {
            elementwise::softcap(logits, cap);
        }
        Ok(())
    }

    /// The hidden state of one row of the last step.
    pub fn hidden(&self, row: usize) -> &[f32] {
        let (Head::Logits { x, .. } | Head::Hidden { x }) = self.plan.head;
        let slot = &self.slots[x.0];
        &slot.values[row * slot.stride..][..slot.width]
    }

    fn run(&mut self, step: Step, running: &Running, cache: &mut Cache) -> Result<()> {
        let rows = running.tokens.len();
        match step {
            Step::Quantize(x) => {
                let slot = &self.slots[x.0];
                self.quantized.quantize(&slot.values[..rows * slot.stride], slot.stride);
            }
            Step::Op(Op::Embed { table, scale, out }) => {
                let table = self.weights.matrix(table)?;
                for (token, row) in running.tokens.iter().zip(self.slots[out.0].rows_mut()) {
                    table.row(*token as usize, row);
                    row.iter_mut().for_each(|x| *x *= scale);
                }
            }
            Step::Op(Op::AddRow { table, row: index, x }) => {
                let table = self.weights.matrix(table)?;
                let mut addend = vec![0.0; table.cols()];
                for (row, x) in self.slots[x.0].rows_mut().enumerate().take(rows) {
                    let index = match index {
                        Row::Position => running.start + row,
                        Row::Fixed(index) => index,
                    };
                    table.row(index, &mut addend);
                    elementwise::add(x, &addend);
                }
            }
            Step::Op(Op::Norm { norm, eps, width, x, out }) => {
                self.copy(x, out);
                for row in self.slots[out.0].rows_mut().take(rows) {
                    for run in row.chunks_exact_mut(width) {
                        match norm {
                            Norm::Rms { weight } => norm::rms(run, self.weights.vector(weight)?, eps),
                            Norm::Layer { weight, bias } => {
                                norm::layer(
                                    run,
                                    self.weights.vector(weight)?,
                                    self.weights.vector(bias)?,
                                    eps,
                                );
                            }
                        }
                    }
                }
            }
            Step::Op(Op::MatMul { weight, bias, x, out }) => {
                let matrix = self.weights.matrix(weight)?;
                let bias = bias.map(|bias| self.weights.vector(bias)).transpose()?;
                let (x, out) = pair(&mut self.slots, x, out)?;
                multiply(matrix, rows, &x.values, &self.quantized, &mut out.values, out.stride)?;
                if let Some(bias) = bias {
                    out.rows_mut().take(rows).for_each(|row| elementwise::add(row, bias));
                }
            }
            Step::Op(Op::Rotate { rope, dim, x }) => {
                let rope = &self.ropes[rope.0];
                let angles = rope.angles.chunks_exact(rope.frequencies.len().max(1));
                for (row, angles) in self.slots[x.0].rows_mut().zip(angles) {
                    rotary::rotate(row, dim, rope.pairs, angles);
                }
            }
            Step::Op(Op::Store { cache: layer, k, v }) => {
                let layer = &mut cache.layers[layer];
                for row in 0..rows {
                    layer.store(running.start + row, self.slots[k.0].row(row), self.slots[v.0].row(row))?;
                }
            }
            Step::Op(Op::Attend { cache: layer, heads, scale, softcap, q, out }) => {
                let layer = &mut cache.layers[layer];
                layer.retire(running.start);
                let (q, out) = pair(&mut self.slots, q, out)?;
                let (causal, start, stride) = (self.plan.causal, running.start, q.stride);
                let attention = Attention { layer, heads, scale, softcap, causal, start, stride };
                let mut heads_of_rows = vec![0.0; rows * out.width];
                attention.run(0..heads, rows, &q.values, &mut heads_of_rows, &mut self.scratch);
                for (row, heads) in out.rows_mut().zip(heads_of_rows.chunks_exact(heads * layer.cache.dim)) {
                    row.copy_from_slice(heads);
                }
            }
            Step::Op(Op::Activate { f, x }) => {
                self.slots[x.0].rows_mut().take(rows).for_each(|row| elementwise::activate(f, row));
            }
            Step::Op(Op::Gate { f, x, y }) => {
                let (y, x) = pair(&mut self.slots, y, x)?;
                for (row, x) in x.rows_mut().enumerate().take(rows) {
                    elementwise::gate(f, x, y.row(row));
                }
            }
            Step::Op(Op::Add { x, y }) => {
                let (y, x) = pair(&mut self.slots, y, x)?;
                for (row, x) in x.rows_mut().enumerate().take(rows) {
                    elementwise::add(x, y.row(row));
                }
            }
        }
        Ok(())
    }

    fn copy(&mut self, from: SlotId, to: SlotId) {
        if from != to
            && let Ok([from, to]) = self.slots.get_disjoint_mut([from.0, to.0])
        {
            to.values.copy_from_slice(&from.values);
        }
    }
}

/// `read` and `write`, which must be different slots.
fn pair(slots: &mut [Slot], read: SlotId, write: SlotId) -> Result<(&Slot, &mut Slot)> {
    match slots.get_disjoint_mut([read.0, write.0]) {
        Ok([read, write]) => Ok((read, write)),
        Err(_) => Err(Error::internal("an op reads the slot that it writes")),
    }
}

impl Slot {
    fn new(width: usize) -> Self {
        Slot { width, stride: width.next_multiple_of(BLOCK), values: Vec::new() }
    }

    fn resize(&mut self, rows: usize) -> Result<()> {
        let len = rows * self.stride;
        self.values.try_reserve(len.saturating_sub(self.values.len())).map_err(|_| {
            Error::out_of_memory("the activations do not fit into memory: choose a smaller model")
        })?;
        self.values.resize(len, 0.0);
        Ok(())
    }

    fn row(&self, row: usize) -> &[f32] {
        &self.values[row * self.stride..][..self.width]
    }

    fn rows_mut(&mut self) -> impl Iterator<Item = &mut [f32]> {
        self.values.chunks_exact_mut(self.stride).map(|row| &mut row[..self.width])
    }
}
