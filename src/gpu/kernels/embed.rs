//! out = scale · table[token] and x += table[row]: a thread per block of 32 columns of a row, since a block is what
//! is unpacked at once. Of a table in parts, each part's dispatch takes the rows that are in it.

use super::{Slot, THREADS, bind, unpackers};
use crate::gpu::call::Call;
use crate::gpu::weights::{Matrix, Part};
use crate::plan::Row;

/// Reads each token's row.
pub fn embed(matrix: &Matrix, scale: f32, rows: &wgpu::Buffer, out: &Slot) -> Vec<Call> {
    gather(matrix, "tokens[row].x", scale, "=", rows, out)
}

/// Adds a row.
pub fn add_row(matrix: &Matrix, row: Row, rows: &wgpu::Buffer, x: &Slot) -> Vec<Call> {
    let index = match row {
        Row::Position => "tokens[row].y % 0x1000000u".to_owned(),
        Row::Fixed(row) => format!("{row}u"),
        Row::Text { .. } => "tokens[row].y / 0x1000000u".to_owned(),
    };
    gather(matrix, &index, 1.0, "+=", rows, x)
}

fn gather(
    matrix: &Matrix,
    index: &str,
    scale: f32,
    assign: &str,
    rows: &wgpu::Buffer,
    out: &Slot,
) -> Vec<Call> {
    let body = wgsl!("embed").replace("$index", index).replace("$=", assign);
    let body = unpackers([matrix]) + &body;
    let bytes = matrix.bytes_of(1);
    let call = |part: &Part| {
        bind(Call::new("embed", body.clone(), matrix.blocks().div_ceil(THREADS)), 0, matrix, part)
            .reads("tokens", "vec2<u32>", rows)
            .writes("out", "vec4<f32>", &out.buffer)
            .param("first", part.first)
            .param("rows", part.rows)
            .param("blocks", matrix.blocks())
            .param("stride", out.fours())
            .number("scale", scale)
            .weights(bytes)
    };
    matrix.parts.iter().map(call).collect()
}
