//! Products on a GPU, of every block format, against the plain formula.

use super::formats::{DECODED, FORMATS, quantize};
use super::numbers::{largest_error, numbers};
use super::ops::{PLAIN, Setting, Trial};
use super::oracles;
use std::rc::Rc;
use wisplm::gguf::{TensorInfo, TensorType};
use wisplm::gpu::Gpu;
use wisplm::plan::{Builder, Head, Op};
use wisplm::quant::Packer;

/// A tensor of some format, and the weights that the CPU reads from its bytes; of formats that it decodes at load, those
/// before it rounds them.
pub struct Table {
    pub info: TensorInfo,
    pub bytes: Vec<u8>,
    pub weights: Vec<f32>,
}

/// Random weights, quantized.
pub fn table(name: &str, kind: TensorType, rows: usize, cols: usize, seed: u32) -> Table {
    table_of(name, kind, cols, numbers(rows * cols, seed))
}

/// Weights of rows as long as `cols`, quantized.
pub fn table_of(name: &str, kind: TensorType, cols: usize, values: Vec<f32>) -> Table {
    let rows = values.len() / cols;
    let (bytes, mut weights) = quantize(kind, values, rows, cols);
    if !DECODED.contains(&kind) {
        let mut packer = Packer::new(kind, rows, cols).unwrap();
        packer.push(&bytes).unwrap();
        let matrix = packer.finish().unwrap();
        weights.chunks_exact_mut(cols).enumerate().for_each(|(row, out)| matrix.row(row, out));
    }
    let dims = vec![cols as u64, rows as u64];
    let info = TensorInfo { name: name.into(), dims, kind, offset: 0, bytes: bytes.len() as u64 };
    Table { info, bytes, weights }
}

/// Runs `tokens` through the ops that `build` writes over some tables, and answers the states.
pub fn run(
    gpu: &Rc<Gpu>,
    tables: &[&Table],
    chunk: usize,
    tokens: &[u32],
    build: impl Fn(&mut Builder) -> Head,
) -> Vec<f32> {
    let setting = Setting { context: 64, chunk, ..PLAIN };
    Trial::new(gpu, tables, setting, build).step(&[tokens]).0
}

pub fn columns(kind: TensorType) -> &'static [usize] {
    match kind.block_len() {
        1 => &[3, 32, 100],
        32 => &[32, 96, 576],
        _ => &[256, 768],
    }
}

/// Sums of some hundred products in another order.
pub const ROUNDING: f32 = 1e-5;

/// Checks products of all formats with matrices of so many outputs, and so many rows.
pub fn check(gpu: &Rc<Gpu>, outputs: &[usize], tokens: &[u32], tolerance: f32) {
    for kind in FORMATS.into_iter().chain(DECODED) {
        for &cols in columns(kind) {
            for &rows in outputs {
                let weights = table("w", kind, rows, cols, 2);
                let inputs = table("x", FORMATS[0], 40, cols, 3);
                for &count in tokens {
                    let tokens: Vec<u32> = (0..count).collect();
                    let got = run(gpu, &[&inputs, &weights], usize::MAX, &tokens, |b| {
                        let (x, out) = (b.slot(cols), b.slot(rows));
                        let table = b.matrix("x", 40, cols).unwrap();
                        b.push(Op::Embed { table, scale: 1.0, out: x });
                        let weight = b.matrix("w", rows, cols).unwrap();
                        b.push(Op::MatMul { weight, bias: None, x, out });
                        Head::Hidden { x: out }
                    });
                    let given = &inputs.weights[..count as usize * cols];
                    let want = oracles::products(given, &weights.weights, cols);
                    let error = largest_error(&got, &want);
                    assert!(error <= tolerance, "{} {rows} × {cols}, {count} rows: {error}", kind.name());
                }
            }
        }
    }
}
