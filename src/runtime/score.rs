//! The log-probability of each token of a sequence, given those before it.

use super::check_input;
use crate::cpu::simd;
use crate::error::{Error, Result};
use crate::executor::{Cache, Executor};
use crate::plan::Head;

/// A scoring run.
pub struct Score {
    tokens: Vec<u32>,
    cache: Cache,
    stage: Stage,
    logits: Vec<f32>,
    logprobs: Vec<Option<f32>>,
}

enum Stage {
    /// The next step has not begun.
    Idle,
    /// A step over this many tokens is under way.
    Step(usize),
    /// The step over `count` tokens is done; its rows from `row` on await their logits.
    Head { row: usize, count: usize },
}

impl Score {
    pub fn new(executor: &Executor, tokens: &[u32]) -> Result<Self> {
        let Head::Logits { .. } = executor.plan().head else {
            return Err(Error::unsupported_model(
                "this model is an encoder: it embeds texts and cannot score them",
            ));
        };
        check_input(executor, tokens, 0)?;
        let cache = executor.new_cache();
        Ok(Score { tokens: tokens.to_vec(), cache, stage: Stage::Idle, logits: vec![], logprobs: vec![None] })
    }

    /// Tokens scored so far, and of how many.
    pub fn progress(&self) -> (usize, usize) {
        (self.logprobs.len(), self.tokens.len())
    }

    /// Natural logarithms, the first `None`.
    pub fn logprobs(&self) -> &[Option<f32>] {
        &self.logprobs
    }

    /// Goes on until done (true) or told to pause (false).
    pub fn advance(&mut self, executor: &mut Executor, pause: &mut dyn FnMut() -> bool) -> Result<bool> {
        while self.logprobs.len() < self.tokens.len() {
            let done = self.cache.len();
            match self.stage {
                Stage::Idle => {
                    let count = executor.step_tokens(self.tokens.len() - done);
                    executor.begin(&mut [(&mut self.cache, &self.tokens[done..done + count])])?;
                    self.stage = Stage::Step(count);
                }
                Stage::Step(count) => {
                    if !executor.advance(&mut [&mut self.cache], pause)? {
                        return Ok(false);
                    }
                    self.stage = Stage::Head { row: 0, count };
                }
                Stage::Head { row, count } if row < count => {
                    let rows = row..count.min(row + executor.head_rows());
                    if !executor.logits(rows.clone(), &mut self.logits)? {
                        return Ok(false);
                    }
                    let vocabulary = self.logits.len() / rows.len();
                    let next = &self.tokens[done - count + row + 1..];
                    for (logits, next) in self.logits.chunks_exact(vocabulary).zip(next) {
                        self.logprobs.push(Some(log_probability(logits, *next)));
                    }
                    self.stage = Stage::Head { row: rows.end, count };
                }
                Stage::Head { .. } => self.stage = Stage::Idle,
            }
            if pause() {
                break;
            }
        }
        Ok(self.logprobs.len() == self.tokens.len())
    }
}

/// ln softmax(logits)[token].
pub fn log_probability(logits: &[f32], token: u32) -> f32 {
    (f64::from(logits[token as usize]) - log_normalizer(logits)) as f32
}

/// ln Σ exp(logit): what a logit has over the logarithm of its token's probability.
pub fn log_normalizer(logits: &[f32]) -> f64 {
    let maximum = simd::maximum(logits);
    let (fours, rest) = logits.as_chunks::<4>();
    let shift = simd::splat_f32(maximum);
    let mut sum = 0.0_f64;
    // Sums of 1024 in f32, of those in f64: a vocabulary of 262 k loses no digit.
    for run in fours.chunks(256) {
        let mut lanes = simd::splat_f32(0.0);
        for four in run {
            lanes = simd::add_f32(lanes, simd::exp(simd::sub_f32(simd::load_f32(four, 0), shift)));
        }
        sum += f64::from(simd::sum_f32(lanes));
    }
    sum += rest.iter().map(|logit| f64::from(logit - maximum).exp()).sum::<f64>();
    f64::from(maximum) + sum.ln()
}

#[cfg(test)]
mod tests {
    use super::log_probability;

    #[test]
    fn equals_the_plain_formula() {
        let logits: Vec<f32> = (0..5003).map(|k| ((k * 31 % 997) as f32) / 50.0 - 10.0).collect();
        let sum: f64 = logits.iter().map(|l| f64::from(*l).exp()).sum();
        for token in [0, 1, 2500, 5002] {
            let want = f64::from(logits[token as usize]) - sum.ln();
            assert!((f64::from(log_probability(&logits, token)) - want).abs() < 2e-6);
        }
    }
}
