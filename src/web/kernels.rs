//! The products alone, and what the tab could do at best: `bench/` times them from outside.

use super::ceilings;
use crate::cpu::activations::Quantized;
use crate::cpu::kernels::{Unpacked, matmul::multiply};
use crate::gguf::TensorType;
use crate::quant::{BLOCK, Matrix, PACKINGS, Packer};
use std::fmt::Write;
use wasm_bindgen::prelude::*;

/// Outputs and inputs: those of a 135M model, widened to whole super-blocks of 256.
const SHAPES: [(usize, usize); 2] = [(1536, 768), (768, 1536)];
/// Rows of activations: decode, a batch of sequences, a prompt.
const BATCHES: [usize; 3] = [1, 8, 128];
/// Decode reads weights from memory, not from a cache: more than any shared cache holds.
const STREAMED_BYTES: usize = 96 << 20;

#[derive(Clone, Copy)]
enum Work {
    Product { kind: TensorType, rows: usize, cols: usize, batch: usize },
    Stream,
    Dot,
}

/// What a case works on.
enum Subject {
    Product { matrices: Vec<Matrix>, x: Vec<f32>, quantized: Quantized, unpacked: Unpacked, out: Vec<f32> },
    Memory(Vec<u128>),
}

/// All cases; the one that ran last is kept ready.
#[wasm_bindgen]
pub struct Bench {
    works: Vec<Work>,
    ready: Option<(usize, Subject)>,
}

#[wasm_bindgen]
impl Bench {
    #[wasm_bindgen(constructor)]
    #[allow(clippy::new_without_default)]
    pub fn new() -> Bench {
        let mut works = vec![Work::Stream, Work::Dot];
        for batch in BATCHES {
            for (rows, cols) in SHAPES {
                works.extend(PACKINGS.iter().map(|p| Work::Product { kind: p.kind, rows, cols, batch }));
            }
        }
        Bench { works, ready: None }
    }

    /// The cases as JSON: `{ name, kind, format, rows, cols, batch, bytes, ops }[]`; `bytes` and `ops` are those of
    /// one iteration.
    pub fn cases(&self) -> String {
        let mut json = String::from("[");
        for work in &self.works {
            if json.len() > 1 {
                json.push(',');
            }
            // Writing to a string cannot fail.
            let _ = match work {
                Work::Stream => {
                    write!(json, r#"{{"name":"stream","kind":"ceiling","bytes":{STREAMED_BYTES},"ops":0}}"#)
                }
                Work::Dot => {
                    write!(json, r#"{{"name":"dot","kind":"ceiling","bytes":0,"ops":{}}}"#, ceilings::DOT_OPS)
                }
                Work::Product { kind, rows, cols, batch } => {
                    let packing = PACKINGS.iter().find(|packing| packing.kind == *kind);
                    let unit = packing.map_or(0, |p| p.code_bytes + p.scale_bytes);
                    let bytes = packing.map_or(0, |p| rows / 8 * cols / p.unit * unit);
                    let name = kind.name();
                    let class = if *batch == 1 { "mat-vec" } else { "matmul" };
                    write!(
                        json,
                        r#"{{"name":"{name} {rows}x{cols} x{batch}","kind":"{class}","format":"{name}","rows":{rows},"cols":{cols},"batch":{batch},"bytes":{bytes},"ops":{}}}"#,
                        2 * rows * cols * batch
                    )
                }
            };
        }
        json.push(']');
        json
    }

    /// Runs a case `iterations` times. The first call of a case also prepares it.
    pub fn run(&mut self, index: usize, iterations: usize) {
        let work = self.works[index];
        if self.ready.as_ref().is_none_or(|(ready, _)| *ready != index) {
            self.ready = None;
            self.ready = Some((index, prepare(work)));
        }
        let Some((_, subject)) = &mut self.ready else { return };
        for iteration in 0..iterations {
            match (work, &mut *subject) {
                (Work::Stream, Subject::Memory(memory)) => ceilings::stream(memory),
                (Work::Dot, Subject::Memory(memory)) => ceilings::dot(memory),
                (
                    Work::Product { batch, rows, .. },
                    Subject::Product { matrices, x, quantized, unpacked, out },
                ) => {
                    let matrix = &matrices[iteration % matrices.len()];
                    let put = |row: usize, first: usize, values: &[f32]| {
                        out[row * rows + first..][..values.len()].copy_from_slice(values);
                    };
                    multiply(matrix, 0..matrix.panels(), 0..batch, x, quantized, unpacked, put)
                        .expect("every packing has a product");
                }
                _ => unreachable!("a case is prepared before it runs"),
            }
        }
    }
}

fn prepare(work: Work) -> Subject {
    let Work::Product { kind, rows, cols, batch } = work else {
        return Subject::Memory((0..STREAMED_BYTES / 16).map(|k| k as u128).collect());
    };
    let mut state = 1u32;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state
    };
    // Without bits 6 and 7 no bytes are an infinite or absurd f16, f32 or exponent, wherever a format has its scales.
    let block = rows * cols / kind.block_len() as usize * kind.block_bytes() as usize;
    let bytes: Vec<u8> = (0..block).map(|_| next() as u8 & 0x3f | 0x20).collect();
    let copies = if batch == 1 { (STREAMED_BYTES / block).max(1) } else { 1 };
    let matrix = || {
        let mut packer = Packer::new(kind, rows, cols).expect("the shapes suit every format");
        packer.push(&bytes).expect("the scales are finite");
        packer.finish().expect("all bytes were given")
    };
    let matrices = (0..copies).map(|_| matrix()).collect();
    assert!(cols.is_multiple_of(BLOCK));
    let x: Vec<f32> = (0..batch * cols).map(|_| next() as f32 / u32::MAX as f32 - 0.5).collect();
    let mut quantized = Quantized::default();
    quantized.quantize(&x, cols);
    Subject::Product { matrices, x, quantized, unpacked: Unpacked::default(), out: vec![0.0; batch * rows] }
}
