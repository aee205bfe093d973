//! The generate loop: prefill, then one token after the other, as text.

use super::check_input;
use super::kept::Sequence;
use super::likelihood::Likelihood;
use super::options::Options;
use super::permit::Permit;
use super::sampler::Sampler;
use super::stop::Stops;
use crate::error::{Error, Result};
use crate::executor::{Cache, Executor};
use crate::plan::Head;
use crate::tokenizer::{Detokenizer, Tokenizer};
use std::ops::Range;

/// Why a generation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finish {
    /// The model ended it, or the stop text given here.
    Stop(Option<String>),
    /// `maxTokens` or the context's end.
    Length,
}

/// What an advance has brought.
#[derive(Debug, Clone, PartialEq)]
pub enum Progress {
    /// Tokens of the prompt that have been taken, and of how many.
    Prefill { done: usize, total: usize },
    /// Nothing yet: the GPU is at work on the next token, or it is not said yet what that may be.
    Waiting,
    /// One more token, the text that it completes (perhaps none yet), and, if that is wanted, how likely it was.
    Token { token: u32, text: String, likelihood: Option<Likelihood> },
    /// The last text that was held back, and the reason.
    Finished { text: String, finish: Finish },
}

/// How many tokens a generation has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Usage {
    pub prompt: usize,
    /// Those of the prompt that did not have to be computed.
    pub cached: usize,
    pub answer: usize,
    /// Those that have slid out of the context since it began.
    pub slid: usize,
}

/// How many of `tokens` tokens go, after the first `head`, so that the rest takes three quarters of a context: room for
/// some turns, until all has to be computed again. Positions count from the start of the context, so what is left of a
/// sequence lies elsewhere then, and no cache holds it.
pub fn slide(head: usize, tokens: usize, context: usize) -> usize {
    tokens.saturating_sub(context * 3 / 4).min(tokens.saturating_sub(head + 1))
}

/// A generation in progress.
pub struct Generation {
    prompt: Vec<u32>,
    answer: Vec<u32>,
    vocabulary: usize,
    limit: usize,
    ignore_eos: bool,
    /// How many of the likeliest tokens are told beside each.
    logprobs: Option<usize>,
    permit: Permit,
    /// Tokens of prompt and answer that have slid out of the context.
    slid: Range<usize>,
    slides: bool,
    cache: Cache,
    /// Tokens of the prompt that the cache has held from the start.
    cached: usize,
    /// Where the sequence is forked.
    points: Vec<usize>,
    forks: Vec<Cache>,
    stage: Stage,
    logits: Vec<f32>,
    sampler: Sampler,
    detokenizer: Detokenizer,
    stops: Stops,
    finish: Option<Finish>,
}

