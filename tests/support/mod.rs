//! What several test binaries share; each uses a part of it.
#![allow(dead_code)]

pub mod draft;
pub mod formats;
pub mod gguf_writer;
pub mod gpu;
pub mod memory;
pub mod mixtures;
pub mod models;
pub mod numbers;
pub mod products;
pub mod scores;
pub mod shapes;
pub mod team;
