//! The plan as kernels: a list of dispatches for steps of one token of each sequence, and one for all others.

use super::call::{Call, Dispatch, Scope};
use super::device::Gpu;
use super::kernels::{self, Attend, Epilogue, Input, Product, Slot};
use super::room::Buffers;
use super::sequence::Layer;
use super::weights::Weights;
use crate::error::{Error, Result};
use crate::plan::{DeltaRule, Factor, Head, Norm, Op, Plan, Rope, SlotId, WeightId};
use std::borrow::Cow;
use std::rc::Rc;

mod fusion;
mod uses;

/// Dispatches for one kind of step, and for what is asked of its rows.
#[derive(Default)]
pub struct Program {
    pub layers: Vec<Dispatch>,
    /// The last norm of the rows that are asked for, unless the head takes it in.
    pub states: Vec<Dispatch>,
    /// The logits of these rows; of an encoder means of states.
    pub head: Vec<Dispatch>,
}

/// A rotary embedding, made ready: its frequencies are divided by their factors.
pub struct Rotation {
    pub rope: Rope,
    /// Cosine and sine of each pair of each row of the step.
    pub angles: wgpu::Buffer,
}

/// What a plan is compiled with.
pub struct Compiler<'a> {
    pub gpu: &'a Rc<Gpu>,
    pub plan: &'a Plan,
    pub weights: &'a Weights,
    pub layers: &'a [Layer],
    pub buffers: &'a Buffers,
    /// Whether steps have one row of each sequence.
    pub one: bool,
}

