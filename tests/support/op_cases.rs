//! Ops on a GPU against their oracles: steps of all sizes, widths on both sides of a workgroup's 64 threads. A case says
//! how many dispatches a step takes where a fusion is what it is about.

use super::formats::FORMATS;
use super::numbers::{largest_error, numbers};
use super::ops::{PLAIN, ROWS, STEPS, Setting, Trial, given};
use super::oracles::{self, ACTIVATIONS};
use super::products::{Table, table_of};
use std::ops::Range;
use std::rc::Rc;
use wisplm::gpu::Gpu;
use wisplm::plan::{Builder, Factor, Head, Norm, Op, Pairs, Rope, Row, SlotId};

/// Sums of some hundred f32 values in another order, and roots and exponentials that may be off by some units in the last
/// place.
pub const ROUNDING: f32 = 5e-6;

/// Rows of numbers between −1 and 1.
pub fn random(name: &str, rows: usize, cols: usize, seed: u32) -> Table {
    floats(name, cols, numbers(rows * cols, seed))
}

pub fn floats(name: &str, cols: usize, values: Vec<f32>) -> Table {
    table_of(name, FORMATS[0], cols, values)
}

pub fn sum(x: &[f32], y: &[f32]) -> Vec<f32> {
    x.iter().zip(y).map(|(x, y)| x + y).collect()
}

pub fn product(x: &[f32], y: &[f32]) -> Vec<f32> {
    x.iter().zip(y).map(|(x, y)| x * y).collect()
}

/// The ops that follow the embedding of table 0, in steps of all sizes. Answers the dispatches of each.
fn follow(
    name: &str,
    gpu: &Rc<Gpu>,
    tables: &[&Table],
    (want, tolerance): (&[f32], f32),
    build: impl Fn(&mut Builder, SlotId) -> SlotId,
) -> Vec<u64> {
    let mut trial = Trial::new(gpu, tables, PLAIN, |b| {
        let x = given(b, tables[0]);
        Head::Hidden { x: build(b, x) }
    });
    trial.follow(name, &STEPS, want, tolerance)
}

pub fn norms(gpu: &Rc<Gpu>) {
    for (width, runs) in [(1, 3), (3, 1), (63, 2), (64, 1), (65, 3), (80, 2), (576, 1)] {
        let (w, b) = (random("w", 1, width, 1), random("b", 1, width, 2));
        // Far from zero, where a variance is not the mean square.
        for (scale, offset) in [(1.0, 0.0), (30.0, 0.0), (1.0, 10.0)] {
            let x = numbers(ROWS * width * runs, 3).iter().map(|x| x * scale + offset).collect();
            let (x, y) = (floats("x", width * runs, x), random("y", ROWS, width * runs, 4));
            for (kind, eps) in [("rms", 1e-5), ("even", 1e-6), ("layer", 1e-5)] {
                // A value's variance is nothing: only rounding is left, which 1/√ε magnifies.
                if kind == "layer" && width == 1 {
                    continue;
                }
                let norm = |b: &mut Builder| match kind {
                    "rms" => Norm::Rms { weight: b.vector("w", width).unwrap() },
                    "even" => Norm::Even { scale: 0.25 },
                    _ => Norm::Layer {
                        weight: b.vector("w", width).unwrap(),
                        bias: b.vector("b", width).unwrap(),
                    },
                };
                let (weight, bias) = match kind {
                    "rms" => (w.weights.clone(), None),
                    "even" => (vec![0.25; width], None),
                    _ => (w.weights.clone(), Some(&b.weights[..])),
                };
                let want = oracles::norm(&x.weights, &weight, bias, eps);
                // An offset of 10 leaves x − mean with 20 bits, and both sides round the mean.
                let tolerance = if offset == 0.0 { ROUNDING } else { 2e-5 };
                let name = format!("{kind} of {runs} × {width}, scale {scale}, offset {offset}");
                let tables = [&x, &y, &w, &b];
                let check = |form: &str, want: &[f32], build: &dyn Fn(&mut Builder, SlotId) -> SlotId| {
                    follow(&format!("{name}, {form}"), gpu, &tables, (want, tolerance), build)
                };
                check("in place", &want, &|b, x| {
                    let norm = norm(b);
                    b.push(Op::Norm { norm, eps, width, x, out: x });
                    x
                });
                check("elsewhere", &want, &|b, x| {
                    let (norm, out) = (norm(b), b.slot(width * runs));
                    b.push(Op::Norm { norm, eps, width, x, out });
                    out
                });
                let dispatches = check("added", &sum(&y.weights, &want), &|b, x| {
                    let (to, norm, out) = (given(b, &y), norm(b), b.slot(width * runs));
                    b.push(Op::Norm { norm, eps, width, x, out });
                    b.push(Op::Add { x: to, y: out });
                    to
                });
                let fused = 3 + u64::from(kind != "rms");
                assert_eq!(dispatches, [fused; 6], "{name}");
            }
        }
    }
}

