//! Adapters of low rank against their originals, merged into the weights in float32: on the CPU and on the GPU.

mod support;

use std::rc::Rc;
use support::draft::Draft;
use support::gpu::open;
use support::models::{fixture, json, numbers, tokens};
use support::team::on_threads;
use wisplm::error::{Code, Error, Result};
use wisplm::gguf::{TensorType, Value};
use wisplm::gpu::Gpu;
use wisplm::loader::{Loader, Model};
use wisplm::runtime::log_probability;

/// Mean |Δ log-probability| that a float model may have against float32: what keys and values in 16 bits cost.
const MEAN_ERROR: f32 = 0.002;

/// A model, and how many adapters it has.
const MODELS: [(&str, usize); 2] = [("llama-0", 2), ("phi3-0", 1)];

fn file(name: &str) -> Vec<u8> {
    std::fs::read(fixture(&format!("tiny/{name}.gguf"))).expect("the fixture is there")
}

fn load(gpu: Option<&Rc<Gpu>>, files: &[Vec<u8>], scales: &[f32]) -> Result<Model> {
    let loader = Loader::new(1, None, None).with_adapters(scales);
    let mut loader = match gpu {
        Some(gpu) => loader.on(gpu),
        None => loader,
    };
    for (number, file) in files.iter().enumerate() {
        if number > 0 {
            loader.next_file(None)?;
        }
        file.chunks(5000).try_for_each(|chunk| loader.push(chunk))?;
    }
    loader.finish()
}

fn files(name: &str, adapters: usize) -> Vec<Vec<u8>> {
    let adapters = (0..adapters).map(|k| format!("{name}-lora-{k}"));
    [name.to_owned()].into_iter().chain(adapters).map(|name| file(&name)).collect()
}

fn scores(model: &mut Model, tokens: &[u32], step: usize) -> Vec<f32> {
    let (mut scores, mut logits) = (vec![], vec![]);
    let mut cache = model.executor.new_cache();
    for (k, part) in tokens.chunks(step).enumerate() {
        model.executor.begin(&mut [(&mut cache, part)]).unwrap();
        while !model.executor.advance(&mut [&mut cache], &mut || false).unwrap() {}
        for row in 0..part.len() {
            while !model.executor.logits(row..row + 1, &mut logits).unwrap() {}
            scores.extend(tokens.get(k * step + row + 1).map(|next| log_probability(&logits, *next)));
        }
    }
    scores
}

fn mean_error(got: &[f32], want: &[f32]) -> f32 {
    assert_eq!(got.len() + 1, want.len());
    got.iter().zip(&want[1..]).map(|(got, want)| (got - want).abs()).sum::<f32>() / got.len() as f32
}

/// With each set of scales, one after the other in one model.
fn originals(gpu: Option<&Rc<Gpu>>, steps: &[usize]) {
    for (name, adapters) in MODELS {
        let answers = json(&format!("tiny/{name}-lora.json"));
        let tokens = tokens(&answers["tokens"]);
        let answers = answers["answers"].as_array().expect("a list");
        let mut model = load(gpu, &files(name, adapters), &numbers(&answers[0]["scales"])).unwrap();
        // A software driver takes seconds to compile what each set of scales needs.
        let some = |k: &usize| gpu.is_none() || [0, 2].contains(k);
        for (k, answer) in answers.iter().enumerate().filter(|(k, _)| some(k)) {
            let scales = numbers(&answer["scales"]);
            if k > 0 {
                model.set_adapters(&scales).unwrap();
            }
            for step in steps {
                // By token, some of them: a software driver takes its time.
                let count = if *step == 1 { 40 } else { tokens.len() };
                let want = &numbers(&answer["logprobs"])[..count];
                let error = mean_error(&scores(&mut model, &tokens[..count], *step), want);
                println!("{name} with {scales:?}, {step} at a time: mean |Δ log-probability| {error:.6}");
                assert!(error <= MEAN_ERROR, "{name} with {scales:?}, {step} at a time: {error}");
            }
        }
        // Without adapters in use, the model is as if it had none.
        if gpu.is_none() && numbers(&answers[answers.len() - 1]["scales"]).iter().all(|scale| *scale == 0.0) {
            let mut plain = load(gpu, &files(name, 0), &[]).unwrap();
            assert_eq!(plain.executor.plan().ops, model.executor.plan().ops, "{name}");
            assert_eq!(scores(&mut plain, &tokens, 64), scores(&mut model, &tokens, 64), "{name}");
        }
    }
}

#[test]
fn adapters_score_as_their_originals() {
    originals(None, &[1000, 37, 1]);
}

#[test]
fn adapters_score_as_their_originals_on_the_gpu() {
    originals(Some(&open()), &[200, 1]);
}

#[test]
fn adapters_give_the_same_bits_on_any_number_of_threads() {
    let mut model = load(None, &files("llama-0", 2), &[0.5, -1.5]).unwrap();
    let tokens = tokens(&json("tiny/llama-0-lora.json")["tokens"]);
    let answer = |model: &mut Model| [scores(model, &tokens, 50), scores(model, &tokens[..9], 1)];
    let alone = answer(&mut model);
    for threads in [2, 3] {
        assert_eq!(on_threads(&mut model, threads, answer), alone, "{threads} threads");
    }
}

