//! How far a model's log-probabilities are from its original's.

use super::models::{json, load_fixture_on, numbers, tokens};
use std::rc::Rc;
use wisplm::gpu::Gpu;
use wisplm::loader::Model;
use wisplm::runtime::log_probability;

pub fn mean_error(got: &[f32], want: &[f32]) -> f32 {
    assert_eq!(got.len() + 1, want.len());
    let errors: Vec<f32> = got.iter().zip(&want[1..]).map(|(got, want)| (got - want).abs()).collect();
    errors.iter().sum::<f32>() / errors.len() as f32
}

/// The log-probability of each token but the first, taken `step` at a time.
pub fn score_in_steps(model: &mut Model, tokens: &[u32], step: usize) -> Vec<f32> {
    let (mut scores, mut logits) = (vec![], vec![]);
    let mut cache = model.executor.new_cache();
    for (k, part) in tokens.chunks(step).enumerate() {
        model.executor.begin(&mut [(&mut cache, part)]).unwrap();
        assert!(model.executor.advance(&mut [&mut cache], &mut || false).unwrap());
        for first in (0..part.len()).step_by(7) {
            let rows = first..part.len().min(first + 7);
            assert!(model.executor.logits(rows.clone(), &mut logits).unwrap());
            for (row, logits) in rows.clone().zip(logits.chunks_exact(logits.len() / rows.len())) {
                if let Some(next) = tokens.get(k * step + row + 1) {
                    scores.push(log_probability(logits, *next));
                }
            }
        }
    }
    scores
}

/// Steps that a text is taken in at most: on a program each takes some ten milliseconds, and what is wrong shows in a few.
const STEPS: usize = 48;

/// The mean errors of a tiny model on a GPU, taken so many tokens at a time.
pub fn errors(gpu: &Rc<Gpu>, name: &str, steps: &[usize]) -> Vec<f32> {
    let mut model = load_fixture_on(gpu, &format!("tiny/{name}.gguf"));
    let answers = json(&format!("tiny/{name}.json"));
    let (tokens, want) = (tokens(&answers["tokens"]), numbers(&answers["logprobs"]));
    let error = |step: &usize| {
        let count = tokens.len().min(STEPS * step);
        let error = mean_error(&score_in_steps(&mut model, &tokens[..count], *step), &want[..count]);
        println!("{name}, {step} at a time: mean |Δ log-probability| {error:.6}");
        error
    };
    steps.iter().map(error).collect()
}
