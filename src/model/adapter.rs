//! Low-rank adapters (LoRA): y = W·x + s·α/r·B·(A·x) for each product whose tensor W a file has `lora_a` and `lora_b` for.
//!
//! Nothing is merged into weights: the plan gets ops for the adapters in use, and is the model's own where none is. An
//! embedding's table is changed in the same way, row by row: its A has a row for each token.

use crate::error::{Error, Result};
use crate::gguf::{Metadata, TensorInfo};
use crate::plan::{Factor, Op, Plan, SlotId, Weight, WeightId};
use std::collections::{BTreeMap, HashMap};

const ALPHA: &str = "adapter.lora.alpha";
const INVOCATION: &str = "adapter.alora.invocation_tokens";
/// No adapter of a low rank has a higher one.
const HIGHEST_RANK: usize = 4096;

/// A model's adapters, and the plan that is changed by them.
pub struct Adapters {
    base: Plan,
    adapters: Vec<Adapter>,
    scales: Vec<f32>,
}

/// An adapter: what it changes in products with a weight.
struct Adapter {
    name: String,
    pairs: HashMap<WeightId, Pair>,
}

/// The matrices of a low rank that change one of the plan's.
#[derive(Clone, Copy)]
struct Pair {
    a: WeightId,
    b: WeightId,
    /// α/r
    scale: f32,
}

/// A pair's tensors, as a file has them.
#[derive(Default)]
struct Tensors<'a> {
    a: Option<&'a TensorInfo>,
    b: Option<&'a TensorInfo>,
}

impl Adapters {
    /// The adapters of a model with this plan: none yet.
    pub fn new(base: Plan) -> Self {
        Adapters { base, adapters: vec![], scales: vec![] }
    }

    pub fn is_empty(&self) -> bool {
        self.adapters.is_empty()
    }

