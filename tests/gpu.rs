//! The GPU executor: whole models against their originals, and what a step costs.

mod support;

use std::rc::Rc;
use support::draft::Draft;
use support::gpu::open;
use support::models::{
    fixture, json, load_fixture, load_fixture_on, load_fixture_with, numbers as values, tokens,
};
use support::numbers::largest_error;
use support::scores::{errors, mean_error, score_in_steps};
use wisplm::cpu::KvType;
use wisplm::error::{Code, Error};
use wisplm::executor::{Cache, Executor};
use wisplm::gguf::Value;
use wisplm::gpu::{Demand, Gpu};
use wisplm::loader::{Loader, Model};
use wisplm::plan::{self, Builder, Head};
use wisplm::runtime::{Score, log_probability};
use wisplm::selftest;
use wisplm::task::{Embedding, Pooling};

/// Mean |Δ log-probability| that a float model may have against float32: what keys and values in 16 bits cost.
const MEAN_ERROR: f32 = 0.002;

#[test]
fn decoders_score_as_their_originals() {
    let gpu = open();
    println!("on {}", gpu.name());
    for name in ["llama-0", "llama-1", "gemma3-0", "gemma3-1"] {
        let mut model = load_fixture_on(&gpu, &format!("tiny/{name}.gguf"));
        let answers = json(&format!("tiny/{name}.json"));
        let (tokens, want) = (tokens(&answers["tokens"]), values(&answers["logprobs"]));
        let mut run = Score::new(&model.executor, &tokens).expect("the tokens fit");
        while !run.advance(&mut model.executor, &mut || false).expect("the run succeeds") {}
        let whole: Vec<f32> = run.logprobs().iter().flatten().copied().collect();
        let error = mean_error(&whole, &want);
        println!("{name}: {} tokens, mean |Δ log-probability| {error:.6}", tokens.len());
        assert!(error <= MEAN_ERROR, "{name}: {error}");
        scores(&gpu, name, &[50, 7, 1]);
    }
}

/// Fused products, growing queries, factors, windows and caps: what the other families add.
#[test]
fn every_family_scores_as_its_originals() {
    let gpu = open();
    for family in ["mistral3", "qwen2", "qwen3", "smollm3", "phi3", "gemma2"] {
        (0..3).for_each(|seed| scores(&gpu, &format!("{family}-{seed}"), &[64]));
    }
    ["llama-2", "gemma3-2"].iter().for_each(|name| scores(&gpu, name, &[64]));
}

/// Beyond the lengths before which nothing is scaled, token by token: YaRN with queries that grow, and long factors.
#[test]
fn tokens_past_the_original_length_score_as_their_originals() {
    let gpu = open();
    for (name, original) in [("mistral3-1", 32), ("phi3-0", 256)] {
        let answers = json(&format!("tiny/{name}.json"));
        let (tokens, want) = (tokens(&answers["tokens"]), values(&answers["logprobs"]));
        let mut model = load_fixture_on(&gpu, &format!("tiny/{name}.gguf"));
        let mut cache = model.executor.new_cache();
        let mut step = |model: &mut Model, part: &[u32]| {
            model.executor.begin(&mut [(&mut cache, part)]).unwrap();
            assert!(model.executor.advance(&mut [&mut cache], &mut || false).unwrap());
        };
        let first = tokens.len() - 21;
        assert!(first > original);
        tokens[..first].chunks(100).for_each(|part| step(&mut model, part));
        let (mut got, mut logits) = (vec![], vec![]);
        for pair in tokens[first..].windows(2) {
            step(&mut model, &pair[..1]);
            assert!(model.executor.logits(0..1, &mut logits).unwrap());
            got.push(log_probability(&logits, pair[1]));
        }
        let error = mean_error(&got, &want[first..]);
        println!("{name}, tokens from {first} on: mean |Δ log-probability| {error:.6}");
        assert!(error <= MEAN_ERROR, "{name}: {error}");
    }
}

/// A window's keys and values are in a ring, which 600 tokens fill more than once; the CPU forgets what a window has passed.
#[test]
fn rings_that_wrap_score_as_the_cpu_does() {
    let gpu = open();
    let tokens: Vec<u32> = (0..600).map(|k| 5 + (k * k * 7 + k * 31) % 240).collect();
    let mut want = score_in_steps(&mut load_fixture("tiny/gemma3-0.gguf"), &tokens, 100);
    want.insert(0, f32::NAN);
    let mut model = load_fixture_on(&gpu, "tiny/gemma3-0.gguf");
    let error = mean_error(&score_in_steps(&mut model, &tokens, 150), &want);
    println!("gemma3-0, 600 tokens: mean |Δ log-probability| {error:.6}");
    assert!(error <= MEAN_ERROR, "{error}");
}

