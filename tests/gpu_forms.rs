//! What graphics cards run, and every form of it that one may have: on lavapipe, which has all that forms are made of.

mod support;

use std::rc::Rc;
use std::sync::LazyLock;
use std::time::Instant;
use support::gpu::{ALL, NONE, card, open_lavapipe};
use support::models::{fixture, json, load_fixture_on, load_fixture_with, numbers, tokens};
use support::numbers::largest_error;
use support::products::{ROUNDING, check};
use support::scores::{errors, mean_error, score_in_steps};
use wisplm::cpu::KvType;
use wisplm::executor::Cache;
use wisplm::gpu::{Counts, Features, Gpu, Tile, Tuning};
use wisplm::loader::{Loader, Model};
use wisplm::selftest;
use wisplm::task::{Embedding, Pooling};

/// Mean |Δ log-probability| that keys and values in 16 bits may cost; beside them products of rounded weights in 16 bits,
/// and in bytes.
const PLAIN: f32 = 0.002;
const HALF: f32 = 0.02;
const PACKED: f32 = 0.06;

fn tuned(gpu: &Gpu, products: &[(&str, [usize; 2])], tile: Option<Tile>) {
    let products = products.iter().map(|(name, shape)| ((*name).to_owned(), *shape)).collect();
    gpu.tune(Tuning { products, tile });
}

/// Prompts in tiles, few rows, and single ones, which each have kernels of their own.
const STEPS: [usize; 5] = [100, 16, 7, 3, 1];

/// All eight combinations of what a card may have.
fn combinations() -> impl Iterator<Item = Features> {
    (0..8).map(|bits: u32| Features {
        f16: bits & 1 != 0,
        subgroup: if bits & 2 != 0 { ALL.subgroup } else { 0 },
        packed_dot: bits & 4 != 0,
    })
}

/// Floats stay in 32 bits whatever a card has; weights of few bits may go through narrow tiles.
#[test]
fn models_score_the_same_with_every_combination_of_features() {
    let name = "tiny/gemma3-0-Q4_K_M.gguf";
    let text = tokens(&json("tiny/gemma3-0.json")["tokens"]);
    let mut want = vec![];
    for features in combinations() {
        let gpu = card(features);
        let tile = features.packed_dot.then_some(Tile::Packed);
        // Groups of threads that are as small as subgroups.
        tuned(&gpu, &[("F32", [8, 4]), ("F16", [8, 2])], tile);
        println!("{:?}", features.names());
        let floats = errors(&gpu, "llama-0", &STEPS);
        assert!(floats.iter().all(|error| *error <= PLAIN), "{features:?}: {floats:?}");

        let got = score_in_steps(&mut load_fixture_on(&gpu, name), &text, 100);
        if want.is_empty() {
            want = got.clone();
        }
        let apart = got.iter().zip(&want).map(|(a, b)| (a - b).abs()).sum::<f32>() / got.len() as f32;
        let (least, most) = match (features.f16, features.packed_dot) {
            (_, true) => (3e-4, PACKED),
            (true, false) => (3e-4, HALF),
            // Sums in another order.
            (false, false) => (0.0, 2e-4),
        };
        println!("{name}: {apart:.6}");
        assert!((least..=most).contains(&apart), "{features:?}: {apart}");
    }
}

/// What a step of a card costs, beyond where several workgroups share a head's keys: nothing is created, whatever the
/// step's rows, and a layer of llama takes five dispatches, six then.
#[test]
fn cards_create_nothing_after_the_warm_up() {
    let gpu = card(ALL);
    let long = 120;
    gpu.share_keys(long);
    for (name, of_layer) in [("llama-0", 5), ("gemma3-0", 7)] {
        let mut model = load_fixture_on(&gpu, &format!("tiny/{name}.gguf"));
        let layers = model.executor.plan().caches.len();
        let text = tokens(&json(&format!("tiny/{name}.json"))["tokens"]);
        let (mut cache, mut logits) = (model.executor.new_cache(), vec![]);
        while model.executor.make_ready().is_some() {}
        model.executor.begin(&mut [(&mut cache, &text[..50])]).unwrap();
        assert!(model.executor.advance(&mut [&mut cache], &mut || false).unwrap());
        model.executor.cancel();
        let warm = gpu.counts();
        let steps = [20, 16, 8, 7, 4, 3, 2, 1].into_iter().chain(std::iter::repeat_n(1, 12));
        let mut done = 50;
        for rows in steps {
            let before = gpu.counts();
            model.executor.begin(&mut [(&mut cache, &text[done..done + rows])]).unwrap();
            assert!(model.executor.advance(&mut [&mut cache], &mut || false).unwrap());
            assert!(model.executor.logits(rows - 1..rows, &mut logits).unwrap());
            let after = gpu.counts();
            if rows == 1 {
                let of_layer = of_layer + u64::from(done >= long);
                assert_eq!(
                    after.dispatches - before.dispatches,
                    of_layer * layers as u64 + 2,
                    "{name}, {done} keys"
                );
            }
            assert_eq!(after.submits - before.submits, 1, "{name}, {rows} rows");
            done += rows;
        }
        assert!(done > long);
        let after = gpu.counts();
        let created = |counts: &Counts| [counts.pipelines, counts.bind_groups, counts.buffers];
        assert_eq!(created(&after), created(&warm), "{name}");
    }
}

