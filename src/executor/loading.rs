//! Weights on their way to an executor.

use super::Executor;
use crate::cpu::{self, Activations, KvType};
use crate::error::{Error, Result};
use crate::gguf::TensorInfo;
use crate::gpu::{self, Gpu};
use crate::plan::Plan;
use std::rc::Rc;

/// Weights on their way.
pub enum Loading {
    Cpu(cpu::Loading),
    Gpu(gpu::Loading),
}

impl Loading {
    pub fn cpu() -> Self {
        Loading::Cpu(cpu::Loading::default())
    }

    pub fn gpu(gpu: &Rc<Gpu>) -> Self {
        Loading::Gpu(gpu::Loading::new(gpu))
    }

    /// Gets ready for a plan with weights in `tensors`. Refused before a gigabyte is fetched in vain: formats, and
    /// types of keys and values, that cannot be computed with, and a model that is too large.
    pub fn prepare(
        &mut self,
        plan: &Plan,
        tensors: &[&TensorInfo],
        kv_type: KvType,
        activations: Activations,
    ) -> Result<()> {
        match self {
            Loading::Cpu(_) => {
                let bytes = tensors.iter().map(|tensor| cpu::Loading::bytes_of(tensor));
                addressable(bytes.sum::<Result<u64>>()?)
            }
            Loading::Gpu(loading) => {
                tensors.iter().try_for_each(|tensor| gpu::Loading::check(tensor))?;
                gpu::Demand::of(plan, tensors.iter().copied(), kv_type).check(loading.gpu())?;
                loading.prepare(plan, tensors, kv_type, activations)
            }
        }
    }

    /// Gets ready for a tensor that the plan did not know when it was prepared.
    pub fn reserve(&mut self, tensor: &TensorInfo) -> Result<()> {
        match self {
            Loading::Cpu(_) => cpu::Loading::check(tensor),
            Loading::Gpu(loading) => gpu::Loading::check(tensor).and_then(|()| loading.reserve(tensor)),
        }
    }

    /// Takes the bytes of `tensor` from `offset` on; they come in order.
    pub fn push(&mut self, tensor: &TensorInfo, offset: u64, bytes: &[u8]) -> Result<()> {
        match self {
            Loading::Cpu(loading) => loading.push(tensor, offset, bytes),
            Loading::Gpu(loading) => loading.push(tensor, offset, bytes),
        }
    }

    /// Times shapes of kernels on the weights, now that they are there; see [`gpu::Loading::tune`].
    pub async fn tune(&self, now: fn() -> f64) -> Result<Option<String>> {
        match self {
            Loading::Cpu(_) => Ok(None),
            Loading::Gpu(loading) => loading.tune(now).await,
        }
    }

    /// The executor of `plan`; what was collected beside its weights is dropped.
    pub fn finish(self, plan: Plan, kv_type: KvType, activations: Activations) -> Result<Executor> {
        Ok(match self {
            Loading::Cpu(loading) => {
                let weights = loading.finish(&plan)?;
                let executor = cpu::Executor::new(plan, weights)?.with_kv_type(kv_type);
                Executor::Cpu(Box::new(executor.with_activations(activations)))
            }
            Loading::Gpu(loading) => {
                let weights = loading.finish(&plan, activations)?;
                Executor::Gpu(Box::new(gpu::Executor::new(plan, weights, kv_type)?))
            }
        })
    }
}

fn addressable(weights: u64) -> Result<()> {
    match usize::try_from(weights) {
        Ok(_) => Ok(()),
        Err(_) => Err(Error::out_of_memory(format!(
            "the weights take {weights} bytes, and WebAssembly's memory ends at {}: choose a smaller model or \
             format, or load with device \"webgpu\"",
            usize::MAX
        ))),
    }
}
