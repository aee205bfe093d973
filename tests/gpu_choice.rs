//! Tokens that the GPU chooses: the same as the host's sampler would, at the cost of four bytes per token.

mod support;

use std::rc::Rc;
use support::gpu::open;
use support::models::{json, load_fixture_on, tokens};
use support::numbers::numbers;
use wisplm::cpu::{Activations, KvType};
use wisplm::executor::{Cache, Draw, Executor};
use wisplm::gguf::{TensorInfo, TensorType};
use wisplm::gpu::{self, Gpu};
use wisplm::loader::Model;
use wisplm::plan::{Builder, Head, Op};
use wisplm::runtime::{Generation, Onset, Options, Progress, Sampler};

/// Rows of 32 numbers.
const COLS: usize = 32;

fn info(name: &str, rows: usize) -> TensorInfo {
    let bytes = (4 * rows * COLS) as u64;
    TensorInfo {
        name: name.into(),
        dims: vec![COLS as u64, rows as u64],
        kind: TensorType::F32,
        offset: 0,
        bytes,
    }
}

/// A model whose logits are products of two random tables, after one token.
fn logits_of(gpu: &Rc<Gpu>, vocabulary: usize, head: &[f32]) -> (Executor, Cache) {
    let (inputs, outputs) = (info("x", vocabulary), info("w", vocabulary));
    let tensors = [inputs.clone(), outputs.clone()];
    let mut builder = Builder::new(&tensors);
    let x = builder.slot(COLS);
    let table = builder.matrix("x", vocabulary, COLS).unwrap();
    builder.push(Op::Embed { table, scale: 1.0, out: x });
    let weight = builder.matrix("w", vocabulary, COLS).unwrap();
    let plan = builder.finish(Head::Logits { weight, x, softcap: None }, 64, true);
    let mut loading = gpu::Loading::new(gpu);
    loading.push(&inputs, 0, bytemuck::cast_slice(&numbers(vocabulary * COLS, 1))).unwrap();
    loading.push(&outputs, 0, bytemuck::cast_slice(head)).unwrap();
    let weights = loading.finish(&plan, Activations::Auto).unwrap();
    let executor = Executor::Gpu(Box::new(gpu::Executor::new(plan, weights, KvType::F16).unwrap()));
    let cache = executor.new_cache();
    (executor, cache)
}

fn step(executor: &mut Executor, cache: &mut Cache) {
    executor.begin(&mut [(cache, &[0])]).unwrap();
    assert!(executor.advance(&mut [cache], &mut || false).unwrap());
}

fn choice(
    executor: &mut Executor,
    draw: &Draw,
    adjustments: Option<&[[f32; 2]]>,
    mask: Option<&[u32]>,
) -> u32 {
    assert!(executor.choose(0, draw, adjustments, mask).unwrap());
    executor.chosen().unwrap().expect("natively the GPU is waited for")
}

fn kinds() -> Vec<Options> {
    let open =
        Options { temperature: 1.0, top_k: 64, top_p: 1.0, min_p: 0.0, seed: Some(7), ..Options::default() };
    vec![
        Options { temperature: 0.0, ..open.clone() },
        Options { top_k: 1, ..open.clone() },
        Options { top_k: 40, ..open.clone() },
        Options { top_p: 0.6, temperature: 2.0, ..open.clone() },
        Options { min_p: 0.2, temperature: 3.0, ..open.clone() },
        Options { logit_bias: [(3, 9.0), (5, -100.0)].into(), ..open.clone() },
        Options { repeat_penalty: 1.3, frequency_penalty: 0.4, presence_penalty: 0.3, ..open.clone() },
        // Beyond those that are ranked, one by one.
        Options { top_k: 65, ..open.clone() },
        Options { top_k: 0, ..open.clone() },
        Options { top_k: 0, top_p: 0.7, temperature: 2.5, ..open.clone() },
        Options { top_k: 3000, top_p: 0.99, temperature: 4.0, ..open.clone() },
        Options { top_k: 0, min_p: 0.02, temperature: 3.0, ..open.clone() },
        Options { top_k: 1000, top_p: 0.9, min_p: 0.01, temperature: 4.0, ..open.clone() },
        Options { top_k: 0, repeat_penalty: 1.3, logit_bias: [(3, 9.0), (5, -100.0)].into(), ..open.clone() },
        open,
    ]
}

