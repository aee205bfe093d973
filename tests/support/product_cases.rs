//! Products on a GPU with what is put before and behind them, against the plain formulas.

use super::numbers::largest_error;
use super::op_cases::{product, random, sum};
use super::ops::{PLAIN, ROWS, Setting, Trial, given};
use super::oracles;
use super::products::{Table, table};
use std::rc::Rc;
use wisplm::gguf::TensorType;
use wisplm::gpu::Gpu;
use wisplm::plan::{Activation, Builder, Factor, Head, Norm, Op, SlotId};

/// Sums of 576 products in another order, which are up to ±20 and off by 10⁻⁵; a gate multiplies two of them.
const ROUNDING: f32 = 1e-4;

/// Formats and shapes of matrices: columns and outputs.
pub const SMALL: [(TensorType, usize, usize); 2] = [(TensorType::F32, 100, 2), (TensorType::Q8_0, 96, 65)];
pub const LARGE: [(TensorType, usize, usize); 2] = [(TensorType::F32, 576, 130), (TensorType::Q4_0, 576, 65)];

/// Products with what is put before and behind them, in steps of one row and of few, the last the largest: tiles of many,
/// which may multiply in 16 bits, are tested by their formats. Rows of one, each of a sequence, are the fused kernels' case.
pub fn products(gpu: &Rc<Gpu>, shapes: &[(TensorType, usize, usize)], steps: &[usize]) {
    for &(kind, cols, outs) in shapes {
        let (x, y, n) = (random("x", ROWS, cols, 11), random("y", ROWS, outs, 12), random("n", 1, cols, 13));
        let [a, b, c] =
            [("a", 14), ("b", 15), ("c", 16)].map(|(name, seed)| table(name, kind, outs, cols, seed));
        let bias = random("bias", 1, outs, 17);
        let tables = [&x, &y, &n, &a, &b, &c, &bias];
        let normed = oracles::norm(&x.weights, &n.weights, None, 1e-5);
        let of = |x: &[f32], table: &Table| oracles::products(x, &table.weights, cols);
        let biased: Vec<f32> =
            of(&x.weights, &a).chunks_exact(outs).flat_map(|row| sum(row, &bias.weights)).collect();
        let (rows, most): (usize, _) = (steps.iter().sum(), steps[steps.len() - 1]);
        let check = |name: &str, want: &[f32], build: &dyn Fn(&mut Builder, SlotId) -> SlotId| {
            let setting = Setting { sequences: most, ..PLAIN };
            let mut trial = Trial::new(gpu, &tables, setting, |b| {
                let x = given(b, &x);
                Head::Hidden { x: build(b, x) }
            });
            let name = format!("{name}, {} {outs} × {cols}", kind.name());
            let want = &want[..rows * outs];
            let few = trial.follow(&name, steps, want, ROUNDING);
            // The same rows, each of a sequence of its own.
            let batch: Vec<[u32; 1]> = (0..most as u32).map(|token| [token]).collect();
            let batch: Vec<&[u32]> = batch.iter().map(|tokens| &tokens[..]).collect();
            let (got, dispatches) = trial.step(&batch);
            let error = largest_error(&got, &want[..most * outs]);
            assert!(error <= ROUNDING, "{name}, a row of each of {most} sequences: {error}");
            assert_eq!(dispatches, few[0], "{name}: the same kernels");
            few[0]
        };
        let multiply = |b: &mut Builder, x, (name, bias): (&str, bool)| {
            let weight = b.matrix(name, outs, cols).unwrap();
            let bias = bias.then(|| b.vector("bias", outs).unwrap());
            let out = b.slot(outs);
            b.push(Op::MatMul { weight, bias, x, out });
            out
        };
        let norm = |b: &mut Builder, x| {
            let (weight, out) = (b.vector("n", cols).unwrap(), b.slot(cols));
            b.push(Op::Norm { norm: Norm::Rms { weight }, eps: 1e-5, width: cols, x, out });
            out
        };
        assert_eq!(check("bias", &biased, &|b, x| multiply(b, x, ("a", true))), 2);
        let added = check("added", &sum(&y.weights, &biased), &|b, x| {
            let (to, out) = (given(b, &y), multiply(b, x, ("a", true)));
            b.push(Op::Add { x: to, y: out });
            to
        });
        assert_eq!(added, 3);
        // Of all functions the text is the same as by themselves.
        for f in [Activation::Silu, Activation::GeluErf] {
            let activated = check(&format!("{f:?}"), &oracles::activated(f, &biased), &|b, x| {
                let out = multiply(b, x, ("a", true));
                b.push(Op::Activate { f, x: out });
                out
            });
            let want = product(&oracles::activated(f, &of(&normed, &a)), &of(&normed, &b));
            let gated = check(&format!("norm, gate {f:?}"), &want, &|b, x| {
                let x = norm(b, x);
                let [gate, up] = ["a", "b"].map(|name| multiply(b, x, (name, false)));
                b.push(Op::Gate { f, x: gate, y: up });
                gate
            });
            assert_eq!([activated, gated], [2, 2]);
        }
        let [p, q, r] = [&a, &b, &c].map(|table| of(&normed, table));
        let doubled: Vec<f32> = sum(&q, &q);
        let three = check("norm, three", &sum(&sum(&p, &doubled), &r), &|b, x| {
            let x = norm(b, x);
            let [p, q, r] = ["a", "b", "c"].map(|name| multiply(b, x, (name, false)));
            b.push(Op::Scale { by: Factor::Number(2.0), x: q });
            b.push(Op::Add { x: p, y: q });
            b.push(Op::Add { x: p, y: r });
            p
        });
        assert_eq!(three, 2 + 3);
        for cap in [None, Some(3.0)] {
            let mut trial = Trial::new(gpu, &tables, PLAIN, |b| {
                let x = given(b, &x);
                let (x, weight) = (norm(b, x), b.matrix("a", outs, cols).unwrap());
                Head::Logits { weight, x, softcap: cap }
            });
            let capped = |x: &f32| cap.map_or(*x, |cap: f32| cap * (x / cap).tanh());
            let (want, mut first): (Vec<f32>, _) = (p.iter().map(capped).collect(), 0);
            for &rows in steps {
                let tokens: Vec<u32> = (first..first + rows as u32).collect();
                let (got, dispatches) = trial.logits(&tokens);
                let want = &want[first as usize * outs..][..rows * outs];
                let error = largest_error(&got, want);
                assert!(error <= ROUNDING, "logits capped at {cap:?}, {rows} rows: {error}");
                // One row's norm is the head's.
                assert_eq!(dispatches, if rows == 1 { 2 } else { 3 });
                first += rows as u32;
            }
        }
    }
}
