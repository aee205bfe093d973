//! How likely given answers to prompts are: what the prompts have in common is computed once, and many prompts and
//! answers go through the model together.
//!
//! A prompt is a strand: a fork of the common beginning, and the tokens that follow. An answer of several tokens is a
//! strand too, forked from its prompt's end; the first token of each answer is read off the prompt's last row.

use crate::error::{Error, Result};
use crate::executor::{Cache, Executor};
use crate::plan::Head;
use crate::runtime::{check_input, log_probability};
use std::collections::VecDeque;
use std::rc::Rc;

/// A prompt, and what may follow it.
pub struct Query {
    pub prompt: Vec<u32>,
    /// At least one token each.
    pub answers: Rc<[Vec<u32>]>,
}

impl Query {
    /// Refuses what does not fit into the context, and an answer of no tokens.
    pub fn check(&self, executor: &Executor) -> Result<()> {
        if self.answers.iter().any(Vec::is_empty) {
            return Err(Error::invalid_argument("a label has no tokens"));
        }
        let longest = self.answers.iter().map(Vec::len).max().unwrap_or(0);
        check_input(executor, &self.prompt, longest)
    }
}

/// The beginning that prompts have in common, and its keys and values.
#[derive(Clone)]
pub struct Prefix {
    tokens: Vec<u32>,
    cache: Rc<Cache>,
}

/// A run over queries.
pub struct Answers {
    queries: Vec<Query>,
    prefix: Prefix,
    /// What is still to be computed, in order.
    strands: VecDeque<Strand>,
    /// The rows of the step in progress: how many of each of the first strands' tokens.
    step: Vec<usize>,
    stage: Stage,
    logits: Vec<f32>,
    logprobs: Vec<Vec<f32>>,
    done: usize,
}

struct Strand {
    /// What it is forked from when its turn comes.
    base: Rc<Cache>,
    /// How much of that.
    shared: usize,
    cache: Option<Cache>,
    query: usize,
    tokens: Vec<u32>,
    /// The answer that its tokens are, less the last one; a prompt's strand has none.
    answer: Option<usize>,
}

enum Stage {
    Idle,
    Running,
    /// The step is done; the rows from `at` on are still to be read, each with whose it is.
    Reading {
        rows: Vec<Row>,
        at: usize,
    },
}

/// A row whose logits are wanted: it is the `token`-th of strand `strand`.
struct Row {
    row: usize,
    strand: usize,
    token: usize,
}

impl Strand {
    /// How many of its tokens are computed.
    fn fed(&self) -> usize {
        self.cache.as_ref().map_or(0, |cache| cache.len() - self.shared)
    }
}

impl Answers {
    /// A run over `queries`, which goes on from as much of `prefix` as all prompts begin with.
    pub fn new(executor: &mut Executor, queries: Vec<Query>, prefix: Option<Prefix>) -> Result<Self> {
        let Head::Logits { .. } = executor.plan().head else {
            return Err(Error::unsupported_model(
                "this model does not generate text: it cannot score answers",
            ));
        };
        queries.iter().try_for_each(|query| query.check(executor))?;
        let kept = prefix.map(|prefix| prefix.cut_for(&queries, executor)).transpose()?.flatten();
        let mut strands = VecDeque::new();
        let prefix = kept.unwrap_or_else(|| Prefix {
            tokens: common(&queries).to_vec(),
            cache: Rc::new(executor.new_cache()),
        });
        if prefix.cache.is_empty() && !prefix.tokens.is_empty() {
            // The beginning is a strand of nobody's.
            strands.push_back(Strand {
                base: Rc::clone(&prefix.cache),
                shared: 0,
                cache: None,
                query: usize::MAX,
                tokens: prefix.tokens.clone(),
                answer: None,
            });
        }
        let logprobs = queries.iter().map(|query| vec![0.0; query.answers.len()]).collect();
        let mut run = Answers {
            queries,
            prefix,
            strands,
            step: Vec::new(),
            stage: Stage::Idle,
            logits: Vec::new(),
            logprobs,
            done: 0,
        };
        if run.strands.is_empty() {
            run.queue_prompts();
        }
        Ok(run)
    }

    /// Prompts whose answers are all scored, and of how many.
    pub fn progress(&self) -> (usize, usize) {
        (self.done, self.queries.len())
    }

    /// The natural logarithm of each answer's probability after its prompt; and what may be handed to the next run.
    pub fn finish(self) -> (Vec<Vec<f32>>, Prefix) {
        (self.logprobs, self.prefix)
    }

    /// Goes on until done (true) or told to pause (false).
    pub fn advance(&mut self, executor: &mut Executor, pause: &mut dyn FnMut() -> bool) -> Result<bool> {
        while !self.strands.is_empty() {
            match &self.stage {
                Stage::Idle => self.begin(executor)?,
                Stage::Running => {
                    let caches = self.strands.iter_mut().take(self.step.len());
                    let mut caches: Vec<&mut Cache> =
                        caches.filter_map(|strand| strand.cache.as_mut()).collect();
                    if !executor.advance(&mut caches, pause)? {
                        return Ok(false);
                    }
                    self.stage = Stage::Reading { rows: self.rows(), at: 0 };
                }
                Stage::Reading { rows, at } if *at < rows.len() => {
                    let end = rows.len().min(at + executor.scattered_rows());
                    let wanted: Vec<usize> = rows[*at..end].iter().map(|row| row.row).collect();
                    if !executor.scattered_logits(&wanted, &mut self.logits)? {
                        return Ok(false);
                    }
                    self.read(end);
                }
                Stage::Reading { .. } => self.end_step(),
            }
            if pause() {
                break;
            }
        }
        Ok(self.strands.is_empty())
    }

