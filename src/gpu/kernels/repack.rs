//! Bytes of a file to words of a matrix; `repack.wgsl` has the formula. One thread per word: each reads four bytes
//! that its neighbours do not read.

use super::THREADS;
use crate::gpu::call::Call;
use crate::gpu::weights::{Matrix, Part};

/// Puts `rows` rows, whose bytes are in `raw`, in their place from row `first` of a part on.
pub fn repack(
    matrix: &Matrix,
    part: &Part,
    first: usize,
    rows: usize,
    row_bytes: usize,
    raw: &wgpu::Buffer,
) -> Call {
    let format = matrix.format;
    let units = matrix.cols.div_ceil(format.unit);
    let threads = rows * units * format.words;
    Call::new("repack", wgsl!("repack"), threads.div_ceil(THREADS))
        .reads("raw", "u32", raw)
        .writes("w", "u32", &part.buffer)
        .param("rows", rows)
        .param("first_row", first)
        .param("row_bytes", row_bytes)
        .param("units", units)
        .param("unit_bytes", format.bytes)
        .param("words", format.words)
        .param("at", format.at)
        .param("odd", format.odd.unwrap_or(u32::MAX as usize))
        .param("odds", matrix.odds(part))
}
