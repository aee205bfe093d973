//! Several threads, and several sequences in a step: the same bits as one thread and one sequence, and no more
//! meetings than the design allows.

mod support;

use support::models::{json, load, load_fixture, path, tokens};
use support::team::{cpu, on_threads};
use wisplm::cpu::program::Step;
use wisplm::cpu::{Cache, Executor};
use wisplm::loader::Model;
use wisplm::runtime::{Generation, Options, Progress, Score};
use wisplm::task::{Embedding, Pooling};

const TINY: [&str; 6] = ["llama-0", "llama-1", "gemma3-0", "gemma3-1", "bert-0", "bert-1"];
/// Those with recurrences, or with layers that are not alike.
const OTHERS: [&str; 6] = ["gemma4-0", "gemma4-1", "gemma4-2", "qwen35-0", "qwen35-1", "qwen35-2"];
const SMOLLM2: &str = "SmolLM2-135M-Instruct.Q4_1.gguf";

/// Takes a step and answers the logits of its last row.
fn step(executor: &mut Executor, cache: &mut Cache, tokens: &[u32]) -> Vec<f32> {
    executor.begin(&mut [(cache, tokens)]).unwrap();
    while !executor.advance(&mut [cache], &mut || true).unwrap() {}
    let mut logits = Vec::new();
    executor.logits([tokens.len() - 1], &mut logits).unwrap();
    logits
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// Log-probabilities of a prompt, then the logits of steps of a few tokens and of one.
fn decoder_answers(model: &mut Model, tokens: &[u32]) -> Vec<u32> {
    let mut score = Score::new(&model.executor, tokens).unwrap();
    while !score.advance(&mut model.executor, &mut || true).unwrap() {}
    let mut answers: Vec<f32> = score.logprobs().iter().map(|p| p.unwrap_or(0.0)).collect();
    let mut cache = cpu(model).new_cache();
    for part in [
        &tokens[..70.min(tokens.len() / 2)],
        &tokens[40..43],
        &tokens[43..52],
        &tokens[52..53],
        &tokens[53..54],
    ] {
        answers.extend(step(cpu(model), &mut cache, part));
    }
    bits(&answers)
}

fn encoder_answers(model: &mut Model, tokens: &[u32]) -> Vec<u32> {
    let mut answers = Vec::new();
    let texts = [tokens, &tokens[..5], &tokens[..1]].map(<[u32]>::to_vec);
    // Each by itself, and all in one step.
    for texts in texts.iter().map(|text| vec![text.clone()]).chain([texts.to_vec()]) {
        let mut run = Embedding::new(&model.executor, texts, Pooling::Mean, true).unwrap();
        while !run.advance(&mut model.executor, &mut || true).unwrap() {}
        answers.extend(run.take_vectors().concat());
    }
    bits(&answers)
}

#[test]
fn any_number_of_threads_gives_the_same_bits() {
    for name in TINY.into_iter().chain(OTHERS) {
        let mut model = load_fixture(&format!("tiny/{name}.gguf"));
        let tokens = tokens(&json(&format!("tiny/{name}.json"))["tokens"]);
        let answers = if name.starts_with("bert") { encoder_answers } else { decoder_answers };
        let alone = answers(&mut model, &tokens);
        for threads in [1, 2, 3, 5] {
            let together = on_threads(&mut model, threads, |model| answers(model, &tokens));
            assert!(together == alone, "{name} on {threads} threads");
        }
    }
}

#[test]
fn a_real_model_gives_the_same_bits_on_any_number_of_threads() {
    let mut model = load(&std::fs::read(path(SMOLLM2)).unwrap(), 1 << 20).unwrap();
    let tokens: Vec<u32> = (0..80).map(|k| k * 331 % 49_000).collect();
    let alone = decoder_answers(&mut model, &tokens);
    for threads in [2, 3] {
        let together = on_threads(&mut model, threads, |model| decoder_answers(model, &tokens));
        assert!(together == alone, "{threads} threads");
    }
}

/// Eight sequences of different lengths, stepped at once for a few tokens.
#[test]
fn sequences_stepped_at_once_give_the_bits_of_each_alone() {
    for name in ["llama-0", "gemma3-0", "gemma4-0", "qwen35-0", "qwen35-1"] {
        let mut model = load_fixture(&format!("tiny/{name}.gguf"));
        let text = tokens(&json(&format!("tiny/{name}.json"))["tokens"]);
        let prompts: Vec<&[u32]> = (0..8).map(|k| &text[k * 3..k * 3 + 1 + k * 7]).collect();
        let more: Vec<[u32; 3]> = (0..8).map(|k| [k + 1, k * 11 + 2, 200 - k]).collect();
        let alone: Vec<Vec<u32>> = prompts
            .iter()
            .zip(&more)
            .map(|(prompt, more)| {
                let executor = cpu(&mut model);
                let mut cache = executor.new_cache();
                let mut answers = step(executor, &mut cache, prompt);
                more.iter().for_each(|token| answers.extend(step(executor, &mut cache, &[*token])));
                bits(&answers)
            })
            .collect();
        for threads in [1, 2, 3] {
            let together = on_threads(&mut model, threads, |model| {
                let executor = cpu(model);
                let mut caches: Vec<Cache> = prompts.iter().map(|_| executor.new_cache()).collect();
                let mut answers = vec![Vec::new(); 8];
                for round in 0..4 {
                    let mut batch: Vec<(&mut Cache, &[u32])> = caches
                        .iter_mut()
                        .enumerate()
                        .map(|(k, cache)| {
                            (cache, if round == 0 { prompts[k] } else { &more[k][round - 1..round] })
                        })
                        .collect();
                    executor.begin(&mut batch).unwrap();
                    let lengths: Vec<usize> = batch.iter().map(|(_, tokens)| tokens.len()).collect();
                    let mut caches: Vec<&mut Cache> = caches.iter_mut().collect();
                    while !executor.advance(&mut caches, &mut || true).unwrap() {}
                    let last = lengths.iter().scan(0, |end, len| {
                        *end += len;
                        Some(*end - 1)
                    });
                    let mut logits = Vec::new();
                    executor.logits(last, &mut logits).unwrap();
                    let vocabulary = logits.len() / 8;
                    for (answer, logits) in answers.iter_mut().zip(logits.chunks_exact(vocabulary)) {
                        answer.extend_from_slice(logits);
                    }
                }
                answers.iter().map(|answer| bits(answer)).collect::<Vec<_>>()
            });
            assert!(together == alone, "{name} on {threads} threads");
        }
    }
}

#[test]
fn generations_do_not_depend_on_threads() {
    let mut model = load_fixture("tiny/llama-0.gguf");
    let generate = |model: &mut Model| {
        let options = Options { temperature: 1.0, seed: Some(3), max_tokens: Some(30), ..Options::default() };
        let prompt: Vec<u32> = (0..40).map(|k| k * 5).collect();
        let mut run = Generation::new(&model.executor, &model.tokenizer, &prompt, &options, 0).unwrap();
        let mut tokens = Vec::new();
        loop {
            match run.advance(&mut model.executor, &model.tokenizer, &mut || false).unwrap() {
                Progress::Prefill { .. } | Progress::Waiting => {}
                Progress::Token { token, .. } => tokens.push(token),
                Progress::Finished { .. } => return tokens,
            }
        }
    };
    let alone = generate(&mut model);
    assert_eq!(on_threads(&mut model, 3, generate), alone);
}

/// A decoder layer costs five meetings for a token, an encoder layer too; a layer of a prompt costs one.
#[test]
fn threads_meet_as_often_as_the_design_says_and_no_more() {
    for name in TINY {
        let mut model = load_fixture(&format!("tiny/{name}.gguf"));
        let layers = model.executor.plan().caches.len();
        on_threads(&mut model, 2, |model| {
            let mut count = |rows: usize| cpu(model).program(rows).barriers();
            assert_eq!(count(1), 5 * layers, "{name}: a token");
            assert_eq!(count(15), 5 * layers, "{name}: a few tokens");
            assert_eq!(count(16), layers, "{name}: many tokens");
            assert_eq!(count(128), layers, "{name}: a prompt");
        });
        // Alone, no step is there that two threads do not need.
        let copies = cpu(&mut model).program(1).steps.iter().filter(|step| matches!(step, Step::Copy { .. }));
        assert_eq!(copies.count(), 0, "{name}");
    }
}

/// A delta layer costs a token five meetings, as others do, and a prompt four: before and after each recurrence. What a
/// gate passes costs a token one more than attention alone, an embedding of a layer's own two more.
#[test]
fn other_layers_meet_a_little_more_often() {
    // Four delta layers and one of attention; six layers with embeddings, which are readied once, three with caches.
    for (name, token, prompt) in [("qwen35-0", 4 * 5 + 6, 4 * 4 + 1), ("gemma4-0", 1 + 6 * 7, 3)] {
        let mut model = load_fixture(&format!("tiny/{name}.gguf"));
        on_threads(&mut model, 2, |model| {
            let mut count = |rows: usize| cpu(model).program(rows).barriers();
            assert_eq!((count(1), count(128)), (token, prompt), "{name}");
        });
    }
}

#[test]
fn threads_that_are_not_there_are_refused() {
    let mut model = load_fixture("tiny/llama-0.gguf");
    for threads in [0, 2, 65] {
        let error = cpu(&mut model).set_threads(threads).unwrap_err();
        assert_eq!(error.code, wisplm::error::Code::InvalidArgument);
    }
    assert_eq!(cpu(&mut model).threads(), 1);
}
