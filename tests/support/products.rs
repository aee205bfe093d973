//! Products on a GPU, of every block format, against the plain formula.

use super::formats::{DECODED, FORMATS, quantize};
use super::numbers::{largest_error, numbers};
use std::rc::Rc;
use wisplm::cpu::{Activations, KvType};
use wisplm::executor::{Cache, Executor};
use wisplm::gguf::{TensorInfo, TensorType};
use wisplm::gpu::{self, Gpu};
use wisplm::plan::{Builder, Head, Op};
use wisplm::quant::Packer;

/// A tensor of some format, and the weights that the CPU reads from its bytes; of formats that it decodes at load, those
/// before it rounds them.
pub struct Table {
    pub info: TensorInfo,
    bytes: Vec<u8>,
    pub weights: Vec<f32>,
}

/// Random weights, quantized.
pub fn table(name: &str, kind: TensorType, rows: usize, cols: usize, seed: u32) -> Table {
    let (bytes, mut weights) = quantize(kind, numbers(rows * cols, seed), rows, cols);
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
    let infos: Vec<TensorInfo> = tables.iter().map(|table| table.info.clone()).collect();
    let mut builder = Builder::new(&infos);
    let head = build(&mut builder);
    let plan = builder.finish(head, 64, true);
    let mut loading = gpu::Loading::new(gpu, Activations::Auto);
    for Table { info, bytes, .. } in tables {
        for (k, part) in bytes.chunks(chunk).enumerate() {
            loading.push(info, (k * chunk) as u64, part).unwrap();
        }
    }
    let weights = loading.finish(&plan).unwrap();
    let mut executor = Executor::Gpu(Box::new(gpu::Executor::new(plan, weights, KvType::F16).unwrap()));
    let mut cache: Cache = executor.new_cache();
    executor.begin(&mut [(&mut cache, tokens)]).unwrap();
    assert!(executor.advance(&mut [&mut cache], &mut || false).unwrap());
    let mut states = vec![];
    assert!(executor.hidden(0..tokens.len(), &mut states).unwrap());
    states
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
                    let dot = |a: &[f32], b: &[f32]| -> f32 {
                        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>() as f32
                    };
                    let want: Vec<f32> = inputs
                        .weights
                        .chunks_exact(cols)
                        .take(count as usize)
                        .flat_map(|x| weights.weights.chunks_exact(cols).map(move |w| dot(w, x)))
                        .collect();
                    let error = largest_error(&got, &want);
                    assert!(error <= tolerance, "{} {rows} × {cols}, {count} rows: {error}", kind.name());
                }
            }
        }
    }
}
