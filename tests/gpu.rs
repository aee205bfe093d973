//! The GPU executor: whole models against their originals, formats and products against the plain formulas, and what
//! a step costs.

mod support;

use std::rc::Rc;
use support::formats::{DECODED, FORMATS, quantize};
use support::gpu::open;
use support::models::{json, load_fixture_on, load_fixture_with, numbers as values, tokens};
use support::numbers::{largest_error, numbers};
use wisplm::cpu::KvType;
use wisplm::executor::{Cache, Executor};
use wisplm::gguf::{TensorInfo, TensorType};
use wisplm::gpu::{self, Gpu};
use wisplm::loader::Model;
use wisplm::plan::{Builder, Head, Op};
use wisplm::quant::Packer;
use wisplm::runtime::{Score, log_probability};
use wisplm::task::{Embedding, Pooling};

/// Mean |Δ log-probability| that a float model may have against float32: what f16 keys and values cost.
const MEAN_ERROR: f32 = 0.002;

fn mean_error(got: &[f32], want: &[f32]) -> f32 {
    assert_eq!(got.len() + 1, want.len());
    let errors: Vec<f32> = got.iter().zip(&want[1..]).map(|(got, want)| (got - want).abs()).collect();
    errors.iter().sum::<f32>() / errors.len() as f32
}

/// The log-probability of each token but the first, taken `step` at a time.
fn score_in_steps(model: &mut Model, tokens: &[u32], step: usize) -> Vec<f32> {
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
        for step in [50, 7, 1] {
            let error = mean_error(&score_in_steps(&mut model, &tokens, step), &want);
            println!("{name}, {step} at a time: {error:.6}");
            assert!(error <= MEAN_ERROR, "{name}, {step} at a time: {error}");
        }
    }
}

/// Fused products, growing queries, factors, windows and caps: what the other families add.
#[test]
fn every_family_scores_as_its_originals() {
    let gpu = open();
    for name in ["mistral3-0", "qwen2-0", "qwen3-0", "smollm3-0", "phi3-0", "phi3-1", "gemma2-0"] {
        scores(&gpu, name, &[64]);
    }
}

/// Layers that are not alike, and recurrences: in steps of all kinds.
#[test]
fn families_with_other_layers_score_as_their_originals() {
    let gpu = open();
    for name in ["gemma4-0", "gemma4-1", "qwen35-0", "qwen35-2"] {
        scores(&gpu, name, &[64, 1]);
    }
    for name in ["gemma4-2", "qwen35-1"] {
        scores(&gpu, name, &[64]);
    }
}

fn scores(gpu: &Rc<Gpu>, name: &str, steps: &[usize]) {
    let mut model = load_fixture_on(gpu, &format!("tiny/{name}.gguf"));
    let answers = json(&format!("tiny/{name}.json"));
    let (tokens, want) = (tokens(&answers["tokens"]), values(&answers["logprobs"]));
    for step in steps {
        let error = mean_error(&score_in_steps(&mut model, &tokens, *step), &want);
        println!("{name}, {step} at a time: mean |Δ log-probability| {error:.6}");
        assert!(error <= MEAN_ERROR, "{name}, {step} at a time: {error}");
    }
}

#[test]
fn encoders_embed_as_their_originals() {
    let gpu = open();
    for name in ["bert-0", "bert-1"] {
        let mut model = load_fixture_on(&gpu, &format!("tiny/{name}.gguf"));
        let answers = json(&format!("tiny/{name}.json"));
        let tokens = tokens(&answers["tokens"]);
        for (pooling, key) in [(Pooling::Mean, "mean"), (Pooling::Cls, "cls")] {
            let want = values(&answers["embedding"][key]);
            let mut run =
                Embedding::new(&mut model.executor, &tokens, pooling, false).expect("the tokens fit");
            let got = run.advance(&mut model.executor, &mut || false).expect("the run succeeds");
            let got = got.expect("it is done");
            let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(a * b)).sum::<f64>();
            let cosine = dot(&got, &want) / (dot(&got, &got) * dot(&want, &want)).sqrt();
            println!("{name} {key}: cosine {cosine:.8}");
            assert!(cosine >= 0.9999, "{name} {key}: {cosine}");
        }
    }
}

