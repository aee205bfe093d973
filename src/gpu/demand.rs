//! What a model takes of the GPU, added up before any of its weights has come.

use super::choice::Chooser;
use super::device::Gpu;
use super::executor::{
    HEAD_ROWS, ROW_BYTES, STEP_TOKENS, angle_bytes, entry_bytes, range_bytes, share_bytes, total_bytes,
};
use super::kernels::Slot;
use super::sequence::{Layer, state_bytes};
use super::weights::bytes_of;
use crate::cpu::KvType;
use crate::error::{Error, Result};
use crate::gguf::TensorInfo;
use crate::plan::{Head, Plan};

/// Bytes on the GPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    pub weights: u64,
    /// Keys, values and states of a sequence that fills the context.
    pub cache: u64,
    /// Activations of a step, what kernels are told of it, its logits, and what these are read through or chosen with.
    pub work: u64,
    /// The largest buffer that is not split.
    pub largest: u64,
}

impl Demand {
    /// What `plan` takes, whose weights are in `tensors`.
    pub fn of<'a>(plan: &Plan, tensors: impl IntoIterator<Item = &'a TensorInfo>, kv_type: KvType) -> Self {
        let (rows, context) = (step_rows(plan), plan.context_length);
        let layers: Vec<Layer> =
            plan.caches.iter().map(|cache| Layer::new(cache, kv_type, context, rows)).collect();
        let caches = layers.iter().map(Layer::bytes).chain(plan.states.iter().map(|len| state_bytes(*len)));
        let slots = plan.slots.iter().map(|width| Slot::bytes(rows, *width));
        let results = match plan.head {
            Head::Logits { weight, .. } => {
                let vocabulary = plan.weight(weight).rows;
                [
                    Slot::bytes(HEAD_ROWS, vocabulary),
                    Slot::bytes(HEAD_ROWS, vocabulary),
                    Chooser::bytes(vocabulary),
                ]
            }
            Head::Hidden { x } | Head::Labels { x } => {
                [Slot::bytes(rows, plan.slot(x)), Slot::bytes(rows, plan.slot(x)), range_bytes(plan)]
            }
        };
        let angles = plan.ropes.iter().map(|rope| angle_bytes(rows, rope.frequencies.len()));
        let told = ROW_BYTES * rows as u64 + entry_bytes(rows) + angles.sum::<u64>();
        Demand {
            weights: tensors.into_iter().map(bytes_of).fold(0, u64::saturating_add),
            cache: caches.clone().sum(),
            work: slots.clone().sum::<u64>()
                + results.iter().sum::<u64>()
                + told
                + share_bytes(plan, &layers)
                + total_bytes(plan, rows),
            largest: caches.chain(slots).chain(results).max().unwrap_or(0),
        }
    }

    /// Refuses what is larger than a GPU's buffers. How much memory a GPU has in all, a browser does not tell.
    pub fn check(&self, gpu: &Gpu) -> Result<()> {
        let (Demand { weights, cache, work, largest }, limit) = (self, gpu.largest_binding());
        if *largest <= limit {
            return Ok(());
        }
        Err(Error::out_of_memory(format!(
            "the model takes {} bytes on the GPU (weights {weights}, keys and values {cache}, activations {work}), \
             {largest} of them in one buffer, and this GPU's buffers end at {limit}: choose a smaller contextLength or \
             kvType \"q8_0\", or load with device \"wasm\"",
            weights.saturating_add(cache + work)
        )))
    }
}

/// Rows of the largest step.
pub fn step_rows(plan: &Plan) -> usize {
    if plan.causal { STEP_TOKENS.min(plan.context_length) } else { plan.context_length }
}