pub fn rotations(gpu: &Rc<Gpu>) {
    for pairs in [Pairs::Interleaved, Pairs::Halves] {
        for (heads, dim, turning) in
            [(1, 16, 16), (3, 64, 64), (2, 64, 32), (5, 80, 20), (3, 6, 2), (2, 256, 256)]
        {
            let frequencies: Vec<f32> =
                (0..turning / 2).map(|i| 10_000f32.powf(-2.0 * i as f32 / turning as f32)).collect();
            let x = random("x", ROWS, heads * dim, 4);
            let want = oracles::rotated(&x.weights, [heads, dim], 0, pairs, &frequencies);
            let name = format!("{pairs:?}, {turning} of {dim}");
            // The same sines, two products and a sum: half a unit in the last place each.
            follow(&name, gpu, &[&x], (&want, 5e-7), |b, x| {
                let frequencies = frequencies.clone();
                let rope = Rope { pairs, frequencies, factors: None, magnitude: 1.0, temperature: None };
                let rope = b.rope(rope);
                b.push(Op::Rotate { rope, dim, x });
                x
            });
        }
    }
}

pub fn elementwise(gpu: &Rc<Gpu>) {
    // Widths that neither four nor 64 threads of four divide; where the functions bend, and far beyond.
    for (width, scale) in [(1, 1.0), (70, 12.0), (257, 1.0), (257, 12.0), (260, 1e4)] {
        let x = numbers(ROWS * width, 5).iter().map(|x| x * scale).collect();
        let (x, y) = (floats("x", width, x), random("y", ROWS, width, 6));
        let check = |name: &str, want: &[f32], tolerance, ops: &dyn Fn(&mut Builder, SlotId)| {
            let name = format!("{name}, {width} of ±{scale}");
            follow(&name, gpu, &[&x, &y], (want, tolerance), |b, x| {
                ops(b, x);
                x
            });
        };
        for f in ACTIVATIONS {
            let want = oracles::activated(f, &x.weights);
            check(&format!("{f:?}"), &want, ROUNDING, &|b, x| b.push(Op::Activate { f, x }));
            check(&format!("gate {f:?}"), &product(&want, &y.weights), ROUNDING, &|b, x| {
                let y = given(b, &y);
                b.push(Op::Gate { f, x, y });
            });
        }
        check("sum", &sum(&x.weights, &y.weights), 0.0, &|b, x| {
            let y = given(b, &y);
            b.push(Op::Add { x, y });
        });
        let third: Vec<f32> = x.weights.iter().map(|x| x * 0.3).collect();
        check("scaled", &third, 0.0, &|b, x| b.push(Op::Scale { by: Factor::Number(0.3), x }));
    }
}

