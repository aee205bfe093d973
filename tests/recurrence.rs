//! Recurrences: their kernels against the plain formulas, and the states that steps leave.

mod support;

use support::models::{json, load_fixture, tokens};
use support::numbers::{largest_error, numbers};
use support::oracles;
use wisplm::cpu::kernels::convolution::convolve;
use wisplm::cpu::kernels::delta_rule::{self, Token};
use wisplm::cpu::{Cache, Executor};

/// Sums of some hundred f32 values in another order: some units in the last place.
const ROUNDING: f32 = 2e-6;

#[test]
fn convolutions_are_the_formula() {
    // Columns and taps on both sides of a vector, fewer rows than taps and more.
    for (width, taps, rows) in [(1, 1, 3), (3, 4, 1), (4, 2, 5), (5, 3, 9), (19, 4, 2), (32, 32, 40)] {
        let (x, weights) = (numbers(rows * width, 1), numbers(taps * width, 2));
        let weights: Vec<&[f32]> = weights.chunks_exact(width).collect();
        let nothing = vec![0.0; width];
        let row =
            |row: usize| row.checked_sub(taps - 1).map_or(&nothing[..], |row| &x[row * width..][..width]);
        let wanted = oracles::convolved(&x, width, taps, |c, j| weights[j][c]);
        for (t, want) in wanted.chunks_exact(width).enumerate() {
            let before: Vec<&[f32]> = (t..t + taps - 1).map(row).collect();
            let mut got = row(t + taps - 1).to_vec();
            convolve(&mut got, &before, &weights);
            let error = largest_error(&got, want);
            assert!(error <= ROUNDING, "{width} columns, {taps} taps, row {t}: {error}");
        }
    }
}

/// What rows bring to a head: vectors of length about 1.
struct Rows {
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
    decays: Vec<f32>,
    rates: Vec<f32>,
}

impl Rows {
    fn new(rows: usize, dim: usize) -> Self {
        let short = |seed| numbers(rows * dim, seed).iter().map(|x| x * (3.0 / dim as f32).sqrt()).collect();
        let share = |seed| numbers(rows, seed).iter().map(|x| 0.5 + x / 2.0).collect();
        Rows { q: short(1), k: short(2), v: numbers(rows * dim, 3), decays: share(4), rates: share(5) }
    }

    fn tokens(&self, dim: usize) -> Vec<Token<'_>> {
        let part = |row: usize| row * dim..(row + 1) * dim;
        let token = |row: usize| Token {
            q: &self.q[part(row)],
            k: &self.k[part(row)],
            v: &self.v[part(row)],
            decay: self.decays[row],
            rate: self.rates[row],
        };
        (0..self.rates.len()).map(token).collect()
    }
}

#[test]
fn the_delta_rule_is_the_formula() {
    // On both sides of the 16 columns that are taken at a time.
    for (dim, rows) in [(4, 1), (12, 3), (16, 7), (20, 5), (36, 40), (128, 9)] {
        let brought = Rows::new(rows, dim);
        let (mut state, mut out) = (numbers(dim * dim, 6), vec![0.0; rows * dim]);
        let mut wanted: Vec<f64> = state.iter().map(|value| f64::from(*value)).collect();
        delta_rule::run(&mut state, dim, &brought.tokens(dim), &mut out);

        let want = oracles::delta_rule(&mut wanted, dim, &brought.tokens(dim));
        let wanted: Vec<f32> = wanted.iter().map(|value| *value as f32).collect();
        // What one row rounds, the next ones carry on.
        for (what, got, want) in [("output", &out, &want), ("state", &state, &wanted)] {
            let error = largest_error(got, want);
            assert!(error <= 1e-5, "{what} of {rows} rows of {dim}: {error}");
        }
    }
}

#[test]
fn rows_at_once_and_one_by_one_give_the_same_bits() {
    let (dim, rows) = (20, 6);
    let brought = Rows::new(rows, dim);
    let tokens = brought.tokens(dim);
    let (mut together, mut alone) = (numbers(dim * dim, 6), numbers(dim * dim, 6));
    let (mut out, mut outs) = (vec![0.0; rows * dim], vec![0.0; rows * dim]);
    delta_rule::run(&mut together, dim, &tokens, &mut out);
    for (token, out) in tokens.chunks(1).zip(outs.chunks_exact_mut(dim)) {
        delta_rule::run(&mut alone, dim, token, out);
    }
    assert!(together == alone && out == outs);
}

