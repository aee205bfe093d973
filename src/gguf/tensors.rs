//! The tensor index: where each tensor's bytes are, checked before any of them is read.

use super::array::reserve;
use super::types::TensorType;
use crate::error::{Error, Result};

/// One tensor of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TensorInfo {
    pub name: String,
    /// One to four extents, in elements; those along the first are contiguous in memory.
    pub dims: Vec<u64>,
    pub kind: TensorType,
    /// Where its bytes start, from the first byte of the file.
    pub offset: u64,
    /// How many bytes it has.
    pub bytes: u64,
}

impl TensorInfo {
    /// Elements of a row: the contiguous extent.
    pub fn cols(&self) -> u64 {
        self.dims.first().copied().unwrap_or(1)
    }

    /// Number of rows: the product of the other extents.
    pub fn rows(&self) -> u64 {
        self.dims.iter().skip(1).fold(1, |rows, &dim| rows.saturating_mul(dim))
    }

    /// Number of elements.
    pub fn elements(&self) -> u64 {
        self.cols().saturating_mul(self.rows())
    }

    /// Where its bytes end, from the first byte of the file.
    pub fn end(&self) -> u64 {
        self.offset.saturating_add(self.bytes)
    }
}

/// A tensor whose entry in the index has been read, with the offset still counted from the data's start.
pub(super) struct Entry {
    pub info: TensorInfo,
    /// Where the entry stands in the file.
    pub at: u64,
}

/// A tensor of these extents, measured; its offset is not known yet.
pub(super) fn measure(name: String, dims: Vec<u64>, type_id: u32) -> Result<TensorInfo> {
    let Some(kind) = TensorType::from_id(type_id) else {
        return Err(Error::invalid_model(format!("there is no tensor type numbered {type_id}")));
    };
    let (cols, block) = (dims.first().copied().unwrap_or(0), kind.block_len());
    if !cols.is_multiple_of(block) {
        return Err(Error::invalid_model(format!(
            "a row of {cols} elements does not fill blocks of {block}, which {} has",
            kind.name()
        )));
    }
    let elements = dims.iter().try_fold(1u64, |product, &dim| product.checked_mul(dim));
    let Some(bytes) = elements.and_then(|elements| kind.bytes_of(elements)) else {
        return Err(Error::invalid_model(format!("dimensions {dims:?} are too large")));
    };
    Ok(TensorInfo { name, dims, kind, offset: 0, bytes })
}

/// Checks the entries against each other and against the file's size, if that is known, and puts them in the
/// order of their bytes. Also answers where the last one ends.
pub(super) fn arrange(
    mut entries: Vec<Entry>,
    data_start: u64,
    file_bytes: Option<u64>,
) -> Result<(Vec<TensorInfo>, u64)> {
    entries.sort_unstable_by(|a, b| (&a.info.name, a.at).cmp(&(&b.info.name, b.at)));
    for (first, second) in entries.iter().zip(entries.iter().skip(1)) {
        if first.info.name == second.info.name {
            return Err(Error::invalid_model("two tensors have the same name")
                .at(second.at)
                .tensor(&second.info.name));
        }
    }

    for Entry { info, at } in &mut entries {
        let end = data_start.checked_add(info.offset).and_then(|start| {
            info.offset = start;
            start.checked_add(info.bytes)
        });
        let message = match (end, file_bytes) {
            (Some(end), Some(size)) if end > size => {
                format!("the tensor would end at byte {end} of a file of {size} bytes")
            }
            (Some(_), _) => continue,
            (None, _) => "the tensor would end beyond 2^64 bytes".to_owned(),
        };
        return Err(Error::invalid_model(message).at(*at).tensor(&info.name));
    }

    entries.sort_unstable_by_key(|entry| (entry.info.offset, entry.at));
    for (first, second) in entries.iter().zip(entries.iter().skip(1)) {
        if second.info.offset < first.info.end() {
            return Err(Error::invalid_model(format!(
                "the tensor starts at byte {}, before {} ends at byte {}",
                second.info.offset,
                first.info.name,
                first.info.end()
            ))
            .at(second.at)
            .tensor(&second.info.name));
        }
    }

    let end = entries.last().map_or(data_start, |entry| entry.info.end());
    let mut tensors = Vec::new();
    reserve(tensors.try_reserve_exact(entries.len()))?;
    tensors.extend(entries.into_iter().map(|entry| entry.info));
    Ok((tensors, end))
}
