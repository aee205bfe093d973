//! The GPU executor: runs a plan with compute shaders, on WebGPU in a browser and on Vulkan natively.
//!
//! A plan becomes two static lists of dispatches ([`program`]): a fused one for steps that take one token of each
//! sequence, and one with tiled products for all others. A step is one command buffer with one compute pass; nothing
//! is created for it. Weights lie in buffers as their bytes came, rearranged by a shader ([`weights`]).

/// The text of a kernel's file, without its comments: see `build.rs`.
macro_rules! wgsl {
    ($($name:literal),*) => {
        include_str!(concat!(env!("OUT_DIR"), "/", $($name,)* ".wgsl"))
    };
}

mod call;
mod choice;
mod demand;
mod device;
mod executor;
mod fault;
mod features;
mod formats;
mod kernels;
mod pipelines;
mod program;
mod readback;
mod room;
mod sequence;
mod trial;
mod tuning;
mod weights;

pub use choice::{Draw, lowest};
pub use demand::{Demand, step_rows};
pub use device::{Counts, Gpu};
pub use executor::{Executor, HEAD_ROWS};
pub use features::Features;
pub use kernels::Tile;
pub use readback::Signal;
pub use sequence::Cache;
pub use tuning::Tuning;
pub use weights::{Loading, Weights};