    /// Names, as the files give them, and the scales in use.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f32)> {
        self.adapters.iter().zip(&self.scales).map(|(adapter, scale)| (adapter.name.as_str(), *scale))
    }

    /// A tensor of the last adapter as the plan names it: two adapters have tensors of one name.
    pub fn named(&self, tensor: &TensorInfo) -> TensorInfo {
        let name = weight_name(self.adapters.len().saturating_sub(1), &tensor.name);
        TensorInfo { name, ..tensor.clone() }
    }

    /// Takes the next adapter's header, for a model of `architecture` with these tensors. The adapter is not in use.
    pub fn push(
        &mut self,
        architecture: &str,
        model: &[TensorInfo],
        metadata: &Metadata,
        tensors: &[TensorInfo],
    ) -> Result<()> {
        let alpha = read(architecture, metadata)?;
        let mut pairs = HashMap::new();
        for (target, tensors) in paired(tensors)? {
            let (a, b) = match tensors {
                Tensors { a: Some(a), b: Some(b) } => (a, b),
                Tensors { a, b } => {
                    let alone = a.or(b).map_or(target, |tensor| &tensor.name);
                    return Err(
                        Error::invalid_model("the adapter's tensor lacks its counterpart").tensor(alone)
                    );
                }
            };
            let Some(base) = model.iter().find(|tensor| tensor.name == target) else {
                let message =
                    "the adapter changes a tensor that the model does not have: it is of another model";
                return Err(Error::invalid_model(message).tensor(&a.name));
            };
            // What the plan does not read has no effect: Gemma 4's files have keys and values of layers that share others'.
            if !self.base.weights.iter().any(|weight| weight.name == target) {
                continue;
            }
            let changed = self.changed(target);
            if changed.is_empty() {
                let message = "the adapter changes a tensor for which this version has no adapters";
                return Err(Error::unsupported_model(message).tensor(&a.name));
            }
            for (weight, use_of) in changed {
                let pair = self.pair(base, (weight, use_of), [a, b], alpha)?;
                pairs.insert(weight, pair);
            }
        }
        let name = metadata.str("general.name").unwrap_or_default().to_owned();
        self.adapters.push(Adapter { name, pairs });
        self.scales.push(0.0);
        Ok(())
    }

    /// What `a` and `b` of the next adapter make of a weight that lies in the tensor `base`.
    fn pair(
        &mut self,
        base: &TensorInfo,
        (weight, use_of): (WeightId, Use),
        [a, b]: [&TensorInfo; 2],
        alpha: f32,
    ) -> Result<Pair> {
        let shapes = match use_of {
            Use::Product => [[b.cols(), base.cols()], [base.rows(), b.cols()]],
            Use::Table => [[base.rows(), b.cols()], [base.cols(), b.cols()]],
        };
        for (tensor, [rows, cols]) in [a, b].into_iter().zip(shapes) {
            let is = [tensor.rows(), tensor.cols()];
            if is != [rows, cols] {
                let message = format!("the adapter's tensor is {} × {}, not {rows} × {cols}", is[0], is[1]);
                return Err(Error::invalid_model(message).tensor(&tensor.name));
            }
        }
        let rank = usize::try_from(b.cols()).ok().filter(|rank| (1..=HIGHEST_RANK).contains(rank));
        let rank = rank.ok_or_else(|| {
            let message = format!("the adapter's rank is {}, and at most {HIGHEST_RANK}", b.cols());
            Error::invalid_model(message).tensor(&b.name)
        })?;
        let Weight { first, rows, cols, .. } = *self.base.weight(weight);
        let [a, b] = match use_of {
            Use::Product => [(a, [0, rank, cols]), (b, [first, rows, rank])],
            Use::Table => [(a, [0, rows, rank]), (b, [0, cols, rank])],
        }
        .map(|(tensor, place)| self.weight(&tensor.name, place));
        Ok(Pair { a, b, scale: if alpha == 0.0 { 1.0 } else { alpha / rank as f32 } })
    }

    /// The plan's weights that lie in a tensor and are multiplied with, or looked up as tokens are.
    fn changed(&self, tensor: &str) -> Vec<(WeightId, Use)> {
        let mut changed: Vec<(WeightId, Use)> = vec![];
        for op in &self.base.ops {
            let found = match *op {
                Op::MatMul { weight, .. } => (weight, Use::Product),
                Op::Embed { table, .. } => (table, Use::Table),
                _ => continue,
            };
            if self.base.weight(found.0).name == tensor && !changed.contains(&found) {
                changed.push(found);
            }
        }
        changed
    }

    fn weight(&mut self, name: &str, [first, rows, cols]: [usize; 3]) -> WeightId {
        let name = weight_name(self.adapters.len(), name);
        let weight = Weight { name, first, rows, cols };
        let known = self.base.weights.iter().position(|known| *known == weight);
        WeightId(known.unwrap_or_else(|| {
            self.base.weights.push(weight);
            self.base.weights.len() - 1
        }))
    }

    /// Uses the adapters with these scales, one for each; 0 is without. The plan is [`Adapters::plan`]'s then.
    pub fn set(&mut self, scales: &[f32]) -> Result<()> {
        if scales.len() != self.adapters.len() {
            let message = format!("there are {} scales for {} adapters", scales.len(), self.adapters.len());
            return Err(Error::invalid_argument(message));
        }
        if let Some(scale) = scales.iter().find(|scale| !scale.is_finite()) {
            return Err(Error::invalid_argument(format!("an adapter's scale cannot be {scale}")));
        }
        self.scales = scales.to_vec();
        Ok(())
    }

    /// The plan with the adapters in use.
    pub fn plan(&self) -> Plan {
        let mut plan = self.base.clone();
        let active: Vec<(&Adapter, f32)> = self
            .adapters
            .iter()
            .zip(self.scales.iter().copied())
            .filter(|(_, scale)| *scale != 0.0)
            .collect();
        if active.is_empty() {
            return plan;
        }
        plan.ops.clear();
        let mut added = Added { plan, slots: HashMap::new() };
        let mut ops = self.base.ops.as_slice();
        while let Some(op) = ops.first() {
            let count =
                ops.iter().take_while(|next| input(next).is_some() && input(next) == input(op)).count();
            let (run, rest) = ops.split_at(count.max(1));
            added.run(run, &active);
            ops = rest;
        }
        added.plan
    }
}

fn weight_name(adapter: usize, tensor: &str) -> String {
    format!("adapter {adapter}: {tensor}")
}

/// How a tensor is used.
#[derive(Clone, Copy, PartialEq)]
enum Use {
    Product,
    Table,
}