#[test]
fn products_of_all_formats_are_those_of_the_weights() {
    // On both sides of a tile of outputs, and of rows; one row, and few.
    check(&card(NONE), &[65], &[1, 5, 33], ROUNDING);
}

/// How far off a sum of up to 768 products of numbers between −1 and 1, which is about ±9, may be: rounded to 16-bit
/// floats, and to bytes, on both sides.
const ROUNDING_HALF: f32 = 0.03;
const ROUNDING_PACKED: f32 = 0.25;

#[test]
fn narrow_tiles_of_all_formats_are_near_them() {
    check(&card(Features { f16: true, ..NONE }), &[65], &[33], ROUNDING_HALF);
    let gpu = card(Features { packed_dot: true, ..NONE });
    tuned(&gpu, &[], Some(Tile::Packed));
    check(&gpu, &[65], &[33], ROUNDING_PACKED);
}

/// Keys that several workgroups share.
#[test]
fn shared_keys_score_as_those_of_one_workgroup() {
    for name in ["llama-0", "gemma3-0"] {
        let gpu = card(NONE);
        let text = tokens(&json(&format!("tiny/{name}.json"))["tokens"]);
        let mut scores = [usize::MAX, 20].map(|from| {
            gpu.share_keys(from);
            score_in_steps(&mut load_fixture_on(&gpu, &format!("tiny/{name}.gguf")), &text, 1)
        });
        let [alone, shared] = &mut scores;
        let error = largest_error(shared, alone);
        println!("{name}: {error}");
        assert!(error <= 1e-4 && shared != alone, "{name}: {error}");
    }
}

/// Forks, whose keys lie in pieces: in tiles of rows, alone, and shared by several workgroups.
#[test]
fn forks_answer_as_sequences_of_their_own() {
    let gpu = card(ALL);
    gpu.share_keys(70);
    for name in ["llama-0", "gemma3-0", "gemma4-0"] {
        let mut model = load_fixture_on(&gpu, &format!("tiny/{name}.gguf"));
        let text = tokens(&json(&format!("tiny/{name}.json"))["tokens"]);
        let mut logits = vec![];
        let mut step = |model: &mut Model, cache: &mut Cache, range: std::ops::Range<usize>| {
            let rows = range.len();
            model.executor.begin(&mut [(&mut *cache, &text[range])]).unwrap();
            assert!(model.executor.advance(&mut [cache], &mut || false).unwrap());
            assert!(model.executor.logits(rows - 1..rows, &mut logits).unwrap());
            logits.clone()
        };
        let steps = [0..30, 30..50, 50..60, 60..61, 61..80, 80..81, 81..82];
        let (mut alone, mut forked) = (model.executor.new_cache(), model.executor.new_cache());
        for range in steps {
            let want = step(&mut model, &mut alone, range.clone());
            // Each part is in a piece of its own.
            let mut fork = model.executor.fork(&forked).unwrap();
            let error = largest_error(&step(&mut model, &mut fork, range.clone()), &want);
            println!("{name}, {range:?}: {error}");
            assert!(error <= 1e-4, "{name}, {range:?}: {error}");
            forked = fork;
        }
    }
}

/// A shape that kernels cannot have, as another version may have left it, is not taken.
#[test]
fn shapes_that_cannot_be_are_left_out() {
    let gpu = card(NONE);
    for shape in [[0, 0], [128, 4], [2, 4]] {
        tuned(&gpu, &[("F32", shape), ("F16", shape)], Some(Tile::Half));
        let errors = errors(&gpu, "llama-0", &[1]);
        assert!(errors[0] <= PLAIN, "{shape:?}: {errors:?}");
    }
    assert_eq!(Tuning::parse("{\"tile\": 7}"), Tuning::default());
}

