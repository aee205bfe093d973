//! Bytes of unknown origin, taken from the front.

use crate::error::{Code, Error, Result};

/// What is left of them.
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader(bytes)
    }

    /// The next `count` bytes; an `integrity` error where there are not so many.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (part, rest) = self.0.split_at_checked(count).ok_or_else(damaged)?;
        self.0 = rest;
        Ok(part)
    }

    pub fn u32(&mut self) -> Result<u32> {
        let bytes = self.take(4)?.first_chunk().ok_or_else(damaged)?;
        Ok(u32::from_le_bytes(*bytes))
    }

    /// As many numbers as come next, a count before them.
    pub fn u32s(&mut self) -> Result<Vec<u32>> {
        let count = self.u32()? as usize;
        let bytes = self.take(count.checked_mul(4).ok_or_else(damaged)?)?;
        Ok(bytes.as_chunks().0.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect())
    }

    /// Refuses bytes that are left.
    pub fn end(self) -> Result<()> {
        if self.0.is_empty() { Ok(()) } else { Err(damaged()) }
    }
}

/// What bytes are that say what cannot be.
pub fn damaged() -> Error {
    Error::new(Code::Integrity, "the saved session is damaged, or was cut off")
}
