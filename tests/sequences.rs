//! Sequences that fork and go back, against sequences that never did.

mod support;

use std::rc::Rc;
use support::draft::Draft;
use support::gpu::open;
use support::models::{json, tokens};
use wisplm::executor::{Cache, Executor};
use wisplm::gguf::Value;
use wisplm::gpu::Gpu;
use wisplm::loader::Loader;

/// Attention to everything, attention through windows (of 32 tokens), and recurrences.
const FAMILIES: [&str; 3] = ["llama-0", "gemma3-0", "qwen35-0"];
/// Longer than two pages of keys and values, and than a window's ring on the GPU.
const CONTEXT: usize = 1024;

/// A tiny model with a longer context, and a text that nearly fills it.
fn load(gpu: Option<&Rc<Gpu>>, name: &str) -> (Executor, Vec<u32>) {
    let mut draft = Draft::tiny(name);
    draft.set(&format!("{}.context_length", draft.family()), Value::U32(CONTEXT as u32));
    let mut loader = Loader::new(1, None, None);
    if let Some(gpu) = gpu {
        loader = loader.on(gpu);
    }
    loader.push(&draft.file()).unwrap();
    let text = tokens(&json(&format!("tiny/{name}.json"))["tokens"]);
    (loader.finish().unwrap().executor, text.iter().cycle().take(CONTEXT - 100).copied().collect())
}

/// The bits of the logits after `tokens`.
fn go_on(executor: &mut Executor, cache: &mut Cache, tokens: &[u32]) -> Vec<u32> {
    let (mut rest, mut last) = (tokens, 0);
    while !rest.is_empty() {
        let (step, after) = rest.split_at(executor.step_tokens(rest.len()));
        executor.begin(&mut [(&mut *cache, step)]).unwrap();
        while !executor.advance(&mut [&mut *cache], &mut || false).unwrap() {}
        (rest, last) = (after, step.len() - 1);
    }
    let mut logits = vec![];
    while !executor.logits(last..last + 1, &mut logits).unwrap() {}
    logits.iter().map(|logit| logit.to_bits()).collect()
}

/// What sequences answer that take these tokens, one part after the other.
fn alone(executor: &mut Executor, parts: &[&[u32]]) -> Vec<u32> {
    let mut cache = executor.new_cache();
    parts.iter().map(|part| go_on(executor, &mut cache, part)).last().unwrap()
}

fn fork_apart(gpu: Option<&Rc<Gpu>>, lens: &[usize]) {
    for name in FAMILIES {
        let (mut executor, text) = load(gpu, name);
        let (first, second, third) = (&text[7..20], &text[31..60], &text[3..4]);
        for &len in lens {
            let common = &text[..len];
            let [want_a, want_b] = [first, second].map(|part| alone(&mut executor, &[common, part, third]));
            let mut a = executor.new_cache();
            go_on(&mut executor, &mut a, common);
            let mut b = executor.fork(&a).unwrap();
            assert_eq!(b.len(), len);
            go_on(&mut executor, &mut b, second);
            go_on(&mut executor, &mut a, first);
            let mut c = executor.fork(&b).unwrap();
            assert!(go_on(&mut executor, &mut a, third) == want_a, "{name}, {len}: the original");
            assert!(go_on(&mut executor, &mut b, third) == want_b, "{name}, {len}: the fork");
            drop((a, b));
            assert!(go_on(&mut executor, &mut c, third) == want_b, "{name}, {len}: the fork's fork");
        }
    }
}

/// A fork of a step that was not submitted yet: nobody has asked for its results.
fn fork_what_waits(gpu: &Rc<Gpu>) {
    for name in FAMILIES {
        let (mut executor, text) = load(Some(gpu), name);
        let want = alone(&mut executor, &[&text[..50], &text[50..60]]);
        let mut cache = executor.new_cache();
        executor.begin(&mut [(&mut cache, &text[..50])]).unwrap();
        assert!(executor.advance(&mut [&mut cache], &mut || false).unwrap());
        let mut fork = executor.fork(&cache).unwrap();
        assert!(go_on(&mut executor, &mut fork, &text[50..60]) == want, "{name}");
    }
}

