//! Constrained decoding: which tokens may come next, so that a model's answer has a given form.
//!
//! A [`Format`] (a JSON Schema, a regular expression, choices, a grammar) is compiled for a [`Vocabulary`] into a
//! [`Matcher`], which follows an answer token by token. The work is llguidance's.
//!
//! This is a WebAssembly module of its own, which a page downloads with the first request that has a format. It is
//! also a wall: a format may be hostile, and what traps here leaves the engine as it is.

mod error;
mod finite;
mod format;
mod matcher;
mod vocabulary;
#[cfg(target_arch = "wasm32")]
mod web;

pub use error::{Code, Error, Result};
pub use format::Format;
pub use matcher::Matcher;
pub use vocabulary::{Tokenize, Vocabulary};