impl Compiler<'_> {
    /// The program, with whatever can be fused fused.
    pub fn compile(&self) -> Result<Program> {
        let ready = |calls: Vec<Call>| {
            calls.into_iter().map(|call| call.compile(self.gpu, &self.buffers.entries)).collect()
        };
        let [layers, states, head] = self.calls()?.map(ready);
        Ok(Program { layers, states, head })
    }

    /// Says which pipelines it has. The values of vectors do not matter for that.
    pub fn announce(&self) -> Result<()> {
        self.calls()?.iter().flatten().for_each(|call| drop(call.announce(self.gpu)));
        Ok(())
    }

    /// Those of layers, of the states that are asked for, and of their logits.
    fn calls(&self) -> Result<[Vec<Call>; 3]> {
        let mut calls = Vec::new();
        let mut at = 0;
        while at < self.plan.ops.len() - usize::from(self.last_norm().is_some()) {
            match fusion::find(self, at)? {
                Some((ops, found)) => {
                    calls.extend(found);
                    at += ops;
                }
                None => {
                    calls.extend(self.op(&self.plan.ops[at])?);
                    at += 1;
                }
            }
        }
        let of_head = |calls: Vec<Call>| calls.into_iter().map(|call| call.scope(Scope::Head)).collect();
        let (states, head) = self.head()?;
        Ok([calls, of_head(states), of_head(head)])
    }

    /// The norm before the head, which only rows that are asked for need to pass.
    fn last_norm(&self) -> Option<&Op> {
        let Head::Logits { x: head, .. } = self.plan.head else { return None };
        let norm = |op: &&Op| matches!(**op, Op::Norm { x, out, .. } if out == head && x != head);
        self.plan.ops.last().filter(norm)
    }

    pub fn slot(&self, id: SlotId) -> &Slot {
        &self.buffers.slots[id.0]
    }

    /// An op by itself.
    fn op(&self, op: &Op) -> Result<Vec<Call>> {
        Ok(match *op {
            Op::Embed { table, scale, out } => {
                kernels::embed(self.weights.matrix(table)?, scale, &self.buffers.rows, self.slot(out))
            }
            Op::AddRow { table, row, x } => {
                kernels::add_row(self.weights.matrix(table)?, row, &self.buffers.rows, self.slot(x))
            }
            Op::Norm { norm, eps, width, x, out } => {
                let (weight, bias) = match norm {
                    Norm::Rms { weight } => (Cow::Borrowed(self.weights.vector(weight)?), None),
                    Norm::Even { scale } => (Cow::Owned(vec![scale; width]), None),
                    Norm::Layer { weight, bias } => {
                        (Cow::Borrowed(self.weights.vector(weight)?), Some(self.weights.vector(bias)?))
                    }
                };
                vec![kernels::norm(&weight, bias, eps, self.slot(x), self.slot(out), false)]
            }
            Op::MatMul { x, out, .. } => self.product(op, self.slot(x), self.slot(out), Epilogue::Store)?,
            Op::Rotate { rope, dim, x } => {
                let (pairs, rotation) = (self.plan.ropes[rope.0].pairs, &self.buffers.ropes[rope.0]);
                vec![kernels::rotate(
                    self.slot(x),
                    dim,
                    pairs,
                    rotation.rope.frequencies.len(),
                    &rotation.angles,
                )]
            }
            Op::Store { cache, k, v } => {
                vec![kernels::store(&self.layers[cache], cache, self.slot(k), self.slot(v))]
            }
            Op::Attend { .. } if self.one || self.gpu.is_software() => {
                vec![kernels::attend(self.gpu, &self.attention(op)?)]
            }
            Op::Attend { .. } => vec![kernels::attend_tiled(self.gpu, &self.attention(op)?)],
            Op::Activate { f, x } => vec![kernels::activate(f, self.slot(x))],
            Op::Gate { f, x, y } => vec![kernels::gate(f, self.slot(x), self.slot(y))],
            Op::Add { x, y } => vec![kernels::add(self.slot(x), self.slot(y))],
            Op::Scale { by, x } => {
                let by = match by {
                    Factor::Weight(by) => self.weights.vector(by)?[0],
                    Factor::Number(by) => by,
                };
                vec![kernels::scale(self.slot(x), by)]
            }
            Op::Part { x, run, first, out } => {
                vec![kernels::part(self.slot(x), run, first, self.slot(out))]
            }
            Op::Convolve { state, weight, x } => {
                vec![kernels::convolve(state, self.weights.matrix(weight)?, self.slot(x))]
            }
            Op::DeltaRule(DeltaRule { state, dim, q, k, v, decay, rate, a, out }) => {
                let [q, k, v] = [q, k, v].map(|slot| self.slot(slot));
                let [decay, rate, out] = [decay, rate, out].map(|slot| self.slot(slot));
                let slots = kernels::DeltaRule { q, k, v, decay, rate, out };
                vec![kernels::delta_rule(state, dim, self.weights.vector(a)?, &slots)]
            }
        })
    }

    /// A product of all rows.
    pub fn product(&self, op: &Op, x: &Slot, out: &Slot, epilogue: Epilogue) -> Result<Vec<Call>> {
        let Op::MatMul { weight, bias, .. } = *op else { return Err(Error::internal("no product")) };
        let bias = bias.map(|bias| self.weights.vector(bias)).transpose()?;
        self.parts(weight, bias, &Input { x, norm: None }, out, epilogue)
    }

    /// A product with each part of a matrix. Only steps of one row take a norm in.
    fn parts(
        &self,
        weight: WeightId,
        bias: Option<&[f32]>,
        input: &Input,
        out: &Slot,
        epilogue: Epilogue,
    ) -> Result<Vec<Call>> {
        let matrix = self.weights.matrix(weight)?;
        let product = |part| Product { matrix, part, bias, out };
        let calls = |part| match self.one {
            true => kernels::products(self.gpu, input, &[product(part)], epilogue),
            false => kernels::matmul(self.gpu, input.x, &product(part), epilogue, self.weights.activations),
        };
        Ok(matrix.parts.iter().flat_map(calls).collect())
    }

    pub fn attention(&self, op: &Op) -> Result<Attend<'_>> {
        let Op::Attend { cache, heads, scale, softcap, q, out } = *op else {
            return Err(Error::internal("no attention"));
        };
        let (layer, causal) = (&self.layers[cache], self.plan.causal);
        let (q, out) = (self.slot(q), self.slot(out));
        Ok(Attend {
            layer,
            index: cache,
            heads,
            scale,
            softcap,
            causal,
            q,
            out,
            totals: &self.buffers.totals,
        })
    }

    /// What makes the states of the rows that are asked for, and their logits, or means of states.
    fn head(&self) -> Result<(Vec<Call>, Vec<Call>)> {
        let (weight, x, softcap) = match self.plan.head {
            Head::Logits { weight, x, softcap } => (weight, x, softcap),
            Head::Hidden { x } | Head::Labels { x } => {
                return Ok((
                    vec![],
                    vec![kernels::pool(self.slot(x), &self.buffers.ranges, &self.buffers.logits)],
                ));
            }
        };
        let epilogue = softcap.map_or(Epilogue::Store, Epilogue::Softcap);
        let (mut input, mut states) = (Input { x: self.slot(x), norm: None }, vec![]);
        match self.last_norm() {
            Some(&Op::Norm { norm: Norm::Rms { weight }, eps, x, .. }) if self.one => {
                input = Input { x: self.slot(x), norm: Some((self.weights.vector(weight)?, eps)) };
            }
            Some(norm) => states = self.op(norm)?,
            None => {}
        }
        Ok((states, self.parts(weight, None, &input, &self.buffers.logits, epilogue)?))
    }
}