/// On the same device, the kernels that graphics cards run: threads that share outputs, and positions; tiles.
#[test]
fn the_shapes_of_cards_score_the_same() {
    let gpu = open();
    gpu.shape_for_cards();
    for name in ["llama-0", "gemma3-0"] {
        let mut model = load_fixture_on(&gpu, &format!("tiny/{name}.gguf"));
        let answers = json(&format!("tiny/{name}.json"));
        let (tokens, want) = (tokens(&answers["tokens"]), values(&answers["logprobs"]));
        for step in [100, 1] {
            let error = mean_error(&score_in_steps(&mut model, &tokens, step), &want);
            println!("{name}, {step} at a time: mean |Δ log-probability| {error:.6}");
            assert!(error <= MEAN_ERROR, "{name}, {step} at a time: {error}");
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
        let mut model = load_fixture_on(&gpu, &format!("tiny/{name}.gguf"));
        let buffers = gpu.counts().buffers;
        let answers = json(&format!("tiny/{name}.json"));
        let (tokens, want) = (tokens(&answers["tokens"]), values(&answers["logprobs"]));
        for step in [64, 1] {
            let error = mean_error(&score_in_steps(&mut model, &tokens, step), &want);
            println!("{name} in {buffers} buffers, {step} at a time: mean |Δ log-probability| {error:.6}");
            assert!(error <= MEAN_ERROR, "{name}: {error}");
        }
    }
}

/// A tensor of some format, and the weights that the CPU reads from its bytes; of formats that it decodes at load, those
/// before it rounds them.
struct Table {
    info: TensorInfo,
    bytes: Vec<u8>,
    weights: Vec<f32>,
}

/// Random weights, quantized.
fn table(name: &str, kind: TensorType, rows: usize, cols: usize, seed: u32) -> Table {
    let (bytes, mut weights) = quantize(kind, numbers(rows * cols, seed), rows, cols);
    if !DECODED.contains(&kind) {
        let mut packer = Packer::new(kind, rows, cols).unwrap();
        packer.push(&bytes).unwrap();
        let matrix = packer.finish().unwrap();
        weights.chunks_exact_mut(cols).enumerate().for_each(|(row, out)| matrix.row(row, out));
    }
    let dims = vec![cols as u64, rows as u64];
    let info = TensorInfo { name: name.into(), dims, kind, offset: 0, bytes: bytes.len() as u64 };
    Table { info, bytes, weights }
}

/// Runs `tokens` through the ops that `build` writes over some tables, and answers the states.
fn run(
    gpu: &Rc<Gpu>,
    tables: &[&Table],
    chunk: usize,
    tokens: &[u32],
    build: impl Fn(&mut Builder) -> Head,
) -> Vec<f32> {
    let infos: Vec<TensorInfo> = tables.iter().map(|table| table.info.clone()).collect();
    let mut builder = Builder::new(&infos);
    let head = build(&mut builder);
    let plan = builder.finish(head, 64, true);
    let mut loading = gpu::Loading::new(gpu);
    for Table { info, bytes, .. } in tables {
        for (k, part) in bytes.chunks(chunk).enumerate() {
            loading.push(info, (k * chunk) as u64, part).unwrap();
        }
    }
    let weights = loading.finish(&plan).unwrap();
    let mut executor = Executor::Gpu(Box::new(gpu::Executor::new(plan, weights, KvType::F16).unwrap()));
    let mut cache: Cache = executor.new_cache();
    executor.begin(&mut [(&mut cache, tokens)]).unwrap();
    assert!(executor.advance(&mut [&mut cache], &mut || false).unwrap());
    let mut states = vec![];
    assert!(executor.hidden(0..tokens.len(), &mut states).unwrap());
    states
}

fn columns(kind: TensorType) -> &'static [usize] {
    match kind.block_len() {
        1 => &[3, 32, 100],
        32 => &[32, 96, 576],
        _ => &[256, 768],
    }
}

#[test]
fn weights_are_those_that_the_cpu_has() {
    let gpu = open();
    for kind in FORMATS.into_iter().chain(DECODED) {
        for &cols in columns(kind) {
            for (rows, chunk) in [(2, 1), (3, 7), (19, 1000), (40, usize::MAX)] {
                let table = table("t", kind, rows, cols, 1);
                let tokens: Vec<u32> = (0..rows as u32).collect();
                let got = run(&gpu, &[&table], chunk, &tokens, |b| {
                    let (weight, out) = (b.matrix("t", rows, cols).unwrap(), b.slot(cols));
                    b.push(Op::Embed { table: weight, scale: 1.0, out });
                    Head::Hidden { x: out }
                });
                assert!(got == table.weights, "{}: {rows} × {cols}", table.info.kind.name());
            }
        }
    }
}

/// Sums of some hundred products in another order.
const ROUNDING: f32 = 1e-5;

#[test]
fn products_are_those_of_the_weights() {
    // On both sides of a tile of outputs, and of rows.
    check_products(&open(), &[2, 65, 130], &[1, 9, 33]);
}

#[test]
fn products_in_the_shapes_of_cards_are_too() {
    let gpu = open();
    gpu.shape_for_cards();
    check_products(&gpu, &[65], &[1, 33]);
}

fn check_products(gpu: &Rc<Gpu>, outputs: &[usize], tokens: &[u32]) {
    for kind in FORMATS.into_iter().chain(DECODED) {
        for &cols in columns(kind) {
            for &rows in outputs {
                let weights = table("w", kind, rows, cols, 2);
                let inputs = table("x", FORMATS[0], 40, cols, 3);
                for &count in tokens {
                    let tokens: Vec<u32> = (0..count).collect();
                    let got = run(gpu, &[&inputs, &weights], usize::MAX, &tokens, |b| {
                        let (x, out) = (b.slot(cols), b.slot(rows));
                        let table = b.matrix("x", 40, cols).unwrap();
                        b.push(Op::Embed { table, scale: 1.0, out: x });
                        let weight = b.matrix("w", rows, cols).unwrap();
                        b.push(Op::MatMul { weight, bias: None, x, out });
                        Head::Hidden { x: out }
                    });
                    let dot = |a: &[f32], b: &[f32]| -> f32 {
                        a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>() as f32
                    };
                    let want: Vec<f32> = inputs
                        .weights
                        .chunks_exact(cols)
                        .take(count as usize)
                        .flat_map(|x| weights.weights.chunks_exact(cols).map(move |w| dot(w, x)))
                        .collect();
                    let error = largest_error(&got, &want);
                    assert!(error <= ROUNDING, "{} {rows} × {cols}, {count} rows: {error}", kind.name());
                }
            }
        }
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
                (8 + 8 * pairs + 3 * 16) as u64,
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
