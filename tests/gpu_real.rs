//! Real weights in the shapes for cards, on lavapipe: what the narrow forms of tiles cost their probabilities.

mod support;

use support::gpu::{ALL, card};
use support::models::{json, numbers, path, tokens};
use support::scores::{mean_error, score_in_steps};
use wisplm::gpu::{Tile, Tuning};
use wisplm::loader::Loader;

/// Narrow forms, and the mean |Δ log-probability| against float32 that each may cost. Over 96 tokens floats of 16 bits
/// have 0.0023, bytes 0.0507; of Gemma 3 270M it is 0.0019 and 0.0415.
const FORMS: [(Tile, f32); 2] = [(Tile::Half, 0.02), (Tile::Packed, 0.06)];
const MODEL: &str = "SmolLM2-135M-Instruct.Q4_1";
/// Tokens that are scored, more than a tile's rows: lavapipe takes a second for each.
const TOKENS: usize = 40;

#[test]
fn narrow_tiles_cost_a_real_model_little() {
    let bytes = std::fs::read(path(&format!("{MODEL}.gguf"))).unwrap();
    let text = &json(&format!("score/{MODEL}.json"))["texts"][0];
    let (tokens, want) = (tokens(&text["tokens"]), numbers(&text["logprobs"]));
    for (tile, most) in FORMS {
        let gpu = card(ALL);
        gpu.tune(Tuning { tile: Some(tile), ..Tuning::default() });
        let mut loader = Loader::new(1, None, Some(512)).on(&gpu);
        bytes.chunks(1 << 22).for_each(|chunk| loader.push(chunk).unwrap());
        let mut model = loader.finish().unwrap();
        let error = mean_error(&score_in_steps(&mut model, &tokens[..TOKENS], TOKENS), &want[..TOKENS]);
        println!("{MODEL}, {tile:?}: mean |Δ log-probability| {error:.5} over {TOKENS} tokens");
        assert!(error <= most, "{tile:?}: {error}");
    }
}
