//! Embeddings: a vector for each text, pooled from an encoder's hidden states.

use crate::error::{Error, Result};
use crate::executor::{Cache, Executor};
use crate::gguf::Metadata;
use crate::plan::Head;
use crate::runtime::check_input;
use serde::Deserialize;
use std::ops::Range;

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
                Err(Error::unsupported_model(format!("pooling type {other} is not supported")).key(key))
            }
        }
    }

    /// Those of a text's rows whose mean is its vector.
    fn rows(self, text: Range<usize>) -> Range<usize> {
        match self {
            Pooling::Mean => text,
            Pooling::Cls => text.start..text.start + 1,
            Pooling::Last => text.end - 1..text.end,
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

/// A run of texts through an encoder, as many at a time as a step takes. What a text becomes does not depend on those
/// beside it.
pub struct Embedding {
    pooling: Pooling,
    normalize: bool,
    texts: Vec<Vec<u32>>,
    /// Of the texts in a step. They are used again.
    caches: Vec<Cache>,
    step: Step,
    means: Vec<f32>,
    vectors: Vec<Vec<f32>>,
}

/// How far the texts after those that have their vectors are.
#[derive(Clone, Copy)]
enum Step {
    /// The next step has not begun.
    Idle,
    /// A step over so many texts is under way.
    Running(usize),
    /// It is done, and its vectors are awaited.
    Done(usize),
}

impl Embedding {
    /// A run that embeds `texts`, given as their tokens.
    pub fn new(executor: &Executor, texts: Vec<Vec<u32>>, pooling: Pooling, normalize: bool) -> Result<Self> {
        let refusal = match executor.plan().head {
            Head::Hidden { .. } => return Self::begin(executor, texts, pooling, normalize),
            Head::Logits { .. } => "this model generates text: embed needs an encoder such as BERT",
            Head::Labels { .. } => "this model scores labels: embed needs an encoder without such a head",
        };
        Err(Error::unsupported_model(refusal))
    }

    /// A run whose vectors are the scores that a head gives its labels: the logits.
    pub fn of_head(executor: &Executor, texts: Vec<Vec<u32>>) -> Result<Self> {
        let Head::Labels { .. } = executor.plan().head else {
            return Err(Error::unsupported_model("this model has no head that scores labels"));
        };
        Self::begin(executor, texts, Pooling::Cls, false)
    }

    fn begin(executor: &Executor, texts: Vec<Vec<u32>>, pooling: Pooling, normalize: bool) -> Result<Self> {
        texts.iter().try_for_each(|tokens| check_input(executor, tokens, 0))?;
        let (caches, means, vectors) = Default::default();
        Ok(Embedding { pooling, normalize, texts, caches, step: Step::Idle, means, vectors })
    }

    /// Texts that have their vectors, and of how many.
    pub fn progress(&self) -> (usize, usize) {
        (self.vectors.len(), self.texts.len())
    }

    /// The vectors that are there, in the order of the texts.
    pub fn take_vectors(&mut self) -> Vec<Vec<f32>> {
        std::mem::take(&mut self.vectors)
    }

    /// Goes on until all vectors are there (true) or `pause` says to stop (false).
    pub fn advance(&mut self, executor: &mut Executor, pause: &mut dyn FnMut() -> bool) -> Result<bool> {
        while self.vectors.len() < self.texts.len() {
            let texts = &self.texts[self.vectors.len()..];
            match self.step {
                Step::Idle => {
                    let count = taken(texts, executor.step_rows());
                    while self.caches.len() < count {
                        self.caches.push(executor.new_cache());
                    }
                    self.caches.iter_mut().for_each(|cache| _ = cache.rewind(0));
                    let tokens = texts.iter().map(Vec::as_slice);
                    executor
                        .begin(&mut self.caches.iter_mut().zip(tokens).take(count).collect::<Vec<_>>())?;
                    self.step = Step::Running(count);
                }
                Step::Running(count) => {
                    let mut caches: Vec<_> = self.caches.iter_mut().take(count).collect();
                    if !executor.advance(&mut caches, pause)? {
                        return Ok(false);
                    }
                    self.step = Step::Done(count);
                }
                Step::Done(count) => {
                    let mut first = 0;
                    let ranges = texts[..count].iter().map(|tokens| {
                        first += tokens.len();
                        self.pooling.rows(first - tokens.len()..first)
                    });
                    let ranges: Vec<_> = ranges.collect();
                    if !executor.means(&ranges, self.normalize, &mut self.means)? {
                        return Ok(false);
                    }
                    let vectors = self.means.chunks_exact(executor.plan().embedding_length());
                    self.vectors.extend(vectors.map(<[f32]>::to_vec));
                    self.step = Step::Idle;
                }
            }
            if pause() {
                break;
            }
        }
        Ok(self.vectors.len() == self.texts.len())
    }
}

/// How many texts a step of `rows` rows takes: one at least.
fn taken(texts: &[Vec<u32>], rows: usize) -> usize {
    let mut sum = 0;
    let fits = |tokens: &&Vec<u32>| {
        sum += tokens.len();
        sum <= rows
    };
    texts.iter().take_while(fits).count().max(1)
}
