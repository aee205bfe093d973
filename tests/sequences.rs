//! Sequences that fork and go back, against sequences that never did.

mod support;

use std::rc::Rc;
use support::draft::Draft;
use support::gpu::open;
use support::models::{json, tokens};
use support::numbers::largest_error;
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

/// How far logits of a sequence that shares memory on the GPU may be from those of one that does not: it sums up over
/// pieces. On the CPU bits are the same.
const APART: f32 = 1e-4;

/// Logits, compared so.
struct Logits(Vec<f32>, f32);

impl PartialEq for Logits {
    fn eq(&self, other: &Self) -> bool {
        let error = largest_error(&self.0, &other.0);
        if error > self.1 {
            println!("{error} apart");
        }
        error <= self.1
    }
}

/// The logits after `tokens`.
fn go_on(executor: &mut Executor, cache: &mut Cache, tokens: &[u32]) -> Logits {
    let (mut rest, mut last) = (tokens, 0);
    while !rest.is_empty() {
        let (step, after) = rest.split_at(executor.step_tokens(rest.len()));
        executor.begin(&mut [(&mut *cache, step)]).unwrap();
        while !executor.advance(&mut [&mut *cache], &mut || false).unwrap() {}
        (rest, last) = (after, step.len() - 1);
    }
    let mut logits = vec![];
    while !executor.logits(last..last + 1, &mut logits).unwrap() {}
    Logits(logits, if executor.gpu().is_some() { APART } else { 0.0 })
}

/// What sequences answer that take these tokens, one part after the other.
fn alone(executor: &mut Executor, parts: &[&[u32]]) -> Logits {
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
        let want = tails.map(|tail| alone(&mut executor, &[&text[..40], tail]).0).concat();
        for _ in 1..tails.len() {
            caches.push(executor.fork(&caches[0]).unwrap());
        }
        let mut batch: Vec<(&mut Cache, &[u32])> = caches.iter_mut().zip(tails).collect();
        executor.begin(&mut batch).unwrap();
        assert!(executor.advance(&mut caches.iter_mut().collect::<Vec<_>>(), &mut || false).unwrap());
        let mut logits = vec![];
        assert!(executor.logits(0..3, &mut logits).unwrap());
        // The GPU's products of three rows sum up in another order than of one.
        let error = largest_error(&logits, &want);
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
    share(&gpu);
    fork_again_and_again(&gpu);
}

/// A fork copies what is written over, rings and states, and nothing else; it takes memory for what it does not share.
fn share(gpu: &Rc<Gpu>) {
    for name in FAMILIES {
        let (mut executor, text) = load(Some(gpu), name);
        let mut cache = executor.new_cache();
        go_on(&mut executor, &mut cache, &text[..600]);
        let (all, before) = (cache.bytes(), gpu.counts());
        let mut forks: Vec<Cache> = (0..3).map(|_| executor.fork(&cache).unwrap()).collect();
        let after = gpu.counts();
        let (copied, made) = (after.copied - before.copied, after.bytes - before.bytes);
        let plan = executor.plan();
        let written_over = plan.caches.iter().any(|cache| cache.window.is_some()) || !plan.states.is_empty();
        println!("{name}: {all} bytes, 3 forks copy {copied} and take {made}");
        match written_over {
            false => assert_eq!((copied, made), (0, 0), "{name}"),
            true => assert!(copied <= made && made < 3 * all, "{name}"),
        }
        for fork in &mut forks {
            go_on(&mut executor, fork, &text[600..603]);
        }
        // Nothing else was copied; each has room for the rest of the context.
        let grown = gpu.counts();
        assert_eq!(grown.copied, after.copied, "{name}");
        let shared = (all - made / 3) * 600 / CONTEXT as u64;
        assert_eq!(grown.bytes - before.bytes, 3 * (all - shared), "{name}");
        let together = cache.bytes() + forks.iter().map(Cache::bytes).sum::<u64>();
        assert!(together.abs_diff(all + grown.bytes - before.bytes) <= 16, "{name}: {together}");
        // What one leaves the next one takes.
        drop(forks);
        let mut fork = executor.fork(&cache).unwrap();
        go_on(&mut executor, &mut fork, &text[600..603]);
        assert_eq!(gpu.counts().bytes, grown.bytes, "{name}");
        // Nor do lanes stay that are too small for it.
        drop(fork);
        if executor.goes_back() {
            let peak = executor.gpu().unwrap().peak_bytes();
            for len in [580, 510, 440, 370] {
                let mut fork = executor.fork(&cache).unwrap();
                assert!(fork.rewind(len));
                go_on(&mut executor, &mut fork, &text[600..603]);
            }
            let more = executor.gpu().unwrap().peak_bytes() - peak;
            assert!(more <= all / 2, "{name}: {more} bytes more");
        }
    }
}

/// Forks of forks, more than a sequence has pieces; then one that was saved, and the first after it has gone back.
fn fork_again_and_again(gpu: &Rc<Gpu>) {
    for name in FAMILIES {
        let (mut executor, text) = load(Some(gpu), name);
        let mut chain = vec![executor.new_cache()];
        go_on(&mut executor, &mut chain[0], &text[..300]);
        for k in 0..12 {
            let mut fork = executor.fork(&chain[k]).unwrap();
            let copied = gpu.counts().copied;
            go_on(&mut executor, &mut fork, &text[300 + 10 * k..309 + 10 * k]);
            go_on(&mut executor, &mut fork, &text[309 + 10 * k..310 + 10 * k]);
            // Ten tokens in a piece, of which the last two are made one in the end.
            let bytes = gpu.counts().copied - copied;
            assert!(bytes <= 20 * executor.cache_capacity() * 10 / CONTEXT as u64, "{name}: {bytes}");
            chain.push(fork);
        }
        let (rest, other) = (&text[420..430], &text[500..520]);
        let want = alone(&mut executor, &[&text[..420], rest]);
        let last = chain.last_mut().unwrap();
        let mut bytes = vec![];
        assert!(executor.save(last, &mut bytes).unwrap());
        let mut restored = executor.restore(420, &bytes).unwrap();
        assert!(go_on(&mut executor, last, rest) == want, "{name}: the last");
        assert!(go_on(&mut executor, &mut restored, rest) == want, "{name}: restored");
        for at in [0, 5] {
            let want = alone(&mut executor, &[&text[..300 + 10 * at], other]);
            assert!(go_on(&mut executor, &mut chain[at], other) == want, "{name}: number {at}");
        }
        if executor.goes_back() {
            let want = alone(&mut executor, &[&text[..295], other]);
            assert!(chain[0].rewind(295));
            assert!(go_on(&mut executor, &mut chain[0], other) == want, "{name}: back before what is shared");
            let want = alone(&mut executor, &[&text[..380], other]);
            let mut fork = executor.fork(&chain[9]).unwrap();
            assert!(fork.rewind(380));
            assert!(go_on(&mut executor, &mut fork, other) == want, "{name}: a fork back before its pieces");
        }
    }
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
