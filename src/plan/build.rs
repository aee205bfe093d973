//! What a family file writes its plan with.

use super::*;
use crate::error::{Code, Error, Result};
use crate::gguf::TensorInfo;
use std::collections::HashMap;

/// Collects tensors, slots and ops. A tensor is looked up by name and checked against the shape that the
/// hyperparameters demand the moment it is mentioned.
pub struct Builder<'a> {
    tensors: HashMap<&'a str, &'a TensorInfo>,
    known: HashMap<(String, usize), WeightId>,
    weights: Vec<Weight>,
    slots: Vec<usize>,
    roles: HashMap<(&'static str, usize), SlotId>,
    ropes: Vec<Rope>,
    caches: Vec<Cache>,
    states: Vec<usize>,
    ops: Vec<Op>,
}

impl<'a> Builder<'a> {
    pub fn new(tensors: &'a [TensorInfo]) -> Self {
        let tensors = tensors.iter().map(|tensor| (tensor.name.as_str(), tensor)).collect();
        Builder {
            tensors,
            known: HashMap::new(),
            weights: vec![],
            slots: vec![],
            roles: HashMap::new(),
            ropes: vec![],
            caches: vec![],
            states: vec![],
            ops: vec![],
        }
    }

    /// Whether the file has a tensor of this name.
    pub fn has(&self, name: &str) -> bool {
        self.tensors.contains_key(name)
    }

    /// How many rows the tensor of this name has, if it is in the file.
    pub fn rows(&self, name: &str) -> Option<u64> {
        self.tensors.get(name).map(|tensor| tensor.rows())
    }

    /// A tensor of `rows` × `cols`, which must be in the file.
    pub fn matrix(&mut self, name: &str, rows: usize, cols: usize) -> Result<WeightId> {
        self.weight(name, [rows, cols], Weight { name: name.into(), first: 0, rows, cols })
    }

    /// What a plan reads of the tensor `name`, which must be in the file and have the `shape` given.
    fn weight(&mut self, name: &str, shape: [usize; 2], weight: Weight) -> Result<WeightId> {
        let key = (weight.name.clone(), weight.first);
        if let Some(&known) = self.known.get(&key) {
            return Ok(known);
        }
        let Some(tensor) = self.tensors.get(name) else {
            return Err(Error::new(
                Code::InvalidModel,
                "the model lacks a tensor that its architecture needs",
            )
            .tensor(name));
        };
        let [rows, cols] = shape;
        if tensor.cols() != cols as u64 || tensor.rows() != rows as u64 {
            let message = format!("the tensor is {} × {}, not {rows} × {cols}", tensor.rows(), tensor.cols());
            return Err(Error::invalid_model(message).tensor(name));
        }
        let id = WeightId(self.weights.len());
        self.weights.push(weight);
        self.known.insert(key, id);
        Ok(id)
    }

    /// A vector of `len` values, which must be in the file.
    pub fn vector(&mut self, name: &str, len: usize) -> Result<WeightId> {
        self.matrix(name, 1, len)
    }

    /// A vector that a file may lack.
    pub fn optional_vector(&mut self, name: &str, len: usize) -> Result<Option<WeightId>> {
        if self.has(name) { self.vector(name, len).map(Some) } else { Ok(None) }
    }

    /// Room for `width` values per token.
    pub fn slot(&mut self, width: usize) -> SlotId {
        self.slots.push(width);
        SlotId(self.slots.len() - 1)
    }

    /// Values per token of a slot.
    pub fn width(&self, slot: SlotId) -> usize {
        self.slots[slot.0]
    }

    /// The slot of `width` values for a role, where layers are not equally wide: those that are share it.
    pub fn slot_of(&mut self, role: &'static str, width: usize) -> SlotId {
        if let Some(&slot) = self.roles.get(&(role, width)) {
            return slot;
        }
        let slot = self.slot(width);
        self.roles.insert((role, width), slot);
        slot
    }

    pub fn rope(&mut self, rope: Rope) -> RopeId {
        self.ropes.push(rope);
        RopeId(self.ropes.len() - 1)
    }

    pub fn cache(&mut self, cache: Cache) -> usize {
        self.caches.push(cache);
        self.caches.len() - 1
    }

    /// `len` values that a layer keeps of a sequence from step to step.
    pub fn state(&mut self, len: usize) -> usize {
        self.states.push(len);
        self.states.len() - 1
    }

    pub fn push(&mut self, op: Op) {
        self.ops.push(op);
    }

    /// `out = W·x (+ b)` with the tensors `{name}.weight` and, where the file has it, `{name}.bias`.
    pub fn linear(&mut self, name: &str, x: SlotId, out: SlotId) -> Result<()> {
        let (cols, rows) = (self.slots[x.0], self.slots[out.0]);
        let weight = self.matrix(&format!("{name}.weight"), rows, cols)?;
        let bias = self.optional_vector(&format!("{name}.bias"), rows)?;
        self.push(Op::MatMul { weight, bias, x, out });
        Ok(())
    }

    /// As [`Builder::linear`], of a product whose bias must be in the file.
    pub fn biased(&mut self, name: &str, x: SlotId, out: SlotId) -> Result<()> {
        self.vector(&format!("{name}.bias"), self.slots[out.0])?;
        self.linear(name, x, out)
    }

    /// As [`Builder::linear`], with the rows from `first` on of a tensor of `total` rows, which has the weights of
    /// several products. The bias is the part's own, `{own}.bias`, or lies in the same way in `{name}.bias`.
    pub fn linear_part(
        &mut self,
        (name, total, first): (&str, usize, usize),
        own: &str,
        x: SlotId,
        out: SlotId,
    ) -> Result<()> {
        let (cols, rows) = (self.slots[x.0], self.slots[out.0]);
        let part = |name: String, rows, cols| Weight { name, first, rows, cols };
        let weights = format!("{name}.weight");
        let weight = self.weight(&weights, [total, cols], part(weights.clone(), rows, cols))?;
        let biases = format!("{name}.bias");
        let bias = match self.optional_vector(&format!("{own}.bias"), rows)? {
            None if self.has(&biases) => {
                Some(self.weight(&biases, [1, total], part(biases.clone(), 1, rows))?)
            }
            bias => bias,
        };
        self.push(Op::MatMul { weight, bias, x, out });
        Ok(())
    }

    /// RMSNorm over runs of `width` values with the tensor `{name}.weight`.
    pub fn rms_norm(&mut self, name: &str, width: usize, eps: f32, x: SlotId, out: SlotId) -> Result<()> {
        let weight = self.vector(&format!("{name}.weight"), width)?;
        self.push(Op::Norm { norm: Norm::Rms { weight }, eps, width, x, out });
        Ok(())
    }

    /// LayerNorm in place with the tensors `{name}.weight` and `{name}.bias`.
    pub fn layer_norm(&mut self, name: &str, eps: f32, x: SlotId) -> Result<()> {
        let width = self.slots[x.0];
        let weight = self.vector(&format!("{name}.weight"), width)?;
        let bias = self.vector(&format!("{name}.bias"), width)?;
        self.push(Op::Norm { norm: Norm::Layer { weight, bias }, eps, width, x, out: x });
        Ok(())
    }

    pub fn finish(self, head: Head, context_length: usize, causal: bool) -> Plan {
        Plan {
            weights: self.weights,
            slots: self.slots,
            ropes: self.ropes,
            caches: self.caches,
            states: self.states,
            ops: self.ops,
            head,
            context_length,
            causal,
        }
    }
}
