//! Reading from chunks: what has arrived, and fields and strings that straddle two chunks.

use super::array::reserve;
use crate::error::{Error, Result};

/// No header is longer. The longest known (a quarter of a million tokens with their merges) take 15 MB; the
/// bound keeps a stream of junk from filling the tab's memory.
pub(super) const MAX_HEADER_BYTES: u64 = 256 << 20;

/// One chunk, as far as it has not been read, and where in the file that is.
pub(super) struct Input<'a> {
    pub rest: &'a [u8],
    /// Offset of `rest` in the file, in bytes.
    pub position: u64,
    /// Where the header ends at the latest, in bytes: at the end of the file if its size is known.
    pub limit: u64,
}

impl<'a> Input<'a> {
    /// The next `count` bytes, or fewer if the chunk ends before.
    pub fn take(&mut self, count: u64) -> &'a [u8] {
        let count = usize::try_from(count).unwrap_or(usize::MAX).min(self.rest.len());
        let (taken, rest) = self.rest.split_at_checked(count).unwrap_or((self.rest, &[]));
        self.rest = rest;
        self.position = self.position.saturating_add(taken.len() as u64);
        taken
    }

    /// Checks a promise made by the file: `count` items of at least `bytes` bytes each are still to come.
    /// Catches absurd counts where they stand; memory is reserved only for what has arrived. `at` is the
    /// offset of the count.
    pub fn check_promise(&self, count: u64, bytes: u64, what: &str, at: u64) -> Result<()> {
        let room = self.limit.saturating_sub(self.position);
        match count.checked_mul(bytes) {
            Some(total) if total <= room => Ok(()),
            _ if self.limit < MAX_HEADER_BYTES => Err(Error::invalid_model(format!(
                "{what} of {count} goes beyond the end of the file, which has {} bytes",
                self.limit
            ))
            .at(at)),
            _ => Err(Error::invalid_model(format!(
                "{what} of {count} is too large: a header has at most {} MB",
                MAX_HEADER_BYTES >> 20
            ))
            .at(at)),
        }
    }
}

/// A little-endian field of up to eight bytes. Keeps its first bytes when a chunk ends inside it.
#[derive(Default)]
pub(super) struct Field {
    bytes: [u8; 8],
    have: usize,
}

impl Field {
    /// The field's bits, zero-extended, once all its `size` bytes are there.
    pub fn read(&mut self, size: usize, input: &mut Input) -> Option<u64> {
        if self.have == 0 && size == 8 {
            // The length of a string: by far the most frequent field.
            if let Some((bytes, rest)) = input.rest.split_first_chunk() {
                input.rest = rest;
                input.position = input.position.saturating_add(8);
                return Some(u64::from_le_bytes(*bytes));
            }
        }
        let wanted = size.saturating_sub(self.have);
        let arrived = input.take(wanted as u64);
        for (slot, byte) in self.bytes.iter_mut().skip(self.have).zip(arrived) {
            *slot = *byte;
        }
        self.have += arrived.len();
        if self.have < size {
            return None;
        }
        self.have = 0;
        Some(u64::from_le_bytes(std::mem::take(&mut self.bytes)))
    }

    /// Whether a chunk ended inside the field.
    pub fn is_pending(&self) -> bool {
        self.have > 0
    }
}

/// The bytes of a string. Copied only when a chunk ends inside it.
#[derive(Default)]
pub(super) struct Text {
    remaining: u64,
    partial: Vec<u8>,
}

impl Text {
    /// Starts a string of `length` bytes.
    pub fn begin(&mut self, length: u64) {
        self.remaining = length;
        self.partial.clear();
    }

    /// The string's bytes, once all are there.
    pub fn read<'s, 'i: 's>(&'s mut self, input: &mut Input<'i>) -> Result<Option<&'s [u8]>> {
        let arrived = input.take(self.remaining);
        self.remaining -= arrived.len() as u64;
        if self.partial.is_empty() && self.remaining == 0 {
            return Ok(Some(arrived));
        }
        reserve(self.partial.try_reserve(arrived.len()))?;
        self.partial.extend_from_slice(arrived);
        Ok((self.remaining == 0).then_some(&self.partial))
    }
}
