//! A session's sequences as bytes, with what is stored of them: nothing has to be computed to go on with them.
//!
//! The number of sequences; of each its tokens, the length of what is stored, and that, as the executor lays it out
//! ([`Executor::layout`]).

use super::kept::{Kept, Sequence};
use crate::bytes::{Reader, damaged};
use crate::error::Result;
use crate::executor::Executor;

/// Sequences of the end that are saved where none can go back: the last one, and the one where its answer begins.
const FORKS: usize = 2;

/// Saving, a sequence after the other.
#[derive(Default)]
pub struct Saving {
    done: usize,
    bytes: Vec<u8>,
}

impl Saving {
    /// Goes on; the bytes, once they are all here. `kept` stays as it is meanwhile.
    pub fn advance(&mut self, executor: &mut Executor, kept: &Kept) -> Result<Option<Vec<u8>>> {
        let few = if executor.goes_back() { 1 } else { FORKS };
        let sequences = kept.sequences();
        let sequences = &sequences[sequences.len().saturating_sub(few)..];
        if self.bytes.is_empty() {
            self.bytes.extend((sequences.len() as u32).to_le_bytes());
        }
        for sequence in &sequences[self.done..] {
            let mut stored = Vec::new();
            if !executor.save(sequence.cache(), &mut stored)? {
                return Ok(None);
            }
            self.bytes.extend((sequence.tokens().len() as u32).to_le_bytes());
            self.bytes.extend_from_slice(bytemuck::cast_slice(sequence.tokens()));
            self.bytes.extend((stored.len() as u32).to_le_bytes());
            self.bytes.append(&mut stored);
            self.done += 1;
        }
        Ok(Some(std::mem::take(&mut self.bytes)))
    }
}

impl Kept {
    /// What was saved, of the same model and layout; `integrity` if it cannot be that.
    pub fn restore(executor: &mut Executor, bytes: &[u8]) -> Result<Self> {
        let mut kept = Kept::new(executor);
        let mut reader = Reader::new(bytes);
        let count = reader.u32()?;
        if count as usize > FORKS {
            return Err(damaged());
        }
        let mut sequences = Vec::new();
        for _ in 0..count {
            let tokens = reader.u32s()?;
            let stored = reader.u32()? as usize;
            let stored = reader.take(stored)?;
            if tokens.len() > executor.plan().context_length || executor.plan().check_tokens(&tokens).is_err()
            {
                return Err(damaged());
            }
            let cache = executor.restore(tokens.len(), stored)?;
            sequences.push(Sequence::new(&tokens, cache));
        }
        reader.end()?;
        kept.keep(sequences);
        Ok(kept)
    }
}
