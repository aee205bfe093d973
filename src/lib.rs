//! wisplm: small language models from GGUF files, in a browser tab.
//!
//! Data flows one way: bytes → [`gguf`] → [`model`] → [`plan`] → [`executor`] ([`cpu`] or [`gpu`]) ← [`runtime`],
//! [`task`], [`chat`] ← `web`. `docs/architecture.md` draws the rooms and says why they are as they are.

pub mod bytes;
pub mod chat;
pub mod cpu;
pub mod error;
pub mod executor;
pub mod gguf;
pub mod gpu;
pub mod loader;
pub mod model;
pub mod plan;
pub mod quant;
pub mod runtime;
pub mod selftest;
pub mod task;
pub mod tokenizer;
#[cfg(target_arch = "wasm32")]
mod web;