/// Tables in one part and in several: rows come from where they are, and others pass.
pub fn embeddings(gpu: &Rc<Gpu>) {
    let width = 70;
    let (x, positions, types) =
        (random("x", ROWS, width, 7), random("positions", ROWS, width, 8), random("types", 3, width, 9));
    let row = |table: &Table, row: usize| table.weights[row * width..][..width].to_vec();
    let all = |table: &Table, index: &dyn Fn(usize) -> usize| -> Vec<f32> {
        (0..ROWS).flat_map(|token| row(table, index(token))).collect()
    };
    let scaled: Vec<f32> = x.weights.iter().map(|x| x * 3.0).collect();
    let whole = sum(&sum(&scaled, &positions.weights), &all(&types, &|_| 1));
    for bytes in [u64::MAX, 4096] {
        gpu.split_tables(bytes);
        let mut trial = Trial::new(gpu, &[&x, &positions, &types], PLAIN, |b| {
            let out = b.slot(width);
            let table = b.matrix("x", ROWS, width).unwrap();
            b.push(Op::Embed { table, scale: 3.0, out });
            for (name, rows, row) in [("positions", ROWS, Row::Position), ("types", 3, Row::Fixed(1))] {
                let table = b.matrix(name, rows, width).unwrap();
                b.push(Op::AddRow { table, row, x: out });
            }
            Head::Hidden { x: out }
        });
        trial.follow(&format!("tables of {bytes}"), &STEPS, &whole, 0.0);
    }
    gpu.split_tables(u64::MAX);
    // Texts of a sequence that end in token 5, and in any later one of 5: as an encoder has them, all at once.
    let tokens: Vec<u32> = (0..ROWS as u32).map(|k| k % 11).collect();
    let last = 2;
    let text = |k: usize| tokens[..k].iter().filter(|token| **token == 5).count().min(last);
    let want: Vec<f32> = tokens
        .iter()
        .enumerate()
        .flat_map(|(k, token)| sum(&row(&x, *token as usize), &row(&types, text(k))))
        .collect();
    let setting = Setting { causal: false, ..PLAIN };
    let mut trial = Trial::new(gpu, &[&x, &types], setting, |b| {
        let x = given(b, &x);
        let table = b.matrix("types", 3, width).unwrap();
        b.push(Op::AddRow { table, row: Row::Text { separator: 5, last }, x });
        Head::Hidden { x }
    });
    assert_eq!(trial.step(&[&tokens]).0, want, "texts");
}

pub fn parts(gpu: &Rc<Gpu>) {
    for (width, run, first, part) in
        [(60, 20, 5, 7), (60, 60, 33, 27), (60, 4, 2, 2), (60, 60, 0, 60), (390, 130, 65, 65)]
    {
        let x = random("x", ROWS, width, 10);
        let want: Vec<f32> =
            x.weights.chunks_exact(run).flat_map(|run| &run[first..first + part]).copied().collect();
        follow(&format!("{part} of {run} from {first}"), gpu, &[&x], (&want, 0.0), |b, x| {
            let out = b.slot(width / run * part);
            b.push(Op::Part { x, run, first, out });
            out
        });
    }
}

/// Means of texts' rows, of their first ones and of their last ones; the first row is nothing, and stays that.
pub fn means(gpu: &Rc<Gpu>) {
    let ends = STEPS.iter().scan(0, |end, rows| {
        *end += rows;
        Some(*end)
    });
    let texts: Vec<Range<usize>> = ends.zip(STEPS).map(|(end, rows)| end - rows..end).collect();
    let tokens: Vec<u32> = (0..ROWS as u32).collect();
    for width in [1, 5, 65, 255, 256, 257, 384] {
        let mut x = numbers(ROWS * width, 26);
        x[..width].fill(0.0);
        let x = floats("x", width, x);
        let setting = Setting { causal: false, ..PLAIN };
        let mut trial = Trial::new(gpu, &[&x], setting, |b| Head::Hidden { x: given(b, &x) });
        let first = texts.iter().map(|text| text.start..text.start + 1).collect();
        let last = texts.iter().map(|text| text.end - 1..text.end).collect();
        for ranges in [texts.clone(), texts[3..4].to_vec(), first, last] {
            for normalize in [false, true] {
                let of = |rows: &Range<usize>| {
                    oracles::mean(&x.weights[rows.start * width..rows.end * width], width, normalize)
                };
                let want: Vec<f32> = ranges.iter().flat_map(of).collect();
                let (got, read) = trial.means(&tokens, &ranges, normalize);
                let error = largest_error(&got, &want);
                assert!(error <= ROUNDING, "{width} columns, {ranges:?}, {normalize}: off by {error}");
                // A row each, filled up to blocks of 32.
                assert_eq!(read, (4 * ranges.len() * width.next_multiple_of(32)) as u64);
                trial.rewind();
            }
        }
    }
}
