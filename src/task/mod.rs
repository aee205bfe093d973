//! What models are used for beside generating text.

mod embed;

pub use embed::{Embedding, Pooling};