/// Layers that are not alike, and recurrences: in steps of all kinds.
#[test]
fn families_with_other_layers_score_as_their_originals() {
    let gpu = open();
    for name in ["qwen35-0", "qwen35-2"] {
        scores(&gpu, name, &[64, 1]);
    }
    scores(&gpu, "qwen35-1", &[64]);
}

/// Scores that nothing scales, so that what is rounded in keys shows: at once, in parts, and token by token.
#[test]
fn sharp_scores_are_those_of_their_originals() {
    let gpu = open();
    ["gemma4-0", "gemma4-1", "gemma4-2"].iter().for_each(|name| scores(&gpu, name, &[128, 50, 1]));
}

fn scores(gpu: &Rc<Gpu>, name: &str, steps: &[usize]) {
    let errors = errors(gpu, name, steps);
    assert!(errors.iter().all(|error| *error <= MEAN_ERROR), "{name}: {errors:?} {steps:?} at a time");
}

#[test]
fn encoders_embed_as_their_originals() {
    let gpu = open();
    for name in ["bert-0", "bert-1", "bert-2"] {
        let mut model = load_fixture_on(&gpu, &format!("tiny/{name}.gguf"));
        let answers = json(&format!("tiny/{name}.json"));
        let tokens = tokens(&answers["tokens"]);
        for (pooling, key) in [(Pooling::Mean, "mean"), (Pooling::Cls, "cls")] {
            let want = values(&answers["embedding"][key]);
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

/// What 8-bit keys and values may cost instead.
const MEAN_ERROR_Q8_0: f32 = 0.01;

#[test]
fn keys_and_values_of_8_bits_cost_little() {
    let gpu = open();
    for name in ["llama-0", "gemma3-0"] {
        let file = format!("tiny/{name}.gguf");
        let mut model = load_fixture_with(&gpu, &file, KvType::Q8_0);
        let all = load_fixture_on(&gpu, &file).executor.cache_capacity();
        // A byte for two, and four bytes per 32 values.
        let (bytes, most) = (model.executor.cache_capacity(), all * 5 / 8);
        assert!(bytes <= most, "{name}: {bytes} of {all}");
        let answers = json(&format!("tiny/{name}.json"));
        let (tokens, want) = (tokens(&answers["tokens"]), values(&answers["logprobs"]));
        let whole = score_in_steps(&mut model, &tokens, 256);
        let error = mean_error(&whole, &want);
        println!("{name}, q8_0: {error:.6}");
        assert!(error <= MEAN_ERROR_Q8_0, "{name}: {error}");
        // The fused attention and the one by itself store the same.
        let apart = largest_error(&score_in_steps(&mut model, &tokens[..40], 1), &whole[..39]);
        assert!(apart <= 0.05, "{name}: {apart}");
    }
}

/// Tables that are larger than a binding may be are in several buffers.
#[test]
fn split_tables_score_as_whole_ones() {
    let gpu = open();
    gpu.split_tables(10_000);
    for name in ["llama-0", "gemma3-0", "phi3-0"] {
        scores(&gpu, name, &[64, 1]);
    }
}

/// What a token costs: exact counts, from the second on.
#[test]
fn a_token_takes_one_submit_of_few_dispatches_and_creates_nothing() {
    let gpu = open();
    // Dispatches of a layer: products of q, k and v; attention; its output; gate and up; down. Gemma has two norms more.
    for (name, of_layer) in [("llama-0", 5), ("llama-1", 5), ("gemma3-0", 7)] {
        let mut model = load_fixture_on(&gpu, &format!("tiny/{name}.gguf"));
        let (layers, ropes, pairs, vocabulary) = {
            let plan = model.executor.plan();
            let pairs: usize = plan.ropes.iter().map(|rope| rope.frequencies.len()).sum();
            let Head::Logits { weight, .. } = plan.head else { panic!("{name} is a decoder") };
            (plan.caches.len(), plan.ropes.len(), pairs, plan.weight(weight).rows)
        };
        let mut cache = model.executor.new_cache();
        let mut logits = vec![];
        let mut step = |model: &mut Model, token: u32| {
            model.executor.begin(&mut [(&mut cache, &[token])]).unwrap();
            assert!(model.executor.advance(&mut [&mut cache], &mut || false).unwrap());
            assert!(model.executor.logits(0..1, &mut logits).unwrap());
        };
        step(&mut model, 1);
        for token in 2..5 {
            let before = gpu.counts();
            step(&mut model, token);
            let after = gpu.counts();
            // Beside the layers: the embedding, and the head with the last norm.
            assert_eq!(after.dispatches - before.dispatches, (of_layer * layers + 2) as u64, "{name}");
            assert_eq!(after.passes - before.passes, 1, "{name}");
            assert_eq!(after.submits - before.submits, 1, "{name}");
            assert_eq!(after.bind_groups, before.bind_groups, "{name}");
            assert_eq!(after.pipelines, before.pipelines, "{name}");
            assert_eq!(after.buffers, before.buffers, "{name}");
            // A token and its position, its angles, what kernels are told of step, head and sequence.
            assert_eq!(
                after.written - before.written,
                (8 + 8 * pairs + 3 * 24) as u64,
                "{name}: {ropes} ropes"
            );
            assert_eq!(after.read - before.read, 4 * vocabulary.next_multiple_of(32) as u64, "{name}");
            let weights = (after.weights - before.weights) as f64;
            let all = model.executor.weight_bytes() as f64;
            assert!(weights <= 1.05 * all, "{name}: {weights} of {all} bytes");
            assert!(weights >= 0.4 * all, "{name}: {weights} of {all} bytes");
        }
    }
}

/// Bytes that weights pass through on their way.
const STAGING: u64 = 4 << 20;

/// What kernels there are is known from the header; so are all buffers.
#[test]
fn nothing_is_left_to_compile_when_the_last_weight_has_come() {
    let gpu = open();
    for name in ["llama-0", "gemma3-0-Q4_K_M", "phi3-0"] {
        let bytes = std::fs::read(fixture(&format!("tiny/{name}.gguf"))).unwrap();
        let mut loader = Loader::new(1, None, None).on(&gpu);
        let start = gpu.counts();
        bytes.chunks(1000).for_each(|chunk| loader.push(chunk).unwrap());
        let before = gpu.counts();
        let mut model = loader.finish().unwrap();
        let after = gpu.counts();
        assert_eq!(after.pipelines, before.pipelines, "{name}");
        println!("{name}: {} pipelines", after.pipelines - start.pipelines);
        // Tensors that have the weights of several products are taken apart; else only small constants come with them.
        if name != "phi3-0" {
            let later = after.bytes - before.bytes;
            assert!(later <= 50_000, "{name}: {later} bytes of buffers");
            // What the page is told is what was made, but for the staging buffer.
            let Some(executor) = model.executor.gpu() else { panic!("{name} is not on the GPU") };
            let (told, made) = (executor.peak_bytes() as f64, (after.bytes - start.bytes - STAGING) as f64);
            println!("{name}: {told} bytes are told, {made} were made");
            assert!((told / made - 1.0).abs() <= 0.05, "{name}: {told} of {made}");
        }
        let mut cache = model.executor.new_cache();
        model.executor.begin(&mut [(&mut cache, &[1, 2, 3])]).unwrap();
        assert!(model.executor.advance(&mut [&mut cache], &mut || false).unwrap());
        model.executor.cancel();
        assert_eq!(gpu.counts().pipelines, before.pipelines, "{name}");
    }
}

#[test]
fn the_self_test_passes() {
    let gpu = open();
    let start = std::time::Instant::now();
    pollster::block_on(selftest::check(&gpu)).unwrap();
    println!("{} in {:.1?}, {} pipelines", gpu.name(), start.elapsed(), gpu.counts().pipelines);
}

/// `tests/shapes.rs` has what can be taken.
#[test]
fn what_cannot_be_taken_is_refused_beforehand() {
    let gpu = open();
    let mut builder = Builder::new(&[]);
    builder.cache(plan::Cache { heads: 8, dim: 128, window: None });
    let x = builder.slot(64);
    let plan = builder.finish(Head::Hidden { x }, 10_000_000, true);
    let error =
        Demand::of(&plan, [], KvType::F16).check(&gpu).expect_err("such a cache is larger than any buffer");
    assert_eq!(error.code, Code::OutOfMemory);
    assert!(error.message.contains("contextLength") && error.message.contains("42240000000"), "{error}");
}

#[test]
fn what_the_gpu_cannot_run_goes_to_the_cpu_if_it_may() {
    let gpu = open();
    let context = 1 << 26;
    let mut draft = Draft::tiny("llama-0");
    draft.set("llama.context_length", Value::U32(context));
    let bytes = draft.file();
    let load = |may: fn(Loader) -> Loader| {
        let mut loader = may(Loader::new(1, None, Some(context as usize)).on(&gpu));
        bytes.chunks(1000).try_for_each(|chunk| loader.push(chunk))?;
        loader.finish()
    };
    let error = load(|loader| loader).err().expect("keys and values of a layer are larger than a buffer");
    assert_eq!(error.code, Code::OutOfMemory);
    let model = load(Loader::or_on_cpu).unwrap();
    assert_eq!(model.executor.device(), "wasm");
    assert_eq!(model.refusal, Some(error.to_string()));
    assert_eq!(load_fixture_on(&gpu, "tiny/llama-0.gguf").refusal, None);
}

/// A sequence for which there is no memory fails by itself: others go on, and it does where there is some again.
#[test]
fn memory_that_lacks_is_the_fault_of_one_request() {
    let gpu = open();
    for name in ["llama-0", "qwen35-0"] {
        let mut model = load_fixture_on(&gpu, &format!("tiny/{name}.gguf"));
        let executor = &mut model.executor;
        let take = |executor: &mut Executor, cache: &mut Cache, tokens: &[u32]| {
            let mut logits = vec![];
            executor.begin(&mut [(cache, tokens)])?;
            assert!(executor.advance(&mut [cache], &mut || false)?);
            assert!(executor.logits(tokens.len() - 1..tokens.len(), &mut logits)?);
            Ok::<_, Error>(logits)
        };
        let lacks = |error: Error| assert_eq!(error.code, Code::OutOfMemory, "{name}: {error}");
        let mut first = executor.new_cache();
        take(executor, &mut first, &[5, 6, 7]).unwrap();
        let (mut alone, mut fork) = (executor.new_cache(), executor.fork(&first).unwrap());
        take(executor, &mut fork, &[8]).unwrap();

        // Not for all of it, if for a part.
        for room in [0, 1000] {
            gpu.leave_room(room);
            let forked = executor.fork(&first).and_then(|mut fork| take(executor, &mut fork, &[8]));
            lacks(forked.expect_err("there is no room for a fork"));
            lacks(take(executor, &mut alone, &[5]).expect_err("there is no room"));
            lacks(executor.save(&first, &mut vec![]).expect_err("there is no room to copy it"));
        }
        gpu.check().unwrap();
        let want = take(executor, &mut first, &[8]).unwrap();
        let [got, next] = [&mut fork, &mut first].map(|cache| take(executor, cache, &[9]).unwrap());
        assert!(largest_error(&got, &next) <= 1e-4, "{name}: sequences that have memory");

        // A step that could not be done is gone on with.
        executor.begin(&mut [(&mut alone, &[5, 6, 7, 8])]).unwrap_err();
        gpu.leave_room(u64::MAX);
        let got = take(executor, &mut alone, &[5, 6, 7, 8]).unwrap();
        let error = largest_error(&got, &want);
        assert!(error <= 1e-3, "{name}: {error}");
        assert!(executor.save(&first, &mut vec![]).unwrap());

        // What was given back is made anew.
        drop([alone, fork]);
        executor.release();
        let mut others = [executor.new_cache(), executor.new_cache()];
        for other in &mut others {
            let got = take(executor, other, &[5, 6, 7, 8]).unwrap();
            assert!(largest_error(&got, &want) <= 1e-3, "{name}");
        }
    }
}

/// Sequences of different lengths stepped at once, and a sequence begun where another has ended.
#[test]
fn sequences_stepped_at_once_answer_as_each_alone() {
    let gpu = open();
    for name in ["llama-0", "gemma3-0", "gemma4-0", "qwen35-0"] {
        let mut model = load_fixture_on(&gpu, &format!("tiny/{name}.gguf"));
        let text = tokens(&json(&format!("tiny/{name}.json"))["tokens"]);
        let prompts: Vec<&[u32]> = (0..3).map(|k| &text[k * 3..k * 3 + 5 + k * 30]).collect();
        let mut logits = vec![];
        let alone: Vec<Vec<f32>> = prompts
            .iter()
            .map(|prompt| {
                let mut cache = model.executor.new_cache();
                for part in [&prompt[..prompt.len() - 1], &prompt[prompt.len() - 1..]] {
                    model.executor.begin(&mut [(&mut cache, part)]).unwrap();
                    assert!(model.executor.advance(&mut [&mut cache], &mut || false).unwrap());
                }
                assert!(model.executor.logits(0..1, &mut logits).unwrap());
                logits.clone()
            })
            .collect();
        let mut caches: Vec<Cache> = prompts.iter().map(|_| model.executor.new_cache()).collect();
        for last in [false, true] {
            let part = |prompt: &'_ [u32]| -> std::ops::Range<usize> {
                if last { prompt.len() - 1..prompt.len() } else { 0..prompt.len() - 1 }
            };
            let mut batch: Vec<(&mut Cache, &[u32])> = caches
                .iter_mut()
                .zip(&prompts)
                .map(|(cache, prompt)| (cache, &prompt[part(prompt)]))
                .collect();
            model.executor.begin(&mut batch).unwrap();
            let mut caches: Vec<&mut Cache> = caches.iter_mut().collect();
            assert!(model.executor.advance(&mut caches, &mut || false).unwrap());
        }
        assert!(model.executor.logits(0..3, &mut logits).unwrap());
        let error = largest_error(&logits, &alone.concat());
        assert!(error <= 1e-4, "{name}: {error}");
    }
}