#[test]
fn adapters_say_what_they_are_called() {
    let mut model = load(None, &files("llama-0", 2), &[1.0, 0.0]).unwrap();
    let named = |model: &Model| {
        let adapters = model.adapters();
        adapters.map(|(name, scale)| (name.to_owned(), scale)).collect::<Vec<_>>()
    };
    assert_eq!(named(&model), [("llama-0-lora-0".into(), 1.0), ("llama-0-lora-1".into(), 0.0)]);
    model.set_adapters(&[0.0, 2.0]).unwrap();
    assert_eq!(named(&model)[1].1, 2.0);
    for scales in [vec![], vec![1.0], vec![1.0, 2.0, 3.0], vec![f32::NAN, 0.0]] {
        assert_eq!(model.set_adapters(&scales).unwrap_err().code, Code::InvalidArgument);
    }
    assert_eq!(named(&model)[1].1, 2.0, "what is refused changes nothing");
}

/// Files of Gemma 4 have keys and values of layers that share others', and adapters change what files have.
#[test]
fn adapters_of_what_is_not_read_change_nothing() {
    let mut model = Draft::tiny("gemma4-0");
    let mut adapter = Draft::of(&file("llama-0-lora-0"));
    adapter.set("general.architecture", Value::String("gemma4".into()));
    adapter.tensors.clear();
    let change = |adapter: &mut Draft, tensor: &str, rows: usize| {
        adapter.push(&format!("{tensor}.lora_a"), 2, 64);
        adapter.push(&format!("{tensor}.lora_b"), rows, 2);
    };
    let answer = |files: &[Vec<u8>]| {
        let tokens: Vec<u32> = (5..30).collect();
        scores(&mut load(None, files, &vec![0.5; files.len() - 1]).unwrap(), &tokens, 64)
    };
    change(&mut adapter, "blk.0.attn_q.weight", 128);
    let want = answer(&[model.file(), adapter.file()]);
    assert_ne!(answer(&[model.file()]), want);
    // Layer 3 shares.
    for tensor in ["blk.3.attn_k.weight", "blk.3.attn_v.weight"] {
        model.push(tensor, 32, 64);
        change(&mut adapter, tensor, 32);
    }
    assert_eq!(answer(&[model.file(), adapter.file()]), want);
}

#[test]
fn adapters_of_other_models_are_refused() {
    let good = Draft::of(&file("llama-0-lora-0"));
    let refusal = |draft: &Draft| -> Error {
        load(None, &[file("llama-0"), draft.file()], &[1.0]).err().expect("a refusal")
    };
    let key = |error: Error| (error.code, error.key.unwrap_or_default());
    let tensor = |error: Error| (error.code, error.tensor.unwrap_or_default());

    let with = |name: &str, value: &str| {
        let mut draft = good.clone();
        draft.set(name, Value::String(value.into()));
        draft
    };
    let invalid = |key: &str| (Code::InvalidModel, key.to_owned());
    let unsupported = |key: &str| (Code::UnsupportedModel, key.to_owned());
    assert_eq!(key(refusal(&with("general.architecture", "qwen3"))), invalid("general.architecture"));
    assert_eq!(key(refusal(&with("general.type", "model"))), invalid("general.type"));
    assert_eq!(key(refusal(&Draft::tiny("llama-1"))), invalid("general.type"));
    assert_eq!(key(refusal(&with("adapter.type", "dora"))), unsupported("adapter.type"));
    let mut draft = good.clone();
    draft.set("adapter.lora.alpha", Value::F32(f32::INFINITY));
    assert_eq!(key(refusal(&draft)), invalid("adapter.lora.alpha"));
    let tokens = with("adapter.alora.invocation_tokens", "");
    assert_eq!(key(refusal(&tokens)), unsupported("adapter.alora.invocation_tokens"));

    let (a, b) = ("blk.0.attn_k.weight.lora_a", "blk.0.attn_k.weight.lora_b");
    assert_eq!(tensor(refusal(&good.clone().without(b))), invalid(a));
    assert_eq!(tensor(refusal(&good.clone().without(a))), invalid(b));
    let renamed = |pairs: [(&str, &str); 2]| {
        let mut draft = good.clone();
        pairs.iter().for_each(|(from, to)| draft.tensor(from).name = (*to).to_owned());
        draft
    };
    let other = ["blk.7.attn_k.weight.lora_a", "blk.7.attn_k.weight.lora_b"];
    assert_eq!(tensor(refusal(&renamed([(a, other[0]), (b, other[1])]))), invalid(other[0]));
    let norm = ["blk.0.attn_norm.weight.lora_a", "blk.0.attn_norm.weight.lora_b"];
    assert_eq!(tensor(refusal(&renamed([(a, norm[0]), (b, norm[1])]))), unsupported(norm[0]));
    assert_eq!(
        tensor(refusal(&renamed([(a, "blk.0.attn_k.weight"), (b, b)]))),
        unsupported("blk.0.attn_k.weight")
    );
    for (name, dims, blamed) in [(a, [64, 8], a), (a, [256, 2], a), (b, [8, 32], a), (b, [4, 63], b)] {
        let mut draft = good.clone();
        draft.tensor(name).dims = dims.to_vec();
        let bytes = dims.iter().product::<u64>() as usize * 4;
        draft.tensor(name).bytes.resize(bytes, 0);
        assert_eq!(tensor(refusal(&draft)), invalid(blamed), "{name} {dims:?}");
    }
    let mut draft = good.clone();
    let a = draft.tensor(a);
    (a.kind, a.bytes) = (TensorType::F64, vec![0; a.bytes.len() * 2]);
    assert_eq!(refusal(&draft).code, Code::UnsupportedModel);
    assert_eq!(
        load(None, &[file("llama-0")], &[1.0]).err().map(|error| error.code),
        Some(Code::InvalidArgument)
    );
}
