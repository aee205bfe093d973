//! Steps that are taken to be timed.

use super::{Cache, Executor};
use crate::error::Result;
use crate::plan::Head;

/// Tokens of a text that an encoder is tried on.
const TEXT: usize = 64;

/// Steps as the model's work has many: over one token of each of some sequences and to its logits, or for an encoder
/// over short texts.
pub struct Trial {
    caches: Vec<Cache>,
    tokens: Vec<u32>,
    logits: Vec<f32>,
}

impl Trial {
    /// Takes a first step, which allocates what the others find.
    pub fn new(executor: &mut Executor, sequences: usize) -> Result<Self> {
        let text = match executor.plan().head {
            Head::Logits { .. } => 1,
            _ => TEXT.min(executor.plan().context_length),
        };
        let caches = (0..sequences).map(|_| executor.new_cache()).collect();
        let mut trial = Trial { caches, tokens: vec![0; text], logits: vec![] };
        trial.step(executor)?;
        Ok(trial)
    }

    /// Takes a step. Each sequence begins anew.
    pub fn step(&mut self, executor: &mut Executor) -> Result<()> {
        for cache in &mut self.caches {
            cache.rewind(0);
        }
        let mut batch: Vec<(&mut Cache, &[u32])> =
            self.caches.iter_mut().map(|cache| (cache, &self.tokens[..])).collect();
        executor.begin(&mut batch)?;
        executor.advance(&mut self.caches.iter_mut().collect::<Vec<_>>(), &mut || false)?;
        match executor.plan().head {
            Head::Logits { .. } => executor.logits(0..self.caches.len(), &mut self.logits),
            _ => Ok(()),
        }
    }
}
