//! What one thread does in a step.

use super::activations::{Activations, Quantized};
use super::cache::Cache;
use super::kernels::attention::{Attention, Scratch};
use super::kernels::{Unpacked, matmul::multiply};
use super::kernels::{elementwise, norm, rotary};
use super::program::{At, Columns, Kept, Place, Program, Step};
use super::shared::View;
use super::weights::Weights;
use crate::error::{Error, Result};
use crate::plan::{Factor, Norm, Op, Plan, Rope};
use crate::quant::PANEL;
use std::ops::Range;

/// A rotary embedding, made ready: its frequencies are divided by their factors.
pub struct Rotation {
    pub rope: Rope,
    /// Sines and cosines of the running step's positions.
    pub angles: Vec<[f32; 2]>,
}

/// A sequence's part of a step: some consecutive rows.
#[derive(Debug, Clone)]
pub struct Segment {
    pub rows: Range<usize>,
    /// The position of the first.
    pub start: usize,
}

/// What a thread has to itself, from one step to the next.
#[derive(Default)]
pub struct Lane {
    pub quantized: Quantized,
    pub unpacked: Unpacked,
    pub buffer: Vec<f32>,
    attention: Scratch,
}

impl Lane {
    pub fn new(activations: Activations) -> Self {
        Lane { quantized: Quantized::new(activations), ..Default::default() }
    }
}

/// A step, as one thread walks it.
pub struct Walk<'a> {
    pub plan: &'a Plan,
    pub weights: &'a Weights,
    pub ropes: &'a [Rotation],
    pub program: &'a Program,
    pub tokens: &'a [u32],
    pub segments: &'a [Segment],
    /// One for each segment.
    pub caches: &'a [&'a Cache],
    pub thread: usize,
    pub view: View<'a>,
    pub lane: &'a mut Lane,
}

