//! The second part of a file: tensor bytes, handed on as they arrive.

use super::Header;
use super::array::reserve;
use crate::error::{Error, Result};

/// Receives a tensor's index in `Header::tensors`, a place in that tensor (bytes from its first), and the bytes
/// that go there, at least one.
pub type TensorSink<'a> = dyn FnMut(usize, u64, &[u8]) -> Result<()> + 'a;

/// Cuts the bytes from `Header::data_start` on into tensors. Padding between tensors and whatever follows the
/// last one is passed over. Nothing is kept of what has been handed on.
#[derive(Debug)]
pub struct TensorStream {
    spans: Vec<Span>,
    /// The first tensor that is not complete.
    current: usize,
    /// Offset of the next byte in the file.
    position: u64,
}

#[derive(Debug)]
struct Span {
    /// Kept for the message about a file that ends too early.
    name: String,
    start: u64,
    end: u64,
}

impl TensorStream {
    /// A stream of the tensors of `header`, which starts with the byte at `header.data_start`.
    pub fn new(header: &Header) -> Result<Self> {
        let mut spans = Vec::new();
        reserve(spans.try_reserve_exact(header.tensors.len()))?;
        spans.extend(header.tensors.iter().map(|tensor| Span {
            name: tensor.name.clone(),
            start: tensor.offset,
            end: tensor.end(),
        }));
        Ok(TensorStream { spans, current: 0, position: header.data_start })
    }

    /// Takes the next bytes of the file, any number, and gives `sink` those that are tensors'. An error of the
    /// sink ends the call, and the stream is of no use afterwards.
    pub fn push(&mut self, mut chunk: &[u8], sink: &mut TensorSink<'_>) -> Result<()> {
        while let Some(span) = self.spans.get(self.current) {
            let padding = split(&mut chunk, span.start.saturating_sub(self.position));
            self.position = self.position.saturating_add(padding.len() as u64);
            let offset = self.position.saturating_sub(span.start);
            let bytes = split(&mut chunk, span.end.saturating_sub(self.position));
            if bytes.is_empty() {
                return Ok(());
            }
            self.position = self.position.saturating_add(bytes.len() as u64);
            sink(self.current, offset, bytes)?;
            if self.position == span.end {
                self.current += 1;
            }
        }
        self.position = self.position.saturating_add(chunk.len() as u64);
        Ok(())
    }

    /// Says that the file has ended; an error if a tensor is not complete.
    pub fn finish(&self) -> Result<()> {
        match self.spans.get(self.current) {
            None => Ok(()),
            Some(span) => Err(Error::invalid_model(format!(
                "the file is truncated: it ends after {} bytes, a tensor goes on to byte {}",
                self.position, span.end
            ))
            .at(self.position)
            .tensor(&span.name)),
        }
    }

    /// Offset of the next byte in the file: how many bytes of it have come, the header's among them.
    pub fn position(&self) -> u64 {
        self.position
    }
}

/// Takes up to `count` bytes off the front of `chunk`.
fn split<'a>(chunk: &mut &'a [u8], count: u64) -> &'a [u8] {
    let count = usize::try_from(count).unwrap_or(usize::MAX).min(chunk.len());
    let (taken, rest) = chunk.split_at_checked(count).unwrap_or((chunk, &[]));
    *chunk = rest;
    taken
}
