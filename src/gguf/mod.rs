//! Model files in the GGUF format, versions 2 and 3, parsed as their bytes arrive.
//!
//! A file is a header (metadata, then the index of tensors) and the tensors' bytes. [`Parser`] reads the one,
//! [`TensorStream`] the other, [`FileReader`] both; each takes chunks of any size and keeps nothing that it
//! has handed on. [`Parts`] checks the files of a split model against each other.
//!
//! Files come from anywhere. Whatever they hold, the answer is a value or an error that says where the fault
//! is; memory is taken for what has arrived, never for what a count promises.

#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::unreachable
    )
)]

mod array;
mod input;
mod magic;
mod metadata;
mod parser;
mod reader;
mod split;
mod stream;
mod tensors;
mod types;
mod value;

pub use array::{Array, StringArray};
pub use metadata::{Metadata, Value};
pub use parser::Parser;
pub use reader::{FileReader, Sink};
pub use split::Parts;
pub use stream::{TensorSink, TensorStream};
pub use tensors::TensorInfo;
pub use types::TensorType;

/// What stands before the tensors' bytes in a file.
#[derive(Debug, Clone, PartialEq)]
pub struct Header {
    /// The version of the format, 2 or 3.
    pub version: u32,
    pub metadata: Metadata,
    /// In the order of their bytes in the file; they do not overlap.
    pub tensors: Vec<TensorInfo>,
    /// Where the tensors' bytes start, from the first byte of the file: the header's own length, padded.
    pub data_start: u64,
    /// Where the last tensor's bytes end. Padding may follow.
    pub file_bytes: u64,
}
