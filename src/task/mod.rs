//! What models are used for beside generating text.

mod embed;
pub mod head;

pub use embed::{Embedding, Pooling};
