//! The header of a model file, parsed as it arrives.

use super::Header;
use super::array::reserve;
use super::input::{Field, Input, MAX_HEADER_BYTES, Text};
use super::magic::{check_magic, check_version};
use super::metadata::{Metadata, Value};
use super::tensors::{Entry, TensorInfo, arrange, measure};
use super::value::ValueParser;
use crate::error::{Error, Result};

/// Keys and tensors that a header may have. Real ones have a hundred and some thousands; the bounds keep what
/// we hold per entry in proportion to what the entry takes in the file.
const MAX_KEYS: u64 = 1 << 16;
const MAX_TENSORS: u64 = 1 << 20;

/// The bytes of the shortest key with its value, and of the shortest entry of the tensor index.
const MIN_KEY_BYTES: u64 = 8 + 1 + 4 + 1;
const MIN_TENSOR_BYTES: u64 = 8 + 1 + 4 + 8 + 4 + 8;

/// The format's own bound on the length of a key, in bytes; also kept for names of tensors.
const MAX_NAME_BYTES: u64 = 65535;

const MAX_DIMS: u64 = 4;

const ALIGNMENT_KEY: &str = "general.alignment";
const DEFAULT_ALIGNMENT: u64 = 32;

/// What comes next in the file.
#[derive(Clone, Copy)]
enum Step {
    Magic,
    Version,
    TensorCount,
    KeyCount,
    KeyLength,
    Key,
    Kind,
    Value,
    NameLength,
    Name,
    DimCount,
    Dim,
    Type,
    Offset,
    Padding,
    Done,
}

/// Parses a header from chunks of any size. Holds what it has understood, and of a chunk at most the field or
/// string that the chunk's end cuts in two; work is linear in the header's bytes.
pub struct Parser {
    step: Step,
    /// Bytes of the file that have been read.
    position: u64,
    file_bytes: Option<u64>,
    /// The error that ended the parsing: it is answered again by every later call.
    failed: Option<Error>,
    field: Field,
    text: Text,
    value: ValueParser,
    /// Keys or tensors that are still to come.
    keys_left: u64,
    tensors_left: u64,
    version: u32,
    metadata: Metadata,
    alignment: u64,
    /// The key or tensor being read, and where it started.
    name: String,
    item_at: u64,
    dims_left: u64,
    dims: Vec<u64>,
    tensor: Option<TensorInfo>,
    entries: Vec<Entry>,
    header: Option<Header>,
}

impl Default for Parser {
    fn default() -> Self {
        Self::new()
    }
}

impl Parser {
    pub fn new() -> Self {
        Self::with_file_bytes(None)
    }

    /// A parser that knows how many bytes the file has, if the source tells. Then a header that promises more
    /// is refused at once instead of at the end of the file.
    pub fn with_file_bytes(file_bytes: Option<u64>) -> Self {
        Parser {
            step: Step::Magic,
            position: 0,
            file_bytes,
            failed: None,
            field: Field::default(),
            text: Text::default(),
            value: ValueParser::new(),
            keys_left: 0,
            tensors_left: 0,
            version: 0,
            metadata: Metadata::new(),
            alignment: DEFAULT_ALIGNMENT,
            name: String::new(),
            item_at: 0,
            dims_left: 0,
            dims: Vec::new(),
            tensor: None,
            entries: Vec::new(),
            header: None,
        }
    }

