//! The GPU's kernels for block formats: weights and products against the plain formulas.

mod support;

use std::rc::Rc;
use support::formats::{DECODED, FORMATS, quantize};
use support::gpu::open;
use support::numbers::{largest_error, numbers};
use wisplm::cpu::KvType;
use wisplm::executor::{Cache, Executor};
use wisplm::gguf::{TensorInfo, TensorType};
use wisplm::gpu::{self, Gpu};
use wisplm::plan::{Builder, Head, Op};
use wisplm::quant::Packer;

/// A tensor of some format, and the weights that the CPU reads from its bytes; of formats that it decodes at load, those
/// before it rounds them.
struct Table {
    info: TensorInfo,
    bytes: Vec<u8>,
    weights: Vec<f32>,
}

/// Random weights, quantized.
fn table(name: &str, kind: TensorType, rows: usize, cols: usize, seed: u32) -> Table {
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
fn run(
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
    let mut loading = gpu::Loading::new(gpu);
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

fn columns(kind: TensorType) -> &'static [usize] {
    match kind.block_len() {
        1 => &[3, 32, 100],
        32 => &[32, 96, 576],
        _ => &[256, 768],
    }
}

#[test]
fn weights_are_those_that_the_cpu_has() {
    let gpu = open();
    for kind in FORMATS.into_iter().chain(DECODED) {
        for &cols in columns(kind) {
            for (rows, chunk) in [(2, 1), (3, 7), (19, 1000), (40, usize::MAX)] {
                let table = table("t", kind, rows, cols, 1);
                let tokens: Vec<u32> = (0..rows as u32).collect();
                let got = run(&gpu, &[&table], chunk, &tokens, |b| {
                    let (weight, out) = (b.matrix("t", rows, cols).unwrap(), b.slot(cols));
                    b.push(Op::Embed { table: weight, scale: 1.0, out });
                    Head::Hidden { x: out }
                });
                assert!(got == table.weights, "{}: {rows} × {cols}", table.info.kind.name());
            }
        }
    }
}

/// Sums of some hundred products in another order.
const ROUNDING: f32 = 1e-5;

#[test]
fn products_are_those_of_the_weights() {
    // On both sides of a tile of outputs, and of rows.
    check_products(&open(), &[2, 65, 130], &[1, 9, 33]);
}

#[test]
fn products_in_the_shapes_of_cards_are_too() {
    let gpu = open();
    gpu.shape_for_cards();
    check_products(&gpu, &[65], &[1, 33]);
}

fn check_products(gpu: &Rc<Gpu>, outputs: &[usize], tokens: &[u32]) {
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
                    assert!(error <= ROUNDING, "{} {rows} × {cols}, {count} rows: {error}", kind.name());
                }
            }
        }
    }
}
