//! Whole models against the float32 answers of their originals (`tests/fixtures/scripts/tiny_models.py`).

mod support;

use support::models::{json, load_fixture, numbers, tokens};
use support::scores::score_in_steps;
use wisplm::loader::Model;
use wisplm::runtime::Score;
use wisplm::task::{Embedding, Pooling};

/// Mean |Δ log-probability| that a float model may have against float32: what keys and values in 16 bits cost.
const MEAN_ERROR: f32 = 0.002;

/// Each has three tiny models, of different sizes.
const DECODERS: [&str; 10] =
    ["llama", "mistral3", "qwen2", "qwen3", "smollm3", "phi3", "gemma2", "gemma3", "gemma4", "qwen35"];

fn score(model: &mut Model, tokens: &[u32]) -> Vec<Option<f32>> {
    let mut run = Score::new(&model.executor, tokens).expect("the tokens fit");
    while !run.advance(&mut model.executor, &mut || false).expect("the run succeeds") {}
    run.logprobs().to_vec()
}

fn mean_error(got: &[Option<f32>], want: &[f32]) -> f32 {
    assert_eq!(got.len(), want.len());
    assert!(got[0].is_none());
    let errors: Vec<f32> =
        got.iter().zip(want).skip(1).map(|(got, want)| (got.unwrap() - want).abs()).collect();
    errors.iter().sum::<f32>() / errors.len() as f32
}

#[test]
fn decoders_score_as_their_originals() {
    let mut worst = 0.0;
    for name in DECODERS.iter().flat_map(|family| (0..3).map(move |seed| format!("{family}-{seed}"))) {
        let mut model = load_fixture(&format!("tiny/{name}.gguf"));
        let answers = json(&format!("tiny/{name}.json"));
        let tokens = tokens(&answers["tokens"]);
        let got = score(&mut model, &tokens);
        let error = mean_error(&got, &numbers(&answers["logprobs"]));
        println!("{name}: {} tokens, mean |Δ log-probability| {error:.6}", tokens.len());
        worst = error.max(worst);
    }
    assert!(worst <= MEAN_ERROR, "{worst}");
}

#[test]
fn encoders_embed_as_their_originals() {
    for name in ["bert-0", "bert-1", "bert-2"] {
        let mut model = load_fixture(&format!("tiny/{name}.gguf"));
        let answers = json(&format!("tiny/{name}.json"));
        let tokens = tokens(&answers["tokens"]);
        for (pooling, key) in [(Pooling::Mean, "mean"), (Pooling::Cls, "cls")] {
            let want = numbers(&answers["embedding"][key]);
            let texts = vec![tokens.clone()];
            let mut run = Embedding::new(&model.executor, texts, pooling, false).expect("the tokens fit");
            while !run.advance(&mut model.executor, &mut || false).expect("the run succeeds") {}
            let got = run.take_vectors().concat();
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
            let cosine = dot(&got, &want) / (dot(&got, &got) * dot(&want, &want)).sqrt();
            println!("{name} {key}: cosine {cosine:.8}");
            assert!(cosine >= 0.9999, "{name} {key}: {cosine}");
        }
    }
}

/// A prompt at once, interrupted between all ops, and some tokens or one at a time give the same bits.
#[test]
fn answers_do_not_depend_on_how_a_prompt_is_cut() {
    for name in DECODERS.iter().flat_map(|family| (0..3).map(move |seed| format!("{family}-{seed}"))) {
        let mut model = load_fixture(&format!("tiny/{name}.gguf"));
        let tokens = tokens(&json(&format!("tiny/{name}.json"))["tokens"]);
        let whole = score(&mut model, &tokens);

        let mut interrupted = Score::new(&model.executor, &tokens).unwrap();
        let mut pauses = 0;
        while !interrupted.advance(&mut model.executor, &mut || true).unwrap() {
            pauses += 1;
        }
        assert!(pauses > 40, "{pauses}");
        assert_eq!(interrupted.logprobs(), whole, "{name}");

        let want: Vec<f32> = whole.iter().flatten().copied().collect();
        for step in [37, 1] {
            let got = score_in_steps(&mut model, &tokens, step);
            assert_eq!(got, want, "{name}, {step} at a time");
        }
    }
}
