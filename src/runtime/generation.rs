//! The generate loop: prefill, then one token after the other, as text.

use super::check_input;
use super::options::Options;
use super::sampler::Sampler;
use super::stop::Stops;
use crate::cpu::{Cache, Executor};
use crate::error::{Error, Result};
use crate::plan::Head;
use crate::tokenizer::{Detokenizer, Tokenizer};

/// Why a generation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finish {
    /// The model ended it, or the stop text given here.
    Stop(Option<String>),
    /// `maxTokens` or the context's end.
    Length,
}

/// What an advance has brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// Tokens of the prompt that have been taken, and of how many.
    Prefill { done: usize, total: usize },
    /// One more token, and the text that it completes (perhaps none yet).
    Token { token: u32, text: String },
    /// The last text that was held back, and the reason.
    Finished { text: String, finish: Finish },
}

/// A generation in progress.
pub struct Generation {
    prompt: Vec<u32>,
    answer: Vec<u32>,
    limit: usize,
    ignore_eos: bool,
    cache: Cache,
    stepping: Option<usize>,
    logits: Vec<f32>,
    sampler: Sampler,
    detokenizer: Detokenizer,
    stops: Stops,
    finish: Option<Finish>,
}

impl Generation {
    /// Begins an answer to `prompt`. `random_seed` is used where the options give none.
    pub fn new(
        executor: &Executor,
        tokenizer: &Tokenizer,
        prompt: &[u32],
        options: &Options,
        random_seed: u32,
    ) -> Result<Self> {
        if let Head::Hidden { .. } = executor.plan().head {
            return Err(Error::unsupported_model(
                "this model is an encoder: it embeds texts and cannot generate them",
            ));
        }
        check_input(executor, prompt, 1)?;
        let room = executor.plan().context_length - prompt.len();
        let limit = options.max_tokens.map_or(room, |limit| (limit as usize).min(room));
        Ok(Generation {
            prompt: prompt.to_vec(),
            answer: Vec::new(),
            limit,
            ignore_eos: options.ignore_eos,
            cache: executor.new_cache(),
            stepping: None,
            logits: Vec::new(),
            sampler: Sampler::new(options, prompt, random_seed),
            detokenizer: tokenizer.detokenizer_after(prompt.last().copied()),
            stops: Stops::new(&options.stop),
            finish: (limit == 0).then_some(Finish::Length),
        })
    }

    /// Tokens of the prompt and of the answer so far.
    pub fn usage(&self) -> (usize, usize) {
        (self.prompt.len(), self.answer.len())
    }

    /// Bytes of its key/value cache.
    pub fn cache_bytes(&self) -> usize {
        self.cache.bytes()
    }

    /// Goes on until there is something to tell or `pause` says to stop.
    pub fn advance(
        &mut self,
        executor: &mut Executor,
        tokenizer: &Tokenizer,
        pause: &mut dyn FnMut() -> bool,
    ) -> Result<Progress> {
        if let Some(finish) = self.finish.clone() {
            let text = self.detokenizer.finish();
            let mut shown = self.stops.push(&text);
            if shown.stop.is_none() {
                shown.text += &self.stops.finish();
            }
            let finish = shown.stop.map_or(finish, |stop| Finish::Stop(Some(stop)));
            return Ok(Progress::Finished { text: shown.text, finish });
        }
        let total = self.prompt.len() + self.answer.len();
        while self.cache.len() < total {
            let done = self.cache.len();
            let count = match self.stepping {
                Some(count) => count,
                None => {
                    let count = executor.step_tokens(total - done);
                    let tokens: Vec<u32> =
                        self.prompt.iter().chain(&self.answer).skip(done).take(count).copied().collect();
                    executor.begin(&mut [(&mut self.cache, &tokens)])?;
                    *self.stepping.insert(count)
                }
            };
            if !executor.advance(&mut [&mut self.cache], pause)? {
                return Ok(self.prefill_progress());
            }
            self.stepping = None;
            if self.cache.len() < total {
                return Ok(self.prefill_progress());
            }
            executor.logits(count - 1..count, &mut self.logits)?;
        }
        let token = self.sampler.sample(&mut self.logits);
        if tokenizer.is_end(token) && !self.ignore_eos {
            self.finish = Some(Finish::Stop(None));
            return self.advance(executor, tokenizer, pause);
        }
        self.answer.push(token);
        let text = self.detokenizer.push(tokenizer, token);
        let shown = self.stops.push(&text);
        if let Some(stop) = shown.stop {
            self.finish = Some(Finish::Stop(Some(stop)));
            self.detokenizer = tokenizer.detokenizer();
        } else if self.answer.len() == self.limit {
            self.finish = Some(Finish::Length);
        }
        Ok(Progress::Token { token, text: shown.text })
    }

    fn prefill_progress(&self) -> Progress {
        Progress::Prefill { done: self.cache.len().min(self.prompt.len()), total: self.prompt.len() }
    }
}
