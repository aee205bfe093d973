//! Model families: hyperparameters in, plan out. One file per family.

mod adapter;
mod bert;
mod decoder;
mod gemma;
mod gemma4;
mod hyper;
mod qwen35;
mod rope;

pub use adapter::Adapters;
pub use hyper::Hyper;

use crate::error::{Error, Result};
use crate::gguf::{Metadata, TensorInfo};
use crate::plan::Plan;

/// A family of models: the `general.architecture` that names it, and how it becomes a plan.
pub struct Family {
    pub architecture: &'static str,
    pub plan: fn(&Hyper, &[TensorInfo]) -> Result<Plan>,
}

/// Every family. Adding one is a file and a line here.
pub static FAMILIES: &[Family] = &[
    Family { architecture: "llama", plan: |hyper, tensors| decoder::plan(hyper, tensors, &decoder::LLAMA) },
    // Keys that only its files have tell Ministral 3 from Llama.
    Family {
        architecture: "mistral3",
        plan: |hyper, tensors| decoder::plan(hyper, tensors, &decoder::LLAMA),
    },
    Family { architecture: "qwen2", plan: |hyper, tensors| decoder::plan(hyper, tensors, &decoder::QWEN2) },
    Family { architecture: "qwen3", plan: |hyper, tensors| decoder::plan(hyper, tensors, &decoder::QWEN3) },
    Family {
        architecture: "smollm3",
        plan: |hyper, tensors| decoder::plan(hyper, tensors, &decoder::SMOLLM3),
    },
    Family { architecture: "phi3", plan: |hyper, tensors| decoder::plan(hyper, tensors, &decoder::PHI3) },
    Family { architecture: "gemma2", plan: |hyper, tensors| gemma::plan(hyper, tensors, &gemma::GEMMA2) },
    Family { architecture: "gemma3", plan: |hyper, tensors| gemma::plan(hyper, tensors, &gemma::GEMMA3) },
    Family { architecture: "gemma4", plan: gemma4::plan },
    Family { architecture: "qwen35", plan: qwen35::plan },
    Family { architecture: "bert", plan: bert::plan },
];

/// The plan of a model file, for sequences of up to `context_length` tokens (the model's own length, at most
/// [`hyper::DEFAULT_CONTEXT`], if `None`).
pub fn plan(metadata: &Metadata, tensors: &[TensorInfo], context_length: Option<usize>) -> Result<Plan> {
    let architecture = metadata.require_str("general.architecture")?;
    let Some(family) = FAMILIES.iter().find(|family| family.architecture == architecture) else {
        let known: Vec<_> = FAMILIES.iter().map(|family| family.architecture).collect();
        let message =
            format!("architecture {architecture:?} is not supported: this version runs {}", known.join(", "));
        return Err(Error::unsupported_model(message).key("general.architecture"));
    };
    let hyper = Hyper::read(architecture, metadata, context_length)?;
    (family.plan)(&hyper, tensors)
}
