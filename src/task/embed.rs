//! Embeddings: a vector for each text, pooled from an encoder's hidden states.

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
                Err(Error::unsupported_model(format!("pooling type {other} is not supported")).key(key))
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

/// A run of texts through an encoder, as many at a time as a step takes. What a text becomes does not depend on those
/// beside it.
pub struct Embedding {
    pooling: Pooling,
    normalize: bool,
    texts: Vec<Vec<u32>>,
    /// Of the texts in a step. They are used again.
    caches: Vec<Cache>,
    step: Step,
    states: Vec<f32>,
    vectors: Vec<Vec<f32>>,
}

/// How far the texts after those that have their vectors are.
#[derive(Clone, Copy)]
enum Step {
    /// The next step has not begun.
    Idle,
    /// A step over so many texts is under way.
    Running(usize),
    /// It is done, and its states are awaited.
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
        let (caches, states, vectors) = Default::default();
        Ok(Embedding { pooling, normalize, texts, caches, step: Step::Idle, states, vectors })
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
                    let rows = texts[..count].iter().map(Vec::len).sum();
                    if !executor.hidden(0..rows, &mut self.states)? {
                        return Ok(false);
                    }
                    let width = executor.plan().embedding_length();
                    let mut first = 0;
                    for tokens in &texts[..count] {
                        let states = &self.states[first * width..][..tokens.len() * width];
                        self.vectors.push(self.pooling.pool(states, width, self.normalize));
                        first += tokens.len();
                    }
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

impl Pooling {
    /// The vector of a text with these states, one of `width` values for each token.
    fn pool(self, states: &[f32], width: usize, normalize: bool) -> Vec<f32> {
        let states = match self {
            Pooling::Cls => &states[..width],
            Pooling::Last => &states[states.len() - width..],
            Pooling::Mean => states,
        };
        let mut vector = vec![0.0; width];
        for state in states.chunks_exact(width) {
            vector.iter_mut().zip(state).for_each(|(sum, x)| *sum += x);
        }
        let count = (states.len() / width) as f32;
        vector.iter_mut().for_each(|sum| *sum /= count);
        if normalize {
            let length = simd::sum_of_squares(&vector).sqrt().max(1e-12);
            vector.iter_mut().for_each(|x| *x /= length);
        }
        vector
    }
}