/// Caps, windows, heads of other sizes, encoders, keys of bytes: in tiles of rows, with and without exchanges.
#[test]
fn attention_in_tiles_is_the_same_in_every_family() {
    let some: &[&str] = &["gemma2-0", "phi3-0", "qwen35-0"];
    let others: &[&str] = &[
        "llama-0",
        "mistral3-0",
        "qwen2-0",
        "qwen3-0",
        "smollm3-0",
        "gemma3-0",
        "gemma4-0",
        "gemma4-1",
        "gemma4-2",
    ];
    for (features, names) in [(NONE, some.to_vec()), (ALL, [some, others].concat())] {
        let gpu = card(features);
        for name in names {
            let errors = errors(&gpu, name, &[100]);
            assert!(errors[0] <= PLAIN, "{name}: {errors:?}");
        }
        let (answers, mut model) = (json("tiny/bert-0.json"), load_fixture_on(&gpu, "tiny/bert-0.gguf"));
        let texts = vec![tokens(&answers["tokens"])];
        let mut run = Embedding::new(&model.executor, texts, Pooling::Mean, true).unwrap();
        while !run.advance(&mut model.executor, &mut || false).unwrap() {}
        let got = run.take_vectors().concat();
        let want = numbers(&answers["embedding"]["mean"]);
        let length = want.iter().map(|x| x * x).sum::<f32>().sqrt();
        let cosine = got.iter().zip(&want).map(|(a, b)| a * b / length).sum::<f32>();
        assert!(cosine >= 0.9999, "{cosine}");
    }
    let mut model = load_fixture_with(&card(NONE), "tiny/llama-0.gguf", KvType::Q8_0);
    let answers = json("tiny/llama-0.json");
    let scores = score_in_steps(&mut model, &tokens(&answers["tokens"]), 100);
    let error = mean_error(&scores, &numbers(&answers["logprobs"]));
    assert!(error <= 0.01, "keys of 8 bits: {error}");
}

/// Steps of one token of several sequences, which read each weight once for all of them.
#[test]
fn sequences_decoded_at_once_answer_as_each_alone() {
    let gpu = card(ALL);
    let mut model = load_fixture_on(&gpu, "tiny/llama-0.gguf");
    let text = tokens(&json("tiny/llama-0.json")["tokens"]);
    for count in [3, 10] {
        let mut decode = |ranges: &[usize]| -> (Vec<f32>, u64) {
            let mut caches: Vec<Cache> = ranges.iter().map(|_| model.executor.new_cache()).collect();
            let mut logits = vec![];
            let mut weights = 0;
            for step in 0..4 {
                let parts = ranges.iter().map(|k| &text[k + step..k + step + 1]);
                let mut batch: Vec<(&mut Cache, &[u32])> = caches.iter_mut().zip(parts).collect();
                model.executor.begin(&mut batch).unwrap();
                let mut caches: Vec<&mut Cache> = caches.iter_mut().collect();
                assert!(model.executor.advance(&mut caches, &mut || false).unwrap());
                let before = gpu.counts().weights;
                assert!(model.executor.logits(0..ranges.len(), &mut logits).unwrap());
                weights = gpu.counts().weights - before;
            }
            (logits, weights)
        };
        let ranges: Vec<usize> = (0..count).collect();
        let alone: Vec<(Vec<f32>, u64)> = ranges.iter().map(|k| decode(&[*k])).collect();
        let (together, weights) = decode(&ranges);
        assert_eq!(weights, alone[0].1, "bytes of weights that a step reads");
        let want: Vec<f32> = alone.into_iter().flat_map(|(logits, _)| logits).collect();
        let error = largest_error(&together, &want);
        assert!(error <= 1e-4, "{count} sequences: {error}");
    }
}

/// Trials find shapes that kernels can have, once: what they have found is not tried again, and models run with it.
#[test]
fn shapes_are_tried_once_on_a_card_and_never_on_a_program() {
    let load = |gpu: &Rc<Gpu>| {
        let bytes = std::fs::read(fixture("tiny/gemma3-0-Q4_K_M.gguf")).unwrap();
        let mut loader = Loader::new(1, None, None).on(gpu);
        loader.push(&bytes).unwrap();
        loader
    };
    let now = || Instant::now().duration_since(*BEGAN).as_secs_f64() * 1e3;
    static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
    let gpu = card(ALL);
    let kept = pollster::block_on(load(&gpu).tune(now)).unwrap().expect("nothing was known");
    let found = gpu.tuning();
    println!("{kept}");
    assert!(found.tile.is_some() && !found.products.is_empty());
    assert!(found.products.keys().all(|format| found.shape(format).is_some()));
    assert_eq!(Tuning::parse(&kept), found);
    let errors = errors(&gpu, "llama-0", &[100, 1]);
    assert!(errors.iter().all(|error| *error <= PLAIN), "{errors:?}");

    let next = card(ALL);
    next.tune(found);
    let loader = load(&next);
    let before = next.counts();
    assert_eq!(pollster::block_on(loader.tune(now)).unwrap(), None);
    assert_eq!(next.counts(), before);

    let program = open_lavapipe();
    let loader = load(&program);
    let before = program.counts();
    assert_eq!(pollster::block_on(loader.tune(now)).unwrap(), None);
    assert_eq!((program.counts(), program.tuning()), (before, Tuning::default()));
}

#[test]
fn cards_pass_the_self_test_with_products() {
    for features in [NONE, ALL] {
        let gpu = card(features);
        let start = Instant::now();
        pollster::block_on(selftest::check(&gpu)).unwrap();
        println!("{:.1?}, {} pipelines", start.elapsed(), gpu.counts().pipelines);
        // Six matrices; 17 of a layer of several rows by itself, twice; 6 of one row's, fused; norm and head three times, and
        // the head of one row three times; three choices.
        assert_eq!(gpu.counts().dispatches, 6 + 2 * 17 + 6 + 3 * 2 + 3 + 3 * 2);
    }
}