impl Walk<'_> {
    /// Does one step of the program.
    pub fn step(&mut self, step: Step) -> Result<()> {
        match step {
            Step::Barrier => {}
            Step::Quantize(x) => {
                let values = self.view.read(x, self.view.rows(x.place));
                self.lane.quantized.quantize(values, self.view.stride(x.slot));
            }
            Step::Copy { slot, columns } => {
                let columns = self.program.columns(columns, self.thread, self.view.width(slot));
                for row in self.view.rows(Place::Lane) {
                    let from = self.view.part(At { slot, place: Place::Shared }, row, columns.clone());
                    let to = self.view.part_mut(At { slot, place: Place::Lane }, row, columns.clone());
                    to.copy_from_slice(from);
                }
            }
            Step::Store { cache, what, x, columns } => self.store(cache, what, x, columns),
            Step::Op { op, x, out, columns } => self.op(op, x, out, columns)?,
        }
        Ok(())
    }

    fn op(&mut self, op: Op, from: Place, to: Place, columns: Columns) -> Result<()> {
        match op {
            Op::Embed { table, scale, out } => {
                let table = self.weights.matrix(table)?;
                for row in self.view.rows(to) {
                    let values = self.view.part_mut(At { slot: out, place: to }, row, 0..table.cols());
                    table.row(self.tokens[row] as usize, values);
                    values.iter_mut().for_each(|x| *x *= scale);
                }
            }
            Op::AddRow { table, row: index, x } => {
                let table = self.weights.matrix(table)?;
                let mut addend = std::mem::take(&mut self.lane.buffer);
                addend.resize(table.cols(), 0.0);
                for row in self.view.rows(to) {
                    let (segment, position) = self.place(row);
                    let before = &self.tokens[self.segments[segment].rows.start..row];
                    table.row(index.index(position, before), &mut addend);
                    let values = self.view.part_mut(At { slot: x, place: to }, row, 0..table.cols());
                    elementwise::add(values, &addend);
                }
                self.lane.buffer = addend;
            }
            Op::Norm { norm, eps, width, x, out } => {
                let (x, out) = (At { slot: x, place: from }, At { slot: out, place: to });
                let columns = self.program.columns(columns, self.thread, self.view.width(out.slot));
                for row in self.view.rows(to) {
                    let source = (x != out).then(|| self.view.part(x, row, columns.clone()));
                    let values = self.view.part_mut(out, row, columns.clone());
                    if let Some(source) = source {
                        values.copy_from_slice(source);
                    }
                    for run in values.chunks_exact_mut(width) {
                        normalize(self.weights, norm, eps, run)?;
                    }
                }
            }
            Op::MatMul { weight, bias, x, out } => {
                let matrix = self.weights.matrix(weight)?;
                let bias = bias.map(|bias| self.weights.vector(bias)).transpose()?;
                let columns = self.program.columns(columns, self.thread, matrix.rows());
                let panels = columns.start / PANEL..columns.end.div_ceil(PANEL);
                let rows = self.view.rows(from);
                let values = self.view.read(At { slot: x, place: from }, rows.clone());
                let out = At { slot: out, place: to };
                let Lane { quantized, unpacked, .. } = &mut *self.lane;
                let view = &mut self.view;
                multiply(
                    matrix,
                    panels,
                    0..rows.len(),
                    values,
                    quantized,
                    unpacked,
                    |row, first, values| {
                        view.part_mut(out, rows.start + row, first..first + values.len())
                            .copy_from_slice(values);
                    },
                )?;
                if let Some(bias) = bias {
                    for row in rows {
                        let values = self.view.part_mut(out, row, columns.clone());
                        elementwise::add(values, &bias[columns.clone()]);
                    }
                }
            }
            Op::Rotate { rope, dim, x } => {
                let rope = &self.ropes[rope.0];
                let pairs = rope.rope.frequencies.len();
                let columns = self.program.columns(columns, self.thread, self.view.width(x));
                for row in self.view.rows(to) {
                    let angles = &rope.angles[row * pairs..(row + 1) * pairs];
                    let values = self.view.part_mut(At { slot: x, place: to }, row, columns.clone());
                    rotary::rotate(values, dim, rope.rope.pairs, angles);
                }
            }
            Op::Attend { cache, heads, scale, softcap, q, out } => {
                let columns = self.program.columns(columns, self.thread, self.view.width(out));
                let dim = self.plan.caches[cache].dim;
                let (q, out) = (At { slot: q, place: from }, At { slot: out, place: to });
                let mine = self.view.rows(to);
                let (causal, stride) = (self.plan.causal, self.view.stride(q.slot));
                for (segment, kept) in self.segments.iter().zip(self.caches) {
                    let rows = mine.start.max(segment.rows.start)..mine.end.min(segment.rows.end);
                    if rows.is_empty() || columns.is_empty() {
                        continue;
                    }
                    let start = segment.start + rows.start - segment.rows.start;
                    let layer = &kept.layers[cache];
                    let attention = Attention { layer, heads, scale, softcap, causal, start, stride };
                    let Lane { buffer, attention: scratch, .. } = &mut *self.lane;
                    buffer.resize(rows.len() * columns.len(), 0.0);
                    let values = self.view.read(q, rows.clone());
                    let own = columns.start / dim..columns.end / dim;
                    attention.run(own, rows.len(), values, buffer, scratch);
                    for (row, values) in rows.zip(buffer.chunks_exact(columns.len())) {
                        self.view.part_mut(out, row, columns.clone()).copy_from_slice(values);
                    }
                }
            }
            Op::Activate { f, x } => {
                let columns = self.program.columns(columns, self.thread, self.view.width(x));
                for row in self.view.rows(to) {
                    elementwise::activate(
                        f,
                        self.view.part_mut(At { slot: x, place: to }, row, columns.clone()),
                    );
                }
            }
            Op::Gate { f, x, y } => {
                let columns = self.program.columns(columns, self.thread, self.view.width(x));
                for row in self.view.rows(to) {
                    let y = self.view.part(At { slot: y, place: from }, row, columns.clone());
                    let x = self.view.part_mut(At { slot: x, place: to }, row, columns.clone());
                    elementwise::gate(f, x, y);
                }
            }
            Op::Add { x, y } => {
                let columns = self.program.columns(columns, self.thread, self.view.width(x));
                for row in self.view.rows(to) {
                    let y = self.view.part(At { slot: y, place: from }, row, columns.clone());
                    let x = self.view.part_mut(At { slot: x, place: to }, row, columns.clone());
                    elementwise::add(x, y);
                }
            }
            Op::Scale { by, x } => {
                let by = match by {
                    Factor::Weight(by) => self.weights.vector(by)?[0],
                    Factor::Number(by) => by,
                };
                let columns = self.program.columns(columns, self.thread, self.view.width(x));
                for row in self.view.rows(to) {
                    elementwise::scale(
                        self.view.part_mut(At { slot: x, place: to }, row, columns.clone()),
                        by,
                    );
                }
            }
            Op::Part { x, run, first, out } => {
                let (x, width) = (At { slot: x, place: from }, self.view.width(x));
                let (out, part) = (At { slot: out, place: to }, self.view.width(out) / (width / run));
                for row in self.view.rows(to) {
                    let values = self.view.part(x, row, 0..width);
                    let parts = self.view.part_mut(out, row, 0..width / run * part);
                    for (part, run) in parts.chunks_exact_mut(part).zip(values.chunks_exact(run)) {
                        part.copy_from_slice(&run[first..first + part.len()]);
                    }
                }
            }
            Op::Convolve { state, weight, x } => {
                let columns = self.program.columns(columns, self.thread, self.view.width(x));
                self.convolve(state, weight, At { slot: x, place: to }, columns)?;
            }
            Op::DeltaRule(rule) => {
                let columns = self.program.columns(columns, self.thread, self.view.width(rule.out));
                self.delta_rule(&rule, from, columns)?;
            }
            Op::Store { .. } => {
                return Err(Error::internal("keys and values are stored by steps of their own"));
            }
        }
        Ok(())
    }

    fn store(&mut self, cache: usize, what: Kept, x: At, columns: Columns) {
        let dim = self.plan.caches[cache].dim;
        let columns = self.program.columns(columns, self.thread, self.view.width(x.slot));
        let heads = columns.start / dim..columns.end / dim;
        for row in self.view.rows(x.place) {
            let values = self.view.part(x, row, columns.clone());
            let (segment, position) = self.place(row);
            let layer = &self.caches[segment].layers[cache];
            // SAFETY: these rows or these heads are this thread's alone, and all threads pass a barrier before one
            // of them reads the layer: the program is checked for both.
            unsafe {
                match what {
                    Kept::Keys => layer.store_keys(position, heads.clone(), values),
                    Kept::Values => layer.store_values(position, heads.clone(), values),
                }
            }
        }
    }

    /// The segment of a row, and the row's position in its sequence.
    fn place(&self, row: usize) -> (usize, usize) {
        let segment = self.segments.partition_point(|segment| segment.rows.end <= row);
        (segment, self.segments[segment].start + row - self.segments[segment].rows.start)
    }
}

fn normalize(weights: &Weights, norm: Norm, eps: f32, run: &mut [f32]) -> Result<()> {
    match norm {
        Norm::Rms { weight } => norm::rms(run, weights.vector(weight)?, eps),
        Norm::Even { scale } => norm::even(run, scale, eps),
        Norm::Layer { weight, bias } => norm::layer(run, weights.vector(weight)?, weights.vector(bias)?, eps),
    }
    Ok(())
}