/// The slot that a product multiplies.
fn input(op: &Op) -> Option<SlotId> {
    match op {
        Op::MatMul { x, .. } => Some(*x),
        _ => None,
    }
}

/// A plan that grows by the ops of adapters.
struct Added {
    plan: Plan,
    /// Slots by width and number, which every run uses anew.
    slots: HashMap<(usize, usize), SlotId>,
}

/// The number of the slot for what is added; the others are of low ranks.
const SUM: usize = usize::MAX;

impl Added {
    /// Products of one input, or another op; then what adapters add. All that multiply the input come first: executors
    /// read it once.
    fn run(&mut self, run: &[Op], active: &[(&Adapter, f32)]) {
        self.plan.ops.extend_from_slice(run);
        let mut changes = vec![];
        for op in run {
            let (weight, out) = match *op {
                Op::MatMul { weight, out, .. } => (weight, out),
                Op::Embed { table, out, .. } => (table, out),
                _ => continue,
            };
            for (adapter, scale) in active {
                let Some(pair) = adapter.pairs.get(&weight) else { continue };
                let rank = self.plan.weight(pair.b).cols;
                let low = self.slot(rank, changes.len());
                let scale = scale * pair.scale;
                match *op {
                    Op::MatMul { x, .. } => {
                        self.plan.ops.push(Op::MatMul { weight: pair.a, bias: None, x, out: low });
                        changes.push((pair.b, low, Some(scale), out));
                    }
                    Op::Embed { scale: factor, .. } => {
                        self.plan.ops.push(Op::Embed { table: pair.a, scale: factor * scale, out: low });
                        changes.push((pair.b, low, None, out));
                    }
                    _ => {}
                }
            }
        }
        for (weight, low, scale, x) in changes {
            if let Some(scale) = scale {
                self.plan.ops.push(Op::Scale { by: Factor::Number(scale), x: low });
            }
            let y = self.slot(self.plan.slot(x), SUM);
            self.plan.ops.push(Op::MatMul { weight, bias: None, x: low, out: y });
            self.plan.ops.push(Op::Add { x, y });
        }
    }

    fn slot(&mut self, width: usize, number: usize) -> SlotId {
        *self.slots.entry((width, number)).or_insert_with(|| {
            self.plan.slots.push(width);
            SlotId(self.plan.slots.len() - 1)
        })
    }
}

/// Refuses what is no adapter of a model of `architecture`. Returns α; 0 stands for none.
fn read(architecture: &str, metadata: &Metadata) -> Result<f32> {
    let is = |key: &str, expected: &str| match metadata.require_str(key)? {
        found if found == expected => Ok(()),
        found => {
            let message = format!("an adapter of the model must have {expected:?} here, not {found:?}");
            Err(Error::invalid_model(message).key(key))
        }
    };
    is("general.type", "adapter")?;
    is("general.architecture", architecture)?;
    let kind = metadata.require_str("adapter.type")?;
    if kind != "lora" {
        let message = format!("adapters of type {kind:?} are not supported");
        return Err(Error::unsupported_model(message).key("adapter.type"));
    }
    if metadata.contains(INVOCATION) {
        let message = "adapters that begin with certain tokens are not supported";
        return Err(Error::unsupported_model(message).key(INVOCATION));
    }
    let alpha = metadata.f32(ALPHA).unwrap_or(0.0);
    if !alpha.is_finite() {
        return Err(Error::invalid_model(format!("{alpha} is no possible α")).key(ALPHA));
    }
    Ok(alpha)
}

/// Tensors by the name of the one that they change.
fn paired(tensors: &[TensorInfo]) -> Result<BTreeMap<&str, Tensors<'_>>> {
    let mut pairs: BTreeMap<&str, Tensors> = BTreeMap::new();
    for tensor in tensors {
        if let Some(target) = tensor.name.strip_suffix(".lora_a") {
            pairs.entry(target).or_default().a = Some(tensor);
        } else if let Some(target) = tensor.name.strip_suffix(".lora_b") {
            pairs.entry(target).or_default().b = Some(tensor);
        } else {
            let message = "the adapter has a tensor that is no part of a low rank: it cannot be used without";
            return Err(Error::unsupported_model(message).tensor(&tensor.name));
        }
    }
    Ok(pairs)
}
