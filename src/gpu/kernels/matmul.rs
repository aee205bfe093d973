//! out = epilogue(W·x) for many rows of x: a workgroup per 64 outputs × 32 rows, 32 columns at a time. The weights'
//! blocks are unpacked into workgroup memory once for all 32 rows; each thread then sums up 4 outputs × 8 rows in
//! registers, 32 products of vectors for 12 loads.

use super::{Epilogue, Input, Product, Slot, bind, products, unpackers};
use crate::gpu::call::Call;
use crate::gpu::device::Gpu;

/// Outputs of a workgroup.
const OUTPUTS: usize = 64;
/// Rows of a workgroup.
const ROWS: u32 = 32;

/// The product of all rows with a matrix, or a part of one.
pub fn matmul(gpu: &Gpu, x: &Slot, product: &Product, epilogue: Epilogue) -> Call {
    if gpu.is_software() {
        // There workgroup memory is no faster than other memory, and barriers cost more than both.
        return products(gpu, &Input { x, norm: None }, std::slice::from_ref(product), epilogue, false);
    }
    let Product { matrix, part, bias, out } = product;
    let mut values = bias.map_or(vec![], |bias| bias[part.first..part.first + part.rows].to_vec());
    values.resize(values.len().max(1), 0.0);
    let vectors = gpu.buffer(4 * values.len() as u64);
    gpu.write(&vectors, 0, bytemuck::cast_slice(&values));
    let sum = if bias.is_some() { "sum + vectors[row]" } else { "sum" };
    let assign = epilogue.assign("out[token * params.stride + params.first + row]", sum);
    let body = include_str!("matmul.wgsl").replace("$assign", &assign);
    let body = unpackers([*matrix]) + &epilogue.source() + &body;
    let call = Call::new("matmul", body, part.rows.div_ceil(OUTPUTS))
        .tiles(ROWS)
        .reads("x", "vec4<f32>", &x.buffer)
        .weights(matrix.bytes_of(part.rows));
    let call = if bias.is_some() { call.reads("vectors", "f32", &vectors) } else { call };
    bind(call, 0, matrix, part)
        .writes("out", "f32", &out.buffer)
        .param("rows", part.rows)
        .param("blocks", matrix.blocks())
        .param("x_stride", x.fours())
        .param("stride", out.stride)
        .param("first", part.first)
}