fn go_on_together(gpu: Option<&Rc<Gpu>>) {
    for name in FAMILIES {
        let (mut executor, text) = load(gpu, name);
        let mut caches = vec![executor.new_cache()];
        go_on(&mut executor, &mut caches[0], &text[..40]);
        let tails: [&[u32]; 3] = [&text[40..41], &text[50..51], &text[60..61]];
        let want = tails.map(|tail| alone(&mut executor, &[&text[..40], tail])).concat();
        for _ in 1..tails.len() {
            caches.push(executor.fork(&caches[0]).unwrap());
        }
        let mut batch: Vec<(&mut Cache, &[u32])> = caches.iter_mut().zip(tails).collect();
        executor.begin(&mut batch).unwrap();
        assert!(executor.advance(&mut caches.iter_mut().collect::<Vec<_>>(), &mut || false).unwrap());
        let mut logits = vec![];
        assert!(executor.logits(0..3, &mut logits).unwrap());
        let want: Vec<f32> = want.into_iter().map(f32::from_bits).collect();
        // The GPU's products of three rows sum up in another order than of one.
        let error = support::numbers::largest_error(&logits, &want);
        assert!(error <= if gpu.is_some() { 1e-4 } else { 0.0 }, "{name}: {error}");
    }
}

/// To which lengths a sequence of 600 tokens goes back.
struct Back {
    family: &'static str,
    on_cpu: &'static [usize],
    on_gpu: &'static [usize],
    refused: &'static [usize],
}

const BACK: [Back; 3] = [
    Back { family: "llama-0", on_cpu: &[599, 512, 300, 1], on_gpu: &[300], refused: &[] },
    // 32 positions are seen. The CPU keeps the pages from 256 on, the GPU the last 288 positions.
    Back { family: "gemma3-0", on_cpu: &[599, 512, 287], on_gpu: &[343], refused: &[286, 1] },
    Back { family: "qwen35-0", on_cpu: &[], on_gpu: &[], refused: &[599, 1] },
];

fn go_back(gpu: Option<&Rc<Gpu>>) {
    for Back { family: name, on_cpu, on_gpu, refused } in BACK {
        let (mut executor, text) = load(gpu, name);
        let other = &text[11..30];
        let mut long = executor.new_cache();
        go_on(&mut executor, &mut long, &text[..600]);
        for len in refused {
            assert!(!long.rewind(*len), "{name}: back to {len}");
            assert_eq!(long.len(), 600);
        }
        assert!(!long.rewind(601) && long.rewind(600));
        for len in if gpu.is_some() { on_gpu } else { on_cpu } {
            let want = alone(&mut executor, &[&text[..*len], other]);
            let mut cache = executor.fork(&long).unwrap();
            assert!(cache.rewind(*len), "{name}: back to {len}");
            assert_eq!(cache.len(), *len);
            assert!(go_on(&mut executor, &mut cache, other) == want, "{name}: on from {len}");
        }
        let want = alone(&mut executor, &[&text[..600], other]);
        let mut fork = executor.fork(&long).unwrap();
        assert!(fork.rewind(0), "every sequence can begin anew");
        assert!(go_on(&mut executor, &mut fork, other) == alone(&mut executor, &[other]), "{name}");
        assert!(go_on(&mut executor, &mut long, other) == want, "{name}: what was forked");
    }
}

#[test]
fn sequences_of_the_cpu_fork_and_go_back() {
    fork_apart(None, &[1, 100, 255, 256, 300, 700]);
    go_on_together(None);
    go_back(None);
}

/// On one device: its pipelines are compiled once.
#[test]
fn sequences_of_the_gpu_fork_and_go_back() {
    let gpu = open();
    fork_apart(Some(&gpu), &[1, 300]);
    fork_what_waits(&gpu);
    go_on_together(Some(&gpu));
    go_back(Some(&gpu));
    release(&gpu);
}

/// Memory of ended sequences is used again, and freed when that is wanted.
fn release(gpu: &Rc<Gpu>) {
    let (mut executor, text) = load(Some(gpu), FAMILIES[0]);
    let want = alone(&mut executor, &[&text[..9]]);
    let buffers = |executor: &mut Executor, release: bool| {
        let mut caches: Vec<Cache> = (0..3).map(|_| executor.new_cache()).collect();
        let before = gpu.counts().buffers;
        for cache in &mut caches {
            assert!(go_on(executor, cache, &text[..9]) == want);
        }
        drop(caches);
        if release {
            executor.release();
        }
        gpu.counts().buffers - before
    };
    let layers = executor.plan().caches.len() as u64;
    let made = [false, true, false].map(|release| buffers(&mut executor, release));
    assert_eq!(made, [2 * layers, 0, 2 * layers], "all but the first, which the executor came with");
}

#[test]
fn forks_on_the_cpu_share_memory() {
    for name in FAMILIES {
        let (mut executor, text) = load(None, name);
        let mut cache = executor.new_cache();
        go_on(&mut executor, &mut cache, &text[..600]);
        let all = cache.bytes();
        let forks: Vec<Cache> = (0..10).map(|_| executor.fork(&cache).unwrap()).collect();
        let together = cache.bytes() + forks.iter().map(Cache::bytes).sum::<u64>();
        assert!(together <= all, "{name}: {together} bytes of {all}");
        drop(forks);
        assert_eq!(cache.bytes(), all, "{name}");
    }
}
