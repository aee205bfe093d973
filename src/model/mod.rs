//! Model families: hyperparameters in, plan out. One file per family.

mod bert;
mod gemma3;
mod hyper;
mod llama;

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
    Family { architecture: "llama", plan: llama::plan },
    Family { architecture: "gemma3", plan: gemma3::plan },
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
