//! Ops that keep states on a GPU, against their formulas: two sequences that wait for each other, and go on.

use super::numbers::{largest_error, numbers};
use super::op_cases::{ROUNDING, floats, random};
use super::ops::{PLAIN, Setting, Trial, given};
use super::oracles;
use super::products::Table;
use std::rc::Rc;
use wisplm::cpu::kernels::delta_rule::Token;
use wisplm::gpu::Gpu;
use wisplm::plan::{DeltaRule, Head, Op};

/// Steps of two sequences, which their states follow: one of them waits, or has one row.
const TURNS: [[usize; 2]; 6] = [[1, 1], [3, 0], [15, 2], [1, 17], [1, 1], [33, 16]];

/// Runs [`TURNS`] of tokens: the even ones of one sequence, the odd ones of the other.
fn take_turns(name: &str, trial: &mut Trial, want: [&[f32]; 2], width: usize, tolerance: f32) {
    let mut done = [0; 2];
    for turn in TURNS {
        let tokens = [0, 1]
            .map(|s| -> Vec<u32> { (done[s]..done[s] + turn[s]).map(|k| (2 * k + s) as u32).collect() });
        let (got, _) = trial.step(&[&tokens[0], &tokens[1]]);
        let rows = |s: usize| &want[s][done[s] * width..(done[s] + turn[s]) * width];
        let error = largest_error(&got, &[rows(0), rows(1)].concat());
        assert!(error <= tolerance, "{name}, {turn:?} rows after {done:?}: {error}");
        done = [0, 1].map(|s| done[s] + turn[s]);
    }
}

/// The rows of a table that the two sequences of [`take_turns`] have.
fn halves(table: &Table) -> [Vec<f32>; 2] {
    let cols = table.info.cols() as usize;
    [0, 1].map(|s| table.weights.chunks_exact(cols).skip(s).step_by(2).flatten().copied().collect())
}

pub fn convolutions(gpu: &Rc<Gpu>) {
    for (width, taps) in [(3, 1), (63, 2), (65, 4), (130, 3), (70, 32)] {
        let (x, w) = (random("x", 128, width, 18), random("w", width, taps, 19));
        let want = halves(&x).map(|x| oracles::convolved(&x, width, taps, |c, j| w.weights[c * taps + j]));
        let setting = Setting { sequences: 2, ..PLAIN };
        let mut trial = Trial::new(gpu, &[&x, &w], setting, |b| {
            let x = given(b, &x);
            let (state, weight) = (b.state((taps - 1) * width), b.matrix("w", width, taps).unwrap());
            b.push(Op::Convolve { state, weight, x });
            Head::Hidden { x }
        });
        let want = [&want[0][..], &want[1]];
        take_turns(&format!("{taps} taps of {width}"), &mut trial, want, width, ROUNDING);
    }
}

pub fn delta_rules(gpu: &Rc<Gpu>) {
    for (dim, key_heads, heads) in [(4, 1, 1), (20, 2, 4), (64, 1, 3), (65, 2, 2), (128, 2, 4)] {
        // Vectors of length about 1.
        let short = |name: &str, seed| {
            let values = numbers(128 * key_heads * dim, seed);
            floats(name, key_heads * dim, values.iter().map(|x| x * (3.0 / dim as f32).sqrt()).collect())
        };
        let (q, k, v) = (short("q", 20), short("k", 21), random("v", 128, heads * dim, 22));
        let wide = |name: &str, seed| {
            floats(name, heads, numbers(128 * heads, seed).iter().map(|x| 4.0 * x).collect())
        };
        let (decay, rate) = (wide("decay", 23), wide("rate", 24));
        let a = floats("a", heads, numbers(heads, 25).iter().map(|a| -0.3 * a.abs()).collect());
        let given_to = [&q, &k, &v, &decay, &rate].map(halves);
        let want = [0, 1].map(|s| {
            let [q, k, v, decays, rates] = [0, 1, 2, 3, 4].map(|i| &given_to[i][s]);
            let of_head = |head: usize| {
                let token = |t: usize| {
                    let key = (t * key_heads + head % key_heads) * dim;
                    let value = (t * heads + head) * dim;
                    Token {
                        q: &q[key..key + dim],
                        k: &k[key..key + dim],
                        v: &v[value..value + dim],
                        decay: oracles::decay(a.weights[head], decays[t * heads + head]) as f32,
                        rate: oracles::rate(rates[t * heads + head]) as f32,
                    }
                };
                let tokens: Vec<Token> = (0..64).map(token).collect();
                oracles::delta_rule(&mut vec![0.0; dim * dim], dim, &tokens)
            };
            let all: Vec<Vec<f32>> = (0..heads).map(of_head).collect();
            (0..64)
                .flat_map(|t| all.iter().flat_map(move |head| head[t * dim..][..dim].to_vec()))
                .collect::<Vec<f32>>()
        });
        let setting = Setting { sequences: 2, ..PLAIN };
        let mut trial = Trial::new(gpu, &[&q, &k, &v, &decay, &rate, &a], setting, |b| {
            let [q, k, v, decay, rate] = [&q, &k, &v, &decay, &rate].map(|table| given(b, table));
            let (state, out) = (b.state(heads * dim * dim), b.slot(heads * dim));
            let a = b.vector("a", heads).unwrap();
            b.push(Op::DeltaRule(DeltaRule { state, dim, q, k, v, decay, rate, a, out }));
            Head::Hidden { x: out }
        });
        let name = format!("delta rule of {heads} × {dim}, {key_heads} of keys");
        // What one row rounds, the next ones carry on.
        take_turns(&name, &mut trial, [&want[0], &want[1]], heads * dim, 2e-5);
    }
}
