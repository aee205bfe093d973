//! Sequences that outlive the runs that made them, so that the next run computes only what is new.
//!
//! A run takes the sequence that has the longest beginning in common with its prompt. What follows that beginning is
//! forgotten where a sequence can go back. Where it cannot (states, windows), only a whole one is of use: so a run leaves
//! forks of itself where later prompts are likely to part from it.

use crate::error::Result;
use crate::executor::{Cache, Executor};

/// Tokens that a sequence must spare to be taken: for fewer, copying a page costs more than computing them.
const LEAST: usize = 8;
/// Bytes of all sequences but the last one.
const OLDER: u64 = 256 << 20;

/// Tokens, with what is stored of them.
pub struct Sequence {
    tokens: Vec<u32>,
    cache: Cache,
}

/// Sequences, the last used at the end.
pub struct Kept {
    sequences: Vec<Sequence>,
    most: usize,
    /// Whether a run forks what it takes; else the sequence becomes the run's.
    forks: bool,
}

impl Sequence {
    /// What `cache` stores, which are the first of `tokens`.
    pub fn new(tokens: &[u32], cache: Cache) -> Self {
        Sequence { tokens: tokens[..cache.len()].to_vec(), cache }
    }

    pub fn tokens(&self) -> &[u32] {
        &self.tokens
    }

    pub fn cache(&self) -> &Cache {
        &self.cache
    }

    /// How many tokens of a prompt it spares. One is always left: its logits are wanted.
    fn spares(&self, prompt: &[u32]) -> usize {
        let common = self.tokens.iter().zip(&prompt[..prompt.len() - 1]).take_while(|(a, b)| a == b).count();
        if self.cache.reaches(common) { common } else { 0 }
    }

    /// Whether whatever another one is good for it is good for as well.
    fn replaces(&self, other: &Sequence) -> bool {
        self.tokens.starts_with(&other.tokens) && self.cache.reaches(other.tokens.len())
    }
}

impl Kept {
    /// For a model's requests, or for a conversation. The CPU takes memory as it is needed; a sequence of the GPU has room
    /// for the rest of the context, so that few are kept there.
    pub fn new(executor: &Executor) -> Self {
        let (most, forks) = match executor {
            Executor::Cpu(_) => (8, true),
            Executor::Gpu(_) if executor.goes_back() => (1, false),
            Executor::Gpu(_) => (3, true),
        };
        Kept { sequences: vec![], most, forks }
    }

    /// A cache for a run over `prompt`, which has a token at least: it holds as many of its tokens as there are.
    pub fn begin(&mut self, executor: &mut Executor, prompt: &[u32]) -> Result<Cache> {
        let spares = self.sequences.iter().map(|sequence| sequence.spares(prompt)).enumerate();
        let Some((index, len)) = spares.max_by_key(|(_, len)| *len).filter(|(_, len)| *len >= LEAST) else {
            self.sequences.drain(..(self.sequences.len() + 1).saturating_sub(self.most));
            return Ok(executor.new_cache());
        };
        let sequence = self.sequences.remove(index);
        let mut cache = match self.forks {
            false => sequence.cache,
            true => {
                let fork = executor.fork(&sequence.cache)?;
                self.sequences.push(sequence);
                fork
            }
        };
        cache.rewind(len);
        Ok(cache)
    }

    /// Keeps what a run has left, and no longer what that makes needless or leaves no room for.
    pub fn keep(&mut self, sequences: Vec<Sequence>) {
        for sequence in sequences.into_iter().filter(|sequence| sequence.tokens.len() >= LEAST) {
            self.sequences.retain(|other| !sequence.replaces(other));
            self.sequences.push(sequence);
        }
        self.sequences.drain(..self.sequences.len().saturating_sub(self.most));
        while self.sequences.len() > 1 && self.older() > OLDER {
            self.sequences.remove(0);
        }
    }

    /// The same for another conversation.
    pub fn fork(&self, executor: &mut Executor) -> Result<Self> {
        let fork = |Sequence { tokens, cache }: &Sequence| {
            Ok(Sequence { tokens: tokens.clone(), cache: executor.fork(cache)? })
        };
        Ok(Kept { sequences: self.sequences.iter().map(fork).collect::<Result<_>>()?, ..*self })
    }

    pub(super) fn sequences(&self) -> &[Sequence] {
        &self.sequences
    }

    /// Forgets all, and answers whether there was anything.
    pub fn clear(&mut self) -> bool {
        let any = !self.sequences.is_empty();
        self.sequences.clear();
        any
    }

    /// Bytes that they occupy.
    pub fn bytes(&self) -> u64 {
        self.sequences.iter().map(|sequence| sequence.cache.bytes()).sum()
    }

    fn older(&self) -> u64 {
        let older = &self.sequences[..self.sequences.len() - 1];
        older.iter().map(|sequence| sequence.cache.bytes()).sum()
    }
}