enum Stage {
    /// The next step has not begun.
    Idle,
    /// A step over this many tokens is under way.
    Step(usize),
    /// The step, whose last row is this, is done.
    Row(usize),
    /// The logits of that row are awaited.
    Head(usize),
    /// The executor chooses the tokens, and goes on with them before they are known here.
    Chosen,
    /// The executor chooses the tokens, one at a time, as it is said what they may be. Whether it was asked for one.
    Led(bool),
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
        let Head::Logits { weight, .. } = executor.plan().head else {
            return Err(Error::unsupported_model(
                "this model is an encoder: it embeds texts and cannot generate them",
            ));
        };
        check_input(executor, prompt, 1)?;
        let room = executor.plan().context_length - prompt.len();
        let limit = options.max_tokens.map_or(room, |limit| (limit as usize).min(room));
        Ok(Generation {
            prompt: prompt.to_vec(),
            answer: Vec::new(),
            vocabulary: executor.plan().weight(weight).rows,
            limit,
            ignore_eos: options.ignore_eos,
            logprobs: options.logprobs.map(|n| n as usize),
            permit: Permit::Any,
            slid: 0..0,
            slides: false,
            cache: executor.new_cache(),
            cached: 0,
            points: vec![],
            forks: vec![],
            stage: Stage::Idle,
            logits: Vec::new(),
            sampler: Sampler::new(options, prompt, random_seed),
            detokenizer: tokenizer.detokenizer_after(prompt.last().copied()),
            stops: Stops::new(&options.stop),
            finish: (limit == 0).then_some(Finish::Length),
        })
    }

    /// Begins where a cache ends that holds the prompt's first tokens, if not all of them.
    pub fn after(mut self, cache: Cache) -> Self {
        self.cached = cache.len();
        self.cache = cache;
        self
    }

    /// Has the sequence forked where it has these numbers of tokens, in rising order: see [`Generation::into_sequences`].
    pub fn forked_at(mut self, points: Vec<usize>) -> Self {
        self.points = points;
        self
    }

    /// Has the answer go on where the context is full: without what comes after the first `head` tokens, computing the
    /// rest anew as [`slide`] says. Only `maxTokens` ends it then.
    pub fn sliding(mut self, head: usize, options: &Options) -> Self {
        self.limit = options.max_tokens.map_or(usize::MAX, |limit| limit as usize);
        self.finish = (self.limit == 0).then_some(Finish::Length);
        (self.slides, self.slid) = (true, head..head);
        self
    }

    /// How many tokens there are.
    pub fn usage(&self) -> Usage {
        let (prompt, answer) = (self.prompt.len(), self.answer.len());
        Usage { prompt, cached: self.cached, answer, slid: self.slid.len() }
    }

    /// What is stored of it, to begin other runs with: where it was forked, and at its end.
    pub fn into_sequences(mut self) -> Vec<Sequence> {
        let tokens: Vec<u32> = self.tokens().collect();
        // What was taken ahead is not known here.
        let known = self.cache.len().min(tokens.len());
        let end = self.cache.rewind(known).then_some(self.cache);
        self.forks.into_iter().chain(end).map(|cache| Sequence::new(&tokens, cache)).collect()
    }

    /// Tokens of the prompt and of the answer so far that are in the context.
    fn tokens(&self) -> impl Iterator<Item = u32> {
        let all = self.prompt.iter().chain(&self.answer).copied().enumerate();
        all.filter(|(index, _)| !self.slid.contains(index)).map(|(_, token)| token)
    }

    /// Bytes of its key/value cache.
    pub fn cache_bytes(&self) -> u64 {
        self.cache.bytes() + self.forks.iter().map(Cache::bytes).sum::<u64>()
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
        self.slide(executor);
        let total = self.total();
        let (token, likelihood) = loop {
            match self.stage {
                Stage::Idle => {
                    let done = self.cache.len();
                    let point = self.points.iter().find(|point| **point > done);
                    let count = executor.step_tokens(point.map_or(total, |point| total.min(*point)) - done);
                    let tokens: Vec<u32> = self.tokens().skip(done).take(count).collect();
                    executor.begin(&mut [(&mut self.cache, &tokens)])?;
                    self.stage = Stage::Step(count);
                }
                Stage::Step(count) => {
                    if !executor.advance(&mut [&mut self.cache], pause)? {
                        return Ok(self.prefill_progress());
                    }
                    if self.points.contains(&self.cache.len()) {
                        self.forks.push(executor.fork(&self.cache)?);
                    }
                    if self.cache.len() < total {
                        self.stage = Stage::Idle;
                        return Ok(self.prefill_progress());
                    }
                    self.stage = Stage::Row(count - 1);
                    if !self.permit.is_any() {
                        executor.make_logits(count - 1)?;
                    }
                }
                Stage::Row(_) if self.awaits_permit() => return Ok(Progress::Waiting),
                Stage::Row(row) => self.stage = self.choose(executor, row)?.unwrap_or(Stage::Head(row)),
                Stage::Head(row) => {
                    if !executor.logits(row..row + 1, &mut self.logits)? {
                        return Ok(Progress::Waiting);
                    }
                    self.stage = Stage::Idle;
                    break self.sample();
                }
                // Another run came between, or the form begins here: what was chosen since the last token that is known
                // here is lost.
                Stage::Chosen if !self.permit.is_any() => self.go_back()?,
                Stage::Chosen | Stage::Led(_) if !executor.is_chosen_for(&self.cache) => self.go_back()?,
                Stage::Chosen => {
                    self.go_ahead(executor)?;
                    let Some(token) = executor.chosen()? else { return Ok(Progress::Waiting) };
                    self.sampler.note(token);
                    break (token, None);
                }
                Stage::Led(true) => {
                    if self.answer.len() + 1 < self.limit
                        && self.cache.len() == total
                        && total < executor.plan().context_length
                    {
                        executor.go_on(&mut self.cache)?;
                    }
                    let Some(token) = executor.chosen()? else { return Ok(Progress::Waiting) };
                    self.sampler.note(token);
                    self.permit.used();
                    self.stage = Stage::Led(false);
                    break (token, None);
                }
                Stage::Led(false) => {
                    // Mostly it was begun before the token was known.
                    if self.cache.len() < total && !executor.go_on(&mut self.cache)? {
                        return Err(Error::internal(
                            "a token is known, and the step that takes it has to wait",
                        ));
                    }
                    if self.awaits_permit() {
                        return Ok(Progress::Waiting);
                    }
                    self.stage = Stage::Row(0);
                }
            }
        };
        if tokenizer.is_end(token) && !self.ignore_eos {
            self.finish = Some(Finish::Stop(None));
            return self.advance(executor, tokenizer, pause);
        }
        Ok(Progress::Token { token, text: self.take(tokenizer, token), likelihood })
    }

    /// The token that the logits give, and how likely it was before options and form had their say.
    fn sample(&mut self) -> (u32, Option<Likelihood>) {
        let plain = self.logprobs.map(|n| (self.logits.clone(), n));
        let token = match self.permit.mask() {
            Some(allowed) => self.sampler.sample_among(&mut self.logits, allowed),
            None => self.sampler.sample(&mut self.logits),
        };
        self.permit.used();
        (token, plain.map(|(logits, n)| Likelihood::of(&logits, token, n)))
    }

    /// Whether the answer has a form from here on, or no longer. If so, each token waits for [`Self::allow`].
    pub fn set_formed(&mut self, formed: bool) {
        match formed {
            true if self.permit.is_any() => self.permit = Permit::Awaited,
            true => {}
            false => self.permit = Permit::Any,
        }
    }

    /// Whether it is to be said what the next token may be.
    pub fn awaits_permit(&self) -> bool {
        self.permit.is_awaited() && self.finish.is_none()
    }

    /// Says what the next token may be: a bit for each. Refused if it may be none.
    pub fn allow(&mut self, allowed: &[u32]) -> Result<()> {
        self.permit = Permit::of(allowed, self.vocabulary)?;
        Ok(())
    }

    /// Ends the answer, whose form is complete.
    pub fn complete(&mut self) {
        self.finish.get_or_insert(Finish::Stop(None));
    }

    /// Goes on by tokens that nobody needs to choose: those of an answer that was begun elsewhere, or that its form
    /// prescribes. `see` is told what text each of them has completed.
    pub fn follow(&mut self, tokenizer: &Tokenizer, tokens: &[u32], mut see: impl FnMut(u32, &str)) {
        if !tokens.is_empty() && matches!(self.stage, Stage::Row(_) | Stage::Head(_) | Stage::Led(_)) {
            self.stage = Stage::Idle;
        }
        for token in tokens {
            if self.finish.is_some() {
                return;
            }
            self.sampler.note(*token);
            see(*token, &self.take(tokenizer, *token));
        }
    }

    /// Takes a token of the answer: the text that can be shown then.
    fn take(&mut self, tokenizer: &Tokenizer, token: u32) -> String {
        self.answer.push(token);
        let text = self.detokenizer.push(tokenizer, token);
        let shown = self.stops.push(&text);
        if let Some(stop) = shown.stop {
            self.finish = Some(Finish::Stop(Some(stop)));
            self.detokenizer = tokenizer.detokenizer();
        } else if self.answer.len() == self.limit {
            self.finish = Some(Finish::Length);
        }
        shown.text
    }

    /// Has the executor choose the token after row `row`, if it can do it as the options want: what comes then.
    fn choose(&self, executor: &mut Executor, row: usize) -> Result<Option<Stage>> {
        // Probabilities are told of the logits.
        if self.logprobs.is_some() {
            return Ok(None);
        }
        let draw = self.sampler.parameters(0);
        // It has counted the tokens that it has chosen itself.
        let told = !draw.adjusts || executor.is_chosen_for(&self.cache);
        let adjustments = (!told).then(|| self.sampler.adjustments(self.vocabulary));
        let mask = self.permit.mask();
        let stage = if mask.is_some() { Stage::Led(true) } else { Stage::Chosen };
        let chosen = executor.choose(row, &draw, adjustments.as_deref(), mask)?;
        Ok(chosen.then_some(stage))
    }

    /// Goes back to the last token that is known here, to take it again.
    fn go_back(&mut self) -> Result<()> {
        if !self.cache.rewind(self.total() - 1) {
            return Err(Error::internal("a sequence cannot go back over what was taken ahead"));
        }
        self.stage = Stage::Idle;
        Ok(())
    }

    /// Has the executor take the tokens it has chosen, as far as it can.
    fn go_ahead(&mut self, executor: &mut Executor) -> Result<()> {
        loop {
            let ahead = self.cache.len() + 1 - self.total();
            if self.answer.len() + ahead >= self.limit || self.cache.len() == executor.plan().context_length {
                return Ok(());
            }
            if !executor.follow(&mut self.cache, &self.sampler.parameters(ahead))? {
                return Ok(());
            }
        }
    }

    fn prefill_progress(&self) -> Progress {
        Progress::Prefill { done: self.cache.len().min(self.prompt.len()), total: self.prompt.len() }
    }

    /// Tokens in the context.
    fn total(&self) -> usize {
        self.prompt.len() + self.answer.len() - self.slid.len()
    }

    /// Makes room where the last token does not fit into the context.
    fn slide(&mut self, executor: &Executor) {
        let context = executor.plan().context_length;
        if !self.slides || self.total() <= context {
            return;
        }
        let gone = slide(self.slid.start, self.total(), context);
        self.slid.end += gone;
        self.cache = executor.new_cache();
        // What was stored before is of other tokens.
        self.points.clear();
        self.forks.clear();
        self.stage = Stage::Idle;
    }
}