/// A mask of the tokens of a vocabulary that are `allowed`.
fn mask(vocabulary: usize, allowed: impl Fn(usize) -> bool) -> Vec<u32> {
    let mut words = vec![0; vocabulary.div_ceil(32)];
    (0..vocabulary).filter(|token| allowed(*token)).for_each(|token| words[token / 32] |= 1 << (token % 32));
    words
}

/// What may be chosen, in turns: all, about half, a few, and one that is not likely. What a mask is too short for may not.
fn masks(vocabulary: usize) -> Vec<Option<Vec<u32>>> {
    let random = numbers(vocabulary, 3);
    let few = mask(vocabulary, |token| token % 97 == 1 || token + 1 == vocabulary);
    let one = mask(vocabulary, |token| token == vocabulary / 2);
    let short = mask(vocabulary, |token| random[token] < 0.5)[..vocabulary.div_ceil(64)].to_vec();
    vec![
        None,
        Some(mask(vocabulary, |token| random[token] > 0.0 || token == 0)),
        Some(few),
        Some(one),
        Some(short),
    ]
}

/// The sampler's choice, with a mask or without.
fn sampled(sampler: &mut Sampler, logits: &mut [f32], mask: Option<&[u32]>) -> u32 {
    match mask {
        Some(mask) => sampler.sample_among(logits, mask),
        None => sampler.sample(logits),
    }
}

/// Vocabularies on both sides of a word's, a block's and a workgroup's size.
#[test]
fn the_gpu_chooses_what_the_sampler_chooses() {
    let gpu = open();
    for vocabulary in [2, 32, 33, 64, 65, 2048, 2049, 70_001] {
        let head: Vec<f32> = numbers(vocabulary * COLS, 2).iter().map(|value| value * 3.0).collect();
        let (mut executor, mut cache) = logits_of(&gpu, vocabulary, &head);
        let (mut logits, masks) = (vec![], masks(vocabulary));
        for options in kinds() {
            let prompt: Vec<u32> = (0..vocabulary as u32).step_by(3).collect();
            let (mut sampler, mut other) =
                (Sampler::new(&options, &prompt, 0), Sampler::new(&options, &prompt, 0));
            for (turn, mask) in masks.iter().chain(&masks).chain(&masks[..1]).enumerate() {
                let mask = mask.as_deref();
                // Each choice changes the logits that it was made of.
                cache = executor.new_cache();
                step(&mut executor, &mut cache);
                assert!(executor.logits(0..1, &mut logits).unwrap());
                let want = sampled(&mut sampler, &mut logits, mask);
                let draw = other.parameters(0);
                let adjustments = other.adjustments(vocabulary);
                let first = turn == 0 && draw.adjusts;
                let got = choice(&mut executor, &draw, first.then_some(adjustments.as_slice()), mask);
                other.note(got);
                assert_eq!(got, want, "{vocabulary} tokens, draw {turn}, {options:?}");
            }
        }
        drop(cache);
    }
}

/// All equal, or sums beyond what f32 can hold, which are infinite or no numbers: a token of the vocabulary comes out,
/// of equals that which the sampler takes.
#[test]
fn odd_logits_are_chosen_from_too() {
    let gpu = open();
    let vocabulary = 100;
    for value in [0.0, f32::MAX, f32::MIN] {
        let (mut executor, mut cache) = logits_of(&gpu, vocabulary, &vec![value; vocabulary * COLS]);
        for options in kinds() {
            step(&mut executor, &mut cache);
            let mut sampler = Sampler::new(&options, &[], 0);
            let draw = sampler.parameters(0);
            let token = choice(&mut executor, &Draw { adjusts: false, ..draw.clone() }, None, None);
            assert!((token as usize) < vocabulary, "{value}: {token}");
            if value == 0.0 && !draw.adjusts {
                assert_eq!(token, sampler.sample(&mut vec![value; vocabulary]), "{options:?}");
            }
            cache = executor.new_cache();
        }
    }
}

