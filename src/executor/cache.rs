//! What an executor stores of a sequence.

use crate::error::{Error, Result};
use crate::{cpu, gpu};

/// Keys and values of one sequence.
pub enum Cache {
    Cpu(cpu::Cache),
    Gpu(gpu::Cache),
}

impl Cache {
    /// Tokens stored.
    pub fn len(&self) -> usize {
        match self {
            Cache::Cpu(cache) => cache.len(),
            Cache::Gpu(cache) => cache.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes that it occupies.
    pub fn bytes(&self) -> u64 {
        match self {
            Cache::Cpu(cache) => cache.bytes() as u64,
            Cache::Gpu(cache) => cache.bytes(),
        }
    }

    /// Whether it can go back to `len` tokens. What a window has passed is gone, and states do not go back, but to the
    /// beginning.
    pub fn reaches(&self, len: usize) -> bool {
        match self {
            Cache::Cpu(cache) => cache.reaches(len),
            Cache::Gpu(cache) => cache.reaches(len),
        }
    }

    /// Forgets the tokens from `len` on, and answers whether it could; else nothing is forgotten.
    pub fn rewind(&mut self, len: usize) -> bool {
        match self {
            Cache::Cpu(cache) => cache.rewind(len),
            Cache::Gpu(cache) => cache.rewind(len),
        }
    }

    pub(super) fn on_cpu(&mut self) -> Result<&mut cpu::Cache> {
        match self {
            Cache::Cpu(cache) => Ok(cache),
            Cache::Gpu(_) => Err(elsewhere()),
        }
    }

    pub(super) fn on_gpu(&mut self) -> Result<&mut gpu::Cache> {
        match self {
            Cache::Gpu(cache) => Ok(cache),
            Cache::Cpu(_) => Err(elsewhere()),
        }
    }
}

pub(super) fn elsewhere() -> Error {
    Error::internal("a sequence runs on another executor than it was begun on")
}
