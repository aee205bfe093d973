//! Following an answer: what may come next, what has to.

use crate::error::{Code, Error, Result};
use llguidance::TokenParser;
use toktrie::TokenId;

/// An answer in progress.
pub struct Matcher {
    inner: llguidance::Matcher,
}

impl Matcher {
    pub(crate) fn new(parser: TokenParser) -> Result<Self> {
        let mut matcher = Matcher { inner: llguidance::Matcher::new(Ok(parser)) };
        if matcher.mask()?.iter().all(|word| *word == 0) {
            return Err(Error::new(
                Code::ConstraintUnsatisfiable,
                "format: no answer of the model's tokens has this form",
            ));
        }
        Ok(matcher)
    }

    /// The tokens that may come next, a bit each: token `t` is bit `t % 32` of word `t / 32`.
    pub fn mask(&mut self) -> Result<Vec<u32>> {
        let mask = self.inner.compute_mask_or_eos().map_err(broken)?;
        Ok(mask.as_slice().to_vec())
    }

    /// Tokens that come next whatever the model would choose, and which the answer is now taken to go on with: how its
    /// tokenizer would split the only text there can be.
    pub fn force(&mut self) -> Result<Vec<TokenId>> {
        let forced = self.inner.compute_ff_tokens();
        self.take(&forced)?;
        Ok(forced)
    }

    /// Goes on by tokens of the answer.
    pub fn take(&mut self, tokens: &[TokenId]) -> Result<()> {
        self.inner.consume_tokens(tokens).map_err(broken)
    }

    /// Whether the answer is complete, and nothing can be added to it.
    pub fn is_finished(&self) -> bool {
        self.inner.is_stopped()
    }
}

fn broken(error: anyhow::Error) -> Error {
    Error::new(Code::Internal, format!("format: the answer cannot be followed: {error:#}"))
}