/// Tokens whose logits are -∞ or no numbers are chosen only where a mask allows no others, the lowest of them first.
#[test]
fn a_mask_holds_where_logits_are_no_numbers() {
    let gpu = open();
    let vocabulary = 100;
    let (mut executor, mut cache) = logits_of(&gpu, vocabulary, &numbers(vocabulary * COLS, 2));
    let biases = (0..vocabulary as u32).filter_map(|token| match token % 3 {
        0 => Some((token, f32::NEG_INFINITY)),
        1 => Some((token, f32::NAN)),
        _ => None,
    });
    let mut logits = vec![];
    for greedy in [true, false] {
        let temperature = if greedy { 0.0 } else { 1.0 };
        let logit_bias = biases.clone().collect();
        let options = Options { temperature, logit_bias, seed: Some(5), ..Options::default() };
        for of in [&[0][..], &[1], &[0, 1], &[1, 2], &[0, 1, 2]] {
            let mask = mask(vocabulary, |token| token > 40 && of.contains(&(token % 3)));
            let mut sampler = Sampler::new(&options, &[], 0);
            let (draw, adjustments) = (sampler.parameters(0), sampler.adjustments(vocabulary));
            step(&mut executor, &mut cache);
            assert!(executor.logits(0..1, &mut logits).unwrap());
            let want = sampler.sample_among(&mut logits, &mask);
            let got = choice(&mut executor, &draw, Some(&adjustments), Some(&mask));
            assert_eq!(got, want, "tokens {of:?} of three, greedy: {greedy}");
            assert!(got > 40 && of.contains(&(got as usize % 3)), "tokens {of:?}: {got}");
            cache = executor.new_cache();
        }
    }
}

/// How an answer is led: from some token on to some other it has a form, of which two tokens are prescribed.
fn led(step: usize) -> Option<Vec<u32>> {
    let random = numbers(264, step as u32 + 10);
    (3..15).contains(&step).then(|| mask(264, |token| random[token] > 0.6))
}
const PRESCRIBED: (usize, [u32; 2]) = (7, [20, 30]);

/// The tokens of an answer that is led so, if it is. Its cache may be taken from it from time to time by another run.
fn answer(model: &mut Model, prompt: &[u32], options: &Options, interrupt: bool) -> Vec<u32> {
    let Model { executor, tokenizer, .. } = model;
    let mut run = Generation::new(executor, tokenizer, prompt, options, 1).unwrap();
    let mut tokens = vec![];
    loop {
        run.set_formed(options.formed.is_some() && led(tokens.len()).is_some());
        if run.awaits_permit() {
            if tokens.len() == PRESCRIBED.0 {
                run.follow(tokenizer, &PRESCRIBED.1, |token, _| tokens.push(token));
                continue;
            }
            // The step is begun before the mask is there, as the worker does it.
            assert_eq!(run.advance(executor, tokenizer, &mut || false).unwrap(), Progress::Waiting);
            run.allow(&led(tokens.len()).unwrap()).unwrap();
        }
        match run.advance(executor, tokenizer, &mut || false).unwrap() {
            Progress::Token { token, .. } => tokens.push(token),
            Progress::Finished { .. } => return tokens,
            _ => {}
        }
        if interrupt && tokens.len() % 5 == 3 {
            let mut cache = executor.new_cache();
            step(executor, &mut cache);
        }
    }
}

/// The same by the host: logits, sampler, a step for each token.
fn answer_by_host(model: &mut Model, prompt: &[u32], options: &Options) -> Vec<u32> {
    let mut sampler = Sampler::new(options, prompt, 1);
    let mut cache = model.executor.new_cache();
    let (mut tokens, mut logits, mut next) = (vec![], vec![], prompt.to_vec());
    while tokens.len() < options.max_tokens.unwrap() as usize {
        let last = next.len() - 1;
        model.executor.begin(&mut [(&mut cache, &next)]).unwrap();
        assert!(model.executor.advance(&mut [&mut cache], &mut || false).unwrap());
        assert!(model.executor.logits(last..last + 1, &mut logits).unwrap());
        next = if options.formed.is_some() && tokens.len() == PRESCRIBED.0 {
            PRESCRIBED.1.iter().for_each(|token| sampler.note(*token));
            PRESCRIBED.1.to_vec()
        } else {
            let mask = led(tokens.len()).filter(|_| options.formed.is_some());
            vec![sampled(&mut sampler, &mut logits, mask.as_deref())]
        };
        tokens.extend(&next);
    }
    tokens
}

