//! What several test binaries share; each uses a part of it.
#![allow(dead_code)]

pub mod attention_cases;
pub mod draft;
pub mod formats;
pub mod gguf_writer;
pub mod gpu;
pub mod memory;
pub mod mixtures;
pub mod models;
pub mod numbers;
pub mod op_cases;
pub mod ops;
pub mod oracles;
pub mod product_cases;
pub mod products;
pub mod recurrence_cases;
pub mod scores;
pub mod shapes;
pub mod team;
