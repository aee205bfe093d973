//! Tiny models in the mixtures of formats that llama.cpp makes of them: no further from float32 on the same, decoded
//! weights than native llama.cpp is (`tests/fixtures/scripts/quantized.py`).

mod support;

use serde_json::Value;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use support::draft::Draft;
use support::formats::quantize;
use support::models::{fixture, json, load, numbers, tokens};
use wisplm::gguf::TensorType;
use wisplm::loader::Model;
use wisplm::runtime::Score;
use wisplm::task::{Embedding, Pooling};

/// How much further a family may be: means of rounding errors are themselves off by some percent. Recurrences magnify
/// them, so that one model says little.
const MORE: f32 = 1.1;

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

#[test]
fn mixtures_are_no_further_from_float32_than_llama_cpp_is() {
    // Of each family and mixture: ours, and llama.cpp's.
    let mut sums: BTreeMap<(String, String), [f32; 2]> = BTreeMap::new();
    for (name, mixtures) in json("tiny/quantized.json").as_object().expect("an object") {
        for (mixture, record) in mixtures.as_object().expect("an object") {
            let file = fixture(&format!("tiny/{name}-{mixture}.gguf"));
            let draft = match std::fs::read(file) {
                Ok(bytes) => Draft::of(&bytes),
                Err(_) => quantized(name, record),
            };
            let input = match record.get("tokens") {
                Some(input) => tokens(input),
                None => tokens(&json(&format!("tiny/{name}.json"))["tokens"]),
            };
            check(&format!("{name} {mixture}"), &draft, record);
            let mut model = load(&draft.file(), 65_536).unwrap();
            let (got, want) = (answer(&mut model, &input), numbers(&record["reference"]));
            assert_eq!(got.len(), want.len());
            let errors: Vec<f32> = got.iter().zip(&want).map(|(got, want)| (got - want).abs()).collect();
            let errors: Vec<f32> = errors.into_iter().filter(|error| !error.is_nan()).collect();
            assert!(errors.len() + 1 >= want.len());
            let error = errors.iter().sum::<f32>() / errors.len() as f32;
            let bar = record["error"].as_f64().expect("a number") as f32;
            println!("{name} {mixture}: mean |Δ| {error:.6}, llama.cpp {bar:.6}");
            let sums = sums.entry((draft.family(), mixture.clone())).or_default();
            *sums = [sums[0] + error, sums[1] + bar];
        }
    }
    let missed: Vec<_> = sums.iter().filter(|(_, [ours, theirs])| *ours > MORE * theirs).collect();
    assert!(missed.is_empty(), "{missed:?}");
}