    fn queue_prompts(&mut self) {
        let shared = self.prefix.tokens.len();
        let strands = self.queries.iter().enumerate().map(|(query, Query { prompt, .. })| {
            let (base, tokens) = (Rc::clone(&self.prefix.cache), prompt[shared..].to_vec());
            Strand { base, shared, cache: None, query, tokens, answer: None }
        });
        self.strands.extend(strands);
    }

    /// Begins a step over as many of the first strands as it has room for.
    fn begin(&mut self, executor: &mut Executor) -> Result<()> {
        let mut room = executor.step_rows();
        self.step.clear();
        for strand in self.strands.iter_mut().take(executor.lanes()) {
            if strand.cache.is_none() {
                let mut cache = executor.fork(&strand.base)?;
                if !cache.rewind(strand.shared) {
                    return Err(Error::internal("a fork cannot go back by its last token"));
                }
                strand.cache = Some(cache);
            }
            let count = (strand.tokens.len() - strand.fed()).min(room);
            if count == 0 {
                break;
            }
            room -= count;
            self.step.push(count);
        }
        let mut batch = Vec::new();
        for (strand, count) in self.strands.iter_mut().zip(&self.step) {
            let fed = strand.fed();
            let Strand { cache: Some(cache), tokens, .. } = strand else { continue };
            batch.push((cache, &tokens[fed..fed + count]));
        }
        executor.begin(&mut batch)?;
        self.stage = Stage::Running;
        Ok(())
    }

    /// The rows of the last step whose logits are wanted.
    fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        let mut first = 0;
        for (index, (strand, count)) in self.strands.iter().zip(&self.step).enumerate() {
            let fed = strand.fed();
            for token in fed - count..fed {
                let is_last = token + 1 == strand.tokens.len();
                let is_wanted = strand.answer.is_some() || is_last && strand.query != usize::MAX;
                if is_wanted {
                    rows.push(Row { row: first + token - (fed - count), strand: index, token });
                }
            }
            first += count;
        }
        rows
    }

    /// Takes the logits of the rows up to `end`.
    fn read(&mut self, end: usize) {
        let Stage::Reading { rows, at } = &mut self.stage else { return };
        let vocabulary = self.logits.len() / (end - *at);
        for (Row { strand, token, .. }, logits) in rows[*at..end].iter().zip(self.logits.chunks(vocabulary)) {
            let Strand { query, answer, .. } = self.strands[*strand];
            let (answers, logprobs) = (&self.queries[query].answers, &mut self.logprobs[query]);
            match answer {
                Some(answer) => logprobs[answer] += log_probability(logits, answers[answer][token + 1]),
                None => {
                    for (answer, logprob) in answers.iter().zip(logprobs) {
                        *logprob += log_probability(logits, answer[0]);
                    }
                }
            }
        }
        *at = end;
    }

    /// Takes leave of the strands that are through; those of answers come next.
    fn end_step(&mut self) {
        self.stage = Stage::Idle;
        let mut next = VecDeque::new();
        for _ in 0..self.step.len() {
            let Some(mut strand) = self.strands.pop_front() else { break };
            if strand.fed() < strand.tokens.len() {
                next.push_back(strand);
                continue;
            }
            let Some(cache) = strand.cache.take().map(Rc::new) else { continue };
            if strand.query == usize::MAX {
                self.prefix.cache = cache;
                self.queue_prompts();
                continue;
            }
            let answers = &self.queries[strand.query].answers;
            let longer = answers.iter().enumerate().filter(|(_, answer)| answer.len() > 1);
            next.extend(longer.filter(|_| strand.answer.is_none()).map(|(index, answer)| Strand {
                base: Rc::clone(&cache),
                shared: cache.len(),
                cache: None,
                query: strand.query,
                tokens: answer[..answer.len() - 1].to_vec(),
                answer: Some(index),
            }));
        }
        next.append(&mut self.strands);
        self.strands = next;
        let first = self.strands.iter().map(|strand| strand.query).min();
        self.done = match first {
            None => self.queries.len(),
            Some(usize::MAX) => 0,
            Some(query) => query,
        };
    }
}

impl Prefix {
    /// Bytes that it occupies.
    pub fn bytes(&self) -> u64 {
        self.cache.bytes()
    }

    /// What of it all prompts begin with, if that is something.
    fn cut_for(self, queries: &[Query], executor: &mut Executor) -> Result<Option<Self>> {
        let length = |length: usize, Query { prompt, .. }: &Query| {
            let alike = self.tokens.iter().zip(&prompt[..prompt.len() - 1]);
            alike.take(length).take_while(|(a, b)| a == b).count()
        };
        let length = queries.iter().fold(self.tokens.len(), length);
        if length == self.tokens.len() {
            return Ok(Some(self));
        }
        let mut cache = executor.fork(&self.cache)?;
        let tokens = self.tokens[..length].to_vec();
        Ok((length > 0 && cache.rewind(length)).then(|| Prefix { tokens, cache: Rc::new(cache) }))
    }
}

/// What all prompts begin with, less than any of them.
fn common(queries: &[Query]) -> &[u32] {
    let Some((first, others)) = queries.split_first() else { return &[] };
    let shortest = queries.iter().map(|query| query.prompt.len()).min().unwrap_or(1);
    let length = others.iter().fold(shortest - 1, |length, query| {
        let alike = first.prompt.iter().zip(&query.prompt).take(length);
        alike.take_while(|(a, b)| a == b).count()
    });
    &first.prompt[..length]
}