#[test]
fn decays_and_rates_are_the_formulas() {
    for k in -1000..=1000 {
        let x = k as f32 / 10.0;
        assert!((f64::from(delta_rule::rate(x)) - oracles::rate(x)).abs() <= 1e-7, "σ({x})");
        for a in [-16.0, -1.0, -0.01, 0.0] {
            // e^y has y's error times itself, at most 1/e.
            let error = f64::from(delta_rule::decay(a, x)) - oracles::decay(a, x);
            assert!(error.abs() <= 3e-7, "a {a}, x {x}");
        }
    }
}

/// The logits after `tokens`.
fn step(executor: &mut Executor, cache: &mut Cache, tokens: &[u32]) -> Vec<u32> {
    executor.begin(&mut [(cache, tokens)]).unwrap();
    assert!(executor.advance(&mut [cache], &mut || false).unwrap());
    let mut logits = Vec::new();
    executor.logits([tokens.len() - 1], &mut logits).unwrap();
    logits.iter().map(|logit| logit.to_bits()).collect()
}

/// A model with states, its text, and what it answers to tokens 20..24 of it.
fn with_states(test: impl FnOnce(&mut Executor, &[u32], Vec<u32>)) {
    let mut model = load_fixture("tiny/qwen35-0.gguf");
    let text = tokens(&json("tiny/qwen35-0.json")["tokens"]);
    let executor = model.executor.cpu_mut().unwrap();
    let mut cache = executor.new_cache();
    step(executor, &mut cache, &text[..20]);
    let want = step(executor, &mut cache, &text[20..24]);
    test(executor, &text, want);
}

#[test]
fn a_dropped_step_leaves_the_state_as_it_was() {
    with_states(|executor, text, want| {
        let mut cache = executor.new_cache();
        step(executor, &mut cache, &text[..20]);
        for pause in (1..40).step_by(3) {
            executor.begin(&mut [(&mut cache, &text[40..60])]).unwrap();
            let mut left = pause;
            let mut wait = || {
                left -= 1;
                left == 0
            };
            assert!(!executor.advance(&mut [&mut cache], &mut wait).unwrap());
            executor.cancel();
        }
        assert_eq!(step(executor, &mut cache, &text[20..24]), want);
    });
}

#[test]
fn a_sequence_that_begins_anew_begins_without_a_state() {
    with_states(|executor, text, want| {
        let mut cache = executor.new_cache();
        step(executor, &mut cache, &text[70..90]);
        assert!(cache.rewind(0));
        step(executor, &mut cache, &text[..20]);
        assert_eq!(step(executor, &mut cache, &text[20..24]), want);
    });
}

#[test]
fn a_sequence_that_waits_keeps_its_state() {
    with_states(|executor, text, want| {
        let [mut cache, mut other] = [executor.new_cache(), executor.new_cache()];
        step(executor, &mut cache, &text[..20]);
        executor.begin(&mut [(&mut other, &text[3..9]), (&mut cache, &[])]).unwrap();
        assert!(executor.advance(&mut [&mut other, &mut cache], &mut || false).unwrap());
        assert_eq!(step(executor, &mut cache, &text[20..24]), want);
    });
}

#[test]
fn states_are_counted_as_memory() {
    with_states(|executor, text, _| {
        let mut cache = executor.new_cache();
        assert_eq!(cache.bytes(), 0);
        step(executor, &mut cache, &text[..2]);
        let states: usize = executor.plan().states.iter().map(|len| 2 * 4 * len).sum();
        assert!(cache.bytes() > states);
        // Three taps of 2·32 + 64 columns and four heads of 16 × 16, in each of four layers.
        assert_eq!(states, 2 * 4 * 4 * (3 * 128 + 4 * 256));
        assert!(executor.cache_capacity() > cache.bytes() as u64);
    });
}
