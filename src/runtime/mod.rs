//! Running a model: sequences, sampling, stopping, the generate loop, scoring.
//!
//! A run is a state that is advanced a little at a time: [`Generation`], [`Score`], and `task::Embedding`. The
//! caller says when to pause, so it can stream, cancel and stay responsive without threads.

mod generation;
mod kept;
mod likelihood;
mod options;
mod permit;
mod random;
mod sampler;
mod saved;
mod score;
mod stop;

pub use generation::{Finish, Generation, Progress, Usage, slide};
pub use kept::{Kept, Sequence};
pub use likelihood::Likelihood;
pub use options::{Onset, Options};
pub use sampler::Sampler;
pub use saved::Saving;
pub use score::{Score, log_probability};

use crate::error::{Code, Error, Result};
use crate::executor::Executor;

/// Refuses a sequence that has no tokens, tokens that the model does not know, or more than the context holds with
/// `room` left.
pub(crate) fn check_input(executor: &Executor, tokens: &[u32], room: usize) -> Result<()> {
    let context = executor.plan().context_length;
    if tokens.is_empty() {
        return Err(Error::invalid_argument("the input has no tokens"));
    }
    if tokens.len() + room > context {
        let message = format!(
            "the input has {} tokens and the context holds {context}: shorten it, or load with a larger contextLength",
            tokens.len()
        );
        return Err(Error::new(Code::ContextOverflow, message));
    }
    executor.plan().check_tokens(tokens)
}