#[test]
fn answers_are_those_that_the_host_would_choose() {
    let gpu = open();
    // The last keeps states, which cannot go back: there no token is taken before it is known.
    for name in ["llama-0", "gemma3-0", "qwen35-0"] {
        let mut model = load_fixture_on(&gpu, &format!("tiny/{name}.gguf"));
        let prompt = tokens(&json(&format!("tiny/{name}.json"))["tokens"])[..20].to_vec();
        for (options, formed) in
            kinds().into_iter().step_by(3).flat_map(|kind| [(kind.clone(), false), (kind, true)])
        {
            let options = Options {
                max_tokens: Some(if formed { 20 } else { 12 }),
                ignore_eos: true,
                formed: formed.then_some(Onset::Answer),
                ..options
            };
            let want = answer_by_host(&mut model, &prompt, &options);
            for interrupt in [false, true] {
                let before = gpu.counts().read;
                let got = answer(&mut model, &prompt, &options, interrupt);
                assert_eq!(got, want, "{name}, interrupted: {interrupt}, {options:?}");
                let most = 4 * if interrupt { 2 * got.len() } else { got.len() + 16 };
                assert!(gpu.counts().read - before <= most as u64, "logits are not read");
            }
        }
    }
}

/// Exact counts of a token: the host writes what it knows of the next step, and reads the token.
#[test]
fn a_chosen_token_costs_four_bytes_and_few_dispatches() {
    let gpu = open();
    for (name, of_layer) in [("llama-0", 5), ("gemma3-0", 7)] {
        let mut model = load_fixture_on(&gpu, &format!("tiny/{name}.gguf"));
        let plan = model.executor.plan();
        let layers = plan.caches.len();
        let pairs = plan.ropes.iter().map(|rope| rope.frequencies.len()).sum::<usize>();
        let Head::Logits { weight, .. } = plan.head else { panic!("{name} is a decoder") };
        let allowed = vec![u32::MAX; plan.weight(weight).rows.div_ceil(32)];
        let [greedy, open] = [(0.0, 40), (1.0, 0)].map(|(temperature, top_k)| {
            Sampler::new(&Options { temperature, top_k, ..Options::default() }, &[], 1).parameters(0)
        });
        let mut cache = model.executor.new_cache();
        step(&mut model.executor, &mut cache);
        // So that all is compiled.
        for draw in [&open, &greedy] {
            assert!(model.executor.choose(0, draw, None, None).unwrap());
            assert!(model.executor.chosen().unwrap().is_some());
        }
        assert!(model.executor.choose(0, &greedy, None, None).unwrap());
        // A form costs a submit, for the mask comes after the step was begun, and the mask. A draw among all tokens costs
        // a dispatch.
        let masks = [None, Some(allowed.as_slice())].into_iter().cycle();
        for (mask, draw) in masks.zip([&greedy, &greedy, &open, &open].into_iter().cycle()).take(8) {
            let before = gpu.counts();
            if mask.is_some() {
                assert!(model.executor.go_on(&mut cache).unwrap());
                assert!(model.executor.choose(0, draw, None, mask).unwrap());
            } else {
                assert!(model.executor.follow(&mut cache, draw).unwrap());
            }
            assert!(model.executor.chosen().unwrap().is_some());
            let after = gpu.counts();
            let submits = 1 + u64::from(mask.is_some());
            // Beside the layers: the embedding, the head with the last norm, the blocks' maxima, the choice.
            let dispatches = of_layer * layers + 4 + usize::from(draw.top_k == 0);
            assert_eq!(after.dispatches - before.dispatches, dispatches as u64, "{name}");
            assert_eq!(after.submits - before.submits, submits, "{name}");
            assert_eq!(after.passes - before.passes, submits, "{name}");
            assert_eq!(after.read - before.read, 4, "{name}");
            // A position, its angles, what kernels are told of step, sequence and head, the draw, the mask.
            let written = 4 + 8 * pairs + 3 * 24 + 40 + mask.map_or(0, |mask| 4 * mask.len());
            assert_eq!(after.written - before.written, written as u64, "{name}");
            assert_eq!(after.bind_groups, before.bind_groups, "{name}");
            assert_eq!(after.pipelines, before.pipelines, "{name}");
            assert_eq!(after.buffers, before.buffers, "{name}");
        }
    }
}
