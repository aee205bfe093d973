//! Tiny models: how far their scores are from float32, plain and in the mixtures of formats that llama.cpp makes.

use super::draft::Draft;
use super::formats::quantize;
use super::models::{fixture, json, load, numbers, tokens};
use serde_json::Value;
use sha2::{Digest, Sha256};
use wisplm::gguf::TensorType;
use wisplm::loader::Model;
use wisplm::runtime::Score;
use wisplm::task::{Embedding, Pooling};

/// A tiny model in a mixture: the mean |Δ| of its answers from float32 on the same, decoded weights, and llama.cpp's.
pub struct Mixture {
    pub name: String,
    pub family: String,
    pub mixture: String,
    pub ours: f32,
    pub llama_cpp: f32,
}

/// All that `tests/fixtures/tiny/quantized.json` has.
pub fn mixtures() -> Vec<Mixture> {
    let records = json("tiny/quantized.json");
    let models = records.as_object().expect("an object");
    let of_model = |(name, mixtures): (&String, &Value)| {
        let mixtures = mixtures.as_object().expect("an object");
        mixtures.iter().map(|(mixture, record)| measure(name, mixture, record)).collect::<Vec<_>>()
    };
    models.iter().flat_map(of_model).collect()
}

fn measure(name: &str, mixture: &str, record: &Value) -> Mixture {
    let draft = match std::fs::read(fixture(&format!("tiny/{name}-{mixture}.gguf"))) {
        Ok(bytes) => Draft::of(&bytes),
        Err(_) => quantized(name, record),
    };
    let input = match record.get("tokens") {
        Some(input) => tokens(input),
        None => tokens(&json(&format!("tiny/{name}.json"))["tokens"]),
    };
    check(&format!("{name} {mixture}"), &draft, record);
    let mut model = load(&draft.file(), 65_536).unwrap();
    let ours = mean_error(&answer(&mut model, &input), &numbers(&record["reference"]));
    let llama_cpp = record["error"].as_f64().expect("a number") as f32;
    Mixture { name: name.into(), family: draft.family(), mixture: mixture.into(), ours, llama_cpp }
}

/// The mean |Δ| of a tiny decoder's log-probabilities from float32, and of how many tokens.
pub fn plain(name: &str) -> (f32, usize) {
    let mut model = super::models::load_fixture(&format!("tiny/{name}.gguf"));
    let answers = json(&format!("tiny/{name}.json"));
    let tokens = tokens(&answers["tokens"]);
    (mean_error(&answer(&mut model, &tokens), &numbers(&answers["logprobs"])), tokens.len())
}

/// The cosine of a tiny encoder's vector, the mean of its tokens', and float32's.
pub fn cosine(name: &str) -> f64 {
    let mut model = super::models::load_fixture(&format!("tiny/{name}.gguf"));
    let answers = json(&format!("tiny/{name}.json"));
    let got = answer(&mut model, &tokens(&answers["tokens"]));
    let want = numbers(&answers["embedding"]["mean"]);
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
    dot(&got, &want) / (dot(&got, &got) * dot(&want, &want)).sqrt()
}

/// The mean |Δ| of numbers, where there are some.
fn mean_error(got: &[f32], want: &[f32]) -> f32 {
    assert_eq!(got.len(), want.len());
    let errors = got.iter().zip(want).map(|(got, want)| (got - want).abs());
    let errors: Vec<f32> = errors.filter(|error| !error.is_nan()).collect();
    assert!(errors.len() + 1 >= want.len());
    errors.iter().sum::<f32>() / errors.len() as f32
}

/// A tiny model with its matrices quantized as llama.cpp has them, to the byte.
fn quantized(name: &str, record: &Value) -> Draft {
    let mut draft = Draft::tiny(name);
    for (tensor, kind) in record["kinds"].as_object().expect("an object") {
        let tensor = draft.tensor(tensor);
        let kind = TensorType::ALL.iter().find(|known| Some(known.name()) == kind.as_str());
        let cols = tensor.dims[0] as usize;
        let values = tensor.values();
        let rows = values.len() / cols;
        tensor.kind = *kind.expect("a known format");
        (tensor.bytes, _) = quantize(tensor.kind, values, rows, cols);
    }
    draft
}

/// That the weights are llama.cpp's own.
fn check(name: &str, draft: &Draft, record: &Value) {
    let mut tensors: Vec<_> = draft.tensors.iter().collect();
    tensors.sort_by_key(|tensor| &tensor.name);
    let mut digest = Sha256::new();
    tensors.iter().for_each(|tensor| digest.update(&tensor.bytes));
    let hex: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(Some(hex.as_str()), record["sha256"].as_str(), "{name}");
}

fn answer(model: &mut Model, tokens: &[u32]) -> Vec<f32> {
    if model.info.pooling.is_some() {
        let mut run = Embedding::new(&model.executor, vec![tokens.to_vec()], Pooling::Mean, false).unwrap();
        while !run.advance(&mut model.executor, &mut || false).unwrap() {}
        return run.take_vectors().concat();
    }
    let mut run = Score::new(&model.executor, tokens).unwrap();
    while !run.advance(&mut model.executor, &mut || false).unwrap() {}
    run.logprobs().iter().map(|logprob| logprob.unwrap_or(f32::NAN)).collect()
}
