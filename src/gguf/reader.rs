//! A whole file, from its first byte to its last: the header, then the tensors.

use super::Header;
use super::parser::Parser;
use super::stream::TensorStream;
use crate::error::{Error, Result};

/// Receives what a file holds, as it becomes known. An error ends the reading and is what the reader answers.
pub trait Sink {
    /// The header is complete; called once, before any bytes of tensors.
    fn header(&mut self, header: &Header) -> Result<()>;

    /// Bytes of `header.tensors[index]`, at least one; they go `offset` bytes after its first. Those of a
    /// tensor come in order, and tensors in the order of `header.tensors`.
    fn tensor_bytes(&mut self, header: &Header, index: usize, offset: u64, bytes: &[u8]) -> Result<()>;
}

/// Reads one file from chunks of any size. Once it has failed, every call answers the same error.
pub struct FileReader {
    state: State,
}

enum State {
    Header(Box<Parser>),
    Tensors(Box<Header>, TensorStream),
    Failed(Error),
}

impl Default for FileReader {
    fn default() -> Self {
        Self::new()
    }
}

impl FileReader {
    pub fn new() -> Self {
        Self::with_file_bytes(None)
    }

    /// A reader that knows how many bytes the file has, if the source tells. Then a header that promises more
    /// is refused at once instead of at the end of the file.
    pub fn with_file_bytes(file_bytes: Option<u64>) -> Self {
        FileReader { state: State::Header(Box::new(Parser::with_file_bytes(file_bytes))) }
    }

    /// Takes the next bytes of the file, any number, and hands on what they hold.
    pub fn push(&mut self, chunk: &[u8], sink: &mut dyn Sink) -> Result<()> {
        let outcome = self.advance(chunk, sink);
        if let Err(error) = &outcome {
            self.state = State::Failed(error.clone());
        }
        outcome
    }

    fn advance(&mut self, mut chunk: &[u8], sink: &mut dyn Sink) -> Result<()> {
        if let State::Header(parser) = &mut self.state {
            let used = parser.push(chunk)?;
            let Some(header) = parser.take_header() else { return Ok(()) };
            chunk = chunk.get(used..).unwrap_or_default();
            let stream = TensorStream::new(&header)?;
            sink.header(&header)?;
            self.state = State::Tensors(Box::new(header), stream);
        }
        match &mut self.state {
            State::Tensors(header, stream) => stream
                .push(chunk, &mut |index, offset, bytes| sink.tensor_bytes(header, index, offset, bytes)),
            State::Failed(error) => Err(error.clone()),
            State::Header(_) => Ok(()),
        }
    }

    /// Says that the file has ended; an error if the header or a tensor is not complete.
    pub fn finish(&self) -> Result<()> {
        match &self.state {
            State::Header(parser) => parser.finish(),
            State::Tensors(_, stream) => stream.finish(),
            State::Failed(error) => Err(error.clone()),
        }
    }

    /// The header, once it is complete.
    pub fn header(&self) -> Option<&Header> {
        match &self.state {
            State::Tensors(header, _) => Some(header),
            State::Header(_) | State::Failed(_) => None,
        }
    }

    /// The header, once it is complete.
    pub fn into_header(self) -> Option<Header> {
        match self.state {
            State::Tensors(header, _) => Some(*header),
            State::Header(_) | State::Failed(_) => None,
        }
    }
}