    /// Takes the next bytes of the file, any number. Answers how many of them belong to the header: fewer
    /// than all when it is complete, and then the rest are the tensors', from `Header::data_start` on.
    pub fn push(&mut self, chunk: &[u8]) -> Result<usize> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let limit = self.file_bytes.unwrap_or(u64::MAX).min(MAX_HEADER_BYTES);
        let mut input = Input { rest: chunk, position: self.position, limit };
        let outcome = self.advance(&mut input);
        self.position = input.position;
        if let Err(error) = outcome {
            self.failed = Some(error.clone());
            return Err(error);
        }
        Ok(chunk.len() - input.rest.len())
    }

    /// The header, once it is complete.
    pub fn header(&self) -> Option<&Header> {
        self.header.as_ref().filter(|_| matches!(self.step, Step::Done))
    }

    /// The header, once it is complete.
    pub fn into_header(self) -> Option<Header> {
        self.header.filter(|_| matches!(self.step, Step::Done))
    }

    /// The header, once it is complete, for the reader that goes on with the tensors.
    pub(super) fn take_header(&mut self) -> Option<Header> {
        self.header.take_if(|_| matches!(self.step, Step::Done))
    }

    /// Bytes of the header that have been read.
    pub fn header_bytes_seen(&self) -> u64 {
        self.position
    }

    /// Says that the file has ended; an error if the header is not complete.
    pub fn finish(&self) -> Result<()> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let inside = match self.step {
            Step::Done => return Ok(()),
            Step::Magic | Step::Version | Step::TensorCount | Step::KeyCount => "the first fields",
            Step::KeyLength | Step::Key | Step::Kind | Step::Value => "the metadata",
            Step::NameLength | Step::Name | Step::DimCount | Step::Dim | Step::Type | Step::Offset => {
                "the tensor index"
            }
            Step::Padding => "the padding before the tensors",
        };
        let error = Error::invalid_model(format!(
            "the file is truncated: it ends after {} bytes, inside {inside}",
            self.position
        ));
        Err(self.blame(error.at(self.position)))
    }

    /// Reads on until the chunk or the header ends.
    fn advance(&mut self, input: &mut Input) -> Result<()> {
        while self.step(input).map_err(|error| self.blame(error))? {}
        Ok(())
    }

    /// Adds the key or tensor being read to an error.
    fn blame(&self, error: Error) -> Error {
        match self.step {
            Step::Kind | Step::Value if error.key.is_none() => error.key(&self.name),
            Step::DimCount | Step::Dim | Step::Type | Step::Offset if error.tensor.is_none() => {
                error.tensor(&self.name)
            }
            _ => error,
        }
    }

    /// Reads one field; `false` when the chunk has ended inside it or the header is complete.
    fn step(&mut self, input: &mut Input) -> Result<bool> {
        match self.step {
            Step::Magic => {
                let Some((bits, _)) = self.field(4, input) else { return Ok(false) };
                check_magic((bits as u32).to_le_bytes())?;
                self.step = Step::Version;
            }
            Step::Version => {
                let Some((bits, _)) = self.field(4, input) else { return Ok(false) };
                self.version = bits as u32;
                check_version(self.version)?;
                self.step = Step::TensorCount;
            }
            Step::TensorCount => {
                let Some((count, at)) = self.field(8, input) else { return Ok(false) };
                check_count(count, MAX_TENSORS, "tensors", at)?;
                input.check_promise(count, MIN_TENSOR_BYTES, "a tensor count", at)?;
                self.tensors_left = count;
                self.step = Step::KeyCount;
            }
            Step::KeyCount => {
                let Some((count, at)) = self.field(8, input) else { return Ok(false) };
                check_count(count, MAX_KEYS, "keys", at)?;
                input.check_promise(count, MIN_KEY_BYTES, "a key count", at)?;
                self.keys_left = count;
                self.next_item(input)?;
            }
            Step::KeyLength | Step::NameLength => {
                let Some((length, at)) = self.field(8, input) else { return Ok(false) };
                let (what, next) = match self.step {
                    Step::KeyLength => ("a key", Step::Key),
                    _ => ("the name of a tensor", Step::Name),
                };
                if length == 0 || length > MAX_NAME_BYTES {
                    let message = format!("{what} has {length} bytes, 1 to {MAX_NAME_BYTES} can be");
                    return Err(Error::invalid_model(message).at(at));
                }
                input.check_promise(length, 1, "a string length", at)?;
                self.item_at = at;
                self.text.begin(length);
                self.step = next;
            }
            Step::Key | Step::Name => {
                let Some(bytes) = self.text.read(input)? else { return Ok(false) };
                let Ok(name) = str::from_utf8(bytes) else {
                    let start = bytes.get(..64).unwrap_or(bytes);
                    let message = format!("a name is not UTF-8: \"{}\"", start.escape_ascii());
                    return Err(Error::invalid_model(message).at(self.item_at));
                };
                name.clone_into(&mut self.name);
                self.step = if matches!(self.step, Step::Key) { Step::Kind } else { Step::DimCount };
            }
            Step::Kind => {
                let Some((id, at)) = self.field(4, input) else { return Ok(false) };
                if self.metadata.contains(&self.name) {
                    return Err(Error::invalid_model("the metadata has this key twice").at(self.item_at));
                }
                self.value.begin(id, at)?;
                self.step = Step::Value;
            }
            Step::Value => {
                let Some(value) = self.value.read(input)? else { return Ok(false) };
                if self.name == ALIGNMENT_KEY {
                    self.alignment = alignment(&value).map_err(|error| error.at(self.item_at))?;
                }
                self.metadata.insert(&*self.name, value)?;
                self.keys_left -= 1;
                self.next_item(input)?;
            }
            Step::DimCount => {
                let Some((count, at)) = self.field(4, input) else { return Ok(false) };
                if count == 0 || count > MAX_DIMS {
                    return Err(
                        Error::invalid_model(format!("{count} dimensions, 1 to {MAX_DIMS} can be")).at(at)
                    );
                }
                self.dims_left = count;
                self.step = Step::Dim;
            }
            Step::Dim => {
                let Some((dim, at)) = self.field(8, input) else { return Ok(false) };
                if dim == 0 {
                    return Err(Error::invalid_model("a dimension is 0").at(at));
                }
                self.dims.push(dim);
                self.dims_left -= 1;
                if self.dims_left == 0 {
                    self.step = Step::Type;
                }
            }
            Step::Type => {
                let Some((id, at)) = self.field(4, input) else { return Ok(false) };
                let dims = std::mem::take(&mut self.dims);
                let tensor = measure(self.name.clone(), dims, id as u32);
                self.tensor = Some(tensor.map_err(|error| error.at(at))?);
                self.step = Step::Offset;
            }
            Step::Offset => {
                let Some((offset, at)) = self.field(8, input) else { return Ok(false) };
                if !offset.is_multiple_of(self.alignment) {
                    let message =
                        format!("offset {offset} is not a multiple of the alignment, {}", self.alignment);
                    return Err(Error::invalid_model(message).at(at));
                }
                let Some(tensor) = self.tensor.take() else {
                    return Err(Error::internal("a tensor was expected"));
                };
                reserve(self.entries.try_reserve(1))?;
                self.entries.push(Entry { info: TensorInfo { offset, ..tensor }, at: self.item_at });
                self.tensors_left -= 1;
                self.next_item(input)?;
            }
            Step::Padding => {
                let data_start = self.header.as_ref().map_or(0, |header| header.data_start);
                input.take(data_start.saturating_sub(input.position));
                if input.position < data_start {
                    return Ok(false);
                }
                self.step = Step::Done;
            }
            Step::Done => return Ok(false),
        }
        Ok(true)
    }

    /// A field and its offset.
    fn field(&mut self, bytes: usize, input: &mut Input) -> Option<(u64, u64)> {
        let bits = self.field.read(bytes, input)?;
        Some((bits, input.position.saturating_sub(bytes as u64)))
    }

    /// After a key or tensor: the next one, or the end of the header.
    fn next_item(&mut self, input: &Input) -> Result<()> {
        self.step = match (self.keys_left, self.tensors_left) {
            (1.., _) => Step::KeyLength,
            (0, 1..) => Step::NameLength,
            (0, 0) => {
                // From here on an error names its tensor itself.
                self.step = Step::Padding;
                self.end_index(input.position)?;
                Step::Padding
            }
        };
        Ok(())
    }

    fn end_index(&mut self, end: u64) -> Result<()> {
        // A file without tensors (a vocabulary, the first part of some split models) may lack the padding.
        let data_start = if self.entries.is_empty() { end } else { end.next_multiple_of(self.alignment) };
        let entries = std::mem::take(&mut self.entries);
        let (tensors, file_bytes) = arrange(entries, data_start, self.file_bytes)?;
        let metadata = std::mem::take(&mut self.metadata);
        self.header = Some(Header { version: self.version, metadata, tensors, data_start, file_bytes });
        Ok(())
    }
}

fn check_count(count: u64, max: u64, what: &str, at: u64) -> Result<()> {
    if count > max {
        return Err(Error::invalid_model(format!("{count} {what}, at most {max} can be")).at(at));
    }
    Ok(())
}

fn alignment(value: &Value) -> Result<u64> {
    match value.as_u64() {
        Some(bytes) if bytes.is_power_of_two() && bytes <= u32::MAX.into() => Ok(bytes),
        Some(bytes) => Err(Error::invalid_model(format!("an alignment of {bytes} is not a power of two"))),
        None => Err(Error::invalid_model("the alignment is not an integer")),
    }
}
