//! Embeddings: one vector for a text, pooled from an encoder's hidden states.

use crate::cpu::simd;
use crate::error::{Error, Result};
use crate::executor::{Cache, Executor};
use crate::gguf::Metadata;
use crate::plan::Head;
use crate::runtime::check_input;
use serde::Deserialize;

/// How the hidden states of a text become one vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pooling {
    /// The mean over all tokens.
    Mean,
    /// The first token's.
    Cls,
    /// The last token's.
    Last,
}

impl Pooling {
    /// What the model was made for: `<architecture>.pooling_type`, mean if it says none.
    pub fn of(metadata: &Metadata) -> Result<Self> {
        let key = format!("{}.pooling_type", metadata.require_str("general.architecture")?);
        match metadata.u32(&key) {
            None | Some(0 | 1) => Ok(Pooling::Mean),
            Some(2) => Ok(Pooling::Cls),
            Some(3) => Ok(Pooling::Last),
            Some(other) => {
                let message =
                    format!("pooling type {other} is not supported: this version embeds, it does not rank");
                Err(Error::unsupported_model(message).key(key))
            }
        }
    }

    /// The name that the page sees.
    pub fn as_str(self) -> &'static str {
        match self {
            Pooling::Mean => "mean",
            Pooling::Cls => "cls",
            Pooling::Last => "last",
        }
    }
}

/// An embedding run.
pub struct Embedding {
    pooling: Pooling,
    normalize: bool,
    tokens: usize,
    cache: Cache,
    /// The step is done, and the states are awaited.
    done: bool,
    states: Vec<f32>,
}

impl Embedding {
    pub fn new(executor: &mut Executor, tokens: &[u32], pooling: Pooling, normalize: bool) -> Result<Self> {
        if let Head::Logits { .. } = executor.plan().head {
            return Err(Error::unsupported_model(
                "this model generates text: embed needs an encoder such as BERT",
            ));
        }
        check_input(executor, tokens, 0)?;
        let mut cache = executor.new_cache();
        executor.begin(&mut [(&mut cache, tokens)])?;
        Ok(Embedding { pooling, normalize, tokens: tokens.len(), cache, done: false, states: vec![] })
    }

    /// Goes on until the vector is there or `pause` says to stop.
    pub fn advance(
        &mut self,
        executor: &mut Executor,
        pause: &mut dyn FnMut() -> bool,
    ) -> Result<Option<Vec<f32>>> {
        if !self.done && !executor.advance(&mut [&mut self.cache], pause)? {
            return Ok(None);
        }
        self.done = true;
        let rows = match self.pooling {
            Pooling::Cls => 0..1,
            Pooling::Last => self.tokens - 1..self.tokens,
            Pooling::Mean => 0..self.tokens,
        };
        let count = rows.len();
        if !executor.hidden(rows, &mut self.states)? {
            return Ok(None);
        }
        let mut vector = vec![0.0; executor.plan().embedding_length()];
        for state in self.states.chunks_exact(vector.len()) {
            vector.iter_mut().zip(state).for_each(|(sum, x)| *sum += x);
        }
        vector.iter_mut().for_each(|sum| *sum /= count as f32);
        if self.normalize {
            let length = simd::sum_of_squares(&vector).sqrt().max(1e-12);
            vector.iter_mut().for_each(|x| *x /= length);
        }
        Ok(Some(vector))
    }
}
