//! wisplm: small language models from GGUF files, in a browser tab.
//!
//! Data flows one way: bytes → [`gguf`] → [`model`] → [`plan`] → executor ([`cpu`]) ← [`runtime`] ← `web`.
//! `docs/architecture.md` draws the rooms and says why they are as they are.

pub mod error;
pub mod gguf;
pub mod tokenizer;
