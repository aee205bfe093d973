//! What models are used for beside generating text.

mod answers;
mod classify;
mod embed;
pub mod head;

pub use answers::{Answers, Prefix, Query};
pub use classify::{Classification, Kept, Prompting, Task};
pub use embed::{Embedding, Pooling};
