//! Models of published widths, with made-up weights and few layers: they load, take the memory that they say they take,
//! and run.

mod support;

use support::draft::Draft;
use support::gpu::open_lavapipe;
use support::memory::{Counting, HELD, PEAK};
use support::models::{fixture, load};
use support::shapes::{SHAPES, Shape};
use wisplm::cpu::KvType;
use wisplm::executor::{Cache, Executor};
use wisplm::gguf::TensorInfo;
use wisplm::gpu::Demand;
use wisplm::loader::Loader;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A page of the CPU's cache: a sequence of one token takes the memory of a full context then.
const CONTEXT: u32 = 256;
/// What a model holds beside weights, keys and values: the tokenizer, the plan, activations of a token.
const OVERHEAD: isize = 2 << 20;
/// One of each family whose layers, as many as it takes to have each kind, are quickly computed.
const NAMES: [(&str, u32); 11] = [
    ("Llama 3.2 1B", 1),
    ("Qwen 2.5 0.5B", 2),
    ("Qwen 3 0.6B", 2),
    ("Qwen 3.5 0.8B", 4),
    ("SmolLM3 3B", 1),
    ("Phi-4 mini", 1),
    ("Ministral 3 3B", 1),
    ("Gemma 2 2B", 2),
    ("Gemma 3 1B", 6),
    ("Gemma 4 E2B", 10),
    ("mxbai-embed-large", 2),
];

fn shape(name: &str) -> &'static Shape {
    SHAPES.iter().find(|shape| shape.name == name).expect("the shape is known")
}

/// Takes a token, and returns its sequence.
fn step(executor: &mut Executor, name: &str) -> Cache {
    let mut cache = executor.new_cache();
    executor.begin(&mut [(&mut cache, &[7])]).unwrap();
    assert!(executor.advance(&mut [&mut cache], &mut || false).unwrap());
    let mut states = vec![];
    assert!(executor.hidden(0..1, &mut states).unwrap());
    assert!(states.iter().all(|state| state.is_finite()), "{name}");
    cache
}

#[test]
fn published_widths_take_the_memory_that_they_say_and_run() {
    for (name, layers) in NAMES {
        let file = shape(name).file(CONTEXT, layers);
        let before = HELD.get();
        let mut model = load(&file, 1 << 20).unwrap_or_else(|error| panic!("{name}: {error}"));
        let _cache = step(&mut model.executor, name);
        let held = HELD.get() - before;
        let said = (model.executor.weight_bytes() + model.executor.cache_capacity()) as isize;
        println!("{name}, {layers} layers: {said} bytes said, {held} held");
        assert!((held - said).abs() <= said / 20 + OVERHEAD, "{name}: {said} bytes said, {held} held");
    }
}

/// What weights come through to a GPU; it is gone when they are there.
const STAGING: u64 = 4 << 20;

/// All buffers on a GPU, added up as they are made, are what is known from the header.
#[test]
fn models_take_the_memory_of_a_gpu_that_their_headers_say() {
    let tiny = |name: &str| (name.to_owned(), std::fs::read(fixture(&format!("tiny/{name}.gguf"))).unwrap());
    let wide = |name: &str| (name.to_owned(), shape(name).file(CONTEXT, 2));
    let all = ["llama-0", "gemma3-0", "gemma4-0", "qwen35-0", "bert-0"].map(tiny);
    for (name, file) in all.into_iter().chain(["Qwen 2.5 0.5B", "Gemma 3 1B"].map(wide)) {
        let gpu = open_lavapipe();
        gpu.shape_for_cards();
        let mut loader = Loader::new(1, None, None).on(&gpu);
        loader.push(&file).unwrap();
        let mut executor = loader.finish().unwrap().executor;
        step(&mut executor, &name);
        let plan = executor.plan();
        let infos: Vec<TensorInfo> = Draft::of(&file).tensors.iter().map(|tensor| tensor.info()).collect();
        let read = infos.iter().filter(|info| plan.weights.iter().any(|weight| weight.name == info.name));
        let Demand { weights, cache, work, .. } = Demand::of(plan, read, KvType::F16);
        assert_eq!(cache, executor.cache_capacity(), "{name}");
        let apart = |said: u64, taken: u64| (said as f64 / taken as f64 - 1.0).abs();
        assert!(
            apart(weights, executor.weight_bytes()) < 0.05,
            "{name}: {weights} of {}",
            executor.weight_bytes()
        );
        let (said, taken) = (weights + cache + work, gpu.counts().bytes - STAGING);
        println!("{name}: {said} bytes said, {taken} taken");
        assert!(apart(said, taken) < 0.05, "{name}: {said} bytes said, {taken} taken");
    }
}

/// What a load may hold of weights that are on their way to a GPU, however many there are.
const ON_THE_WAY: isize = 6 << 20;

/// Weights for a GPU come through the heap a chunk at a time: it is as little for eight times the layers.
#[test]
fn weights_for_a_gpu_do_not_stay_in_the_heap() {
    let gpu = open_lavapipe();
    for layers in [1, 8] {
        let file = shape("Qwen 2.5 1.5B").file(CONTEXT, layers);
        let before = HELD.get();
        PEAK.set(before);
        let mut loader = Loader::new(1, Some(file.len() as u64), None).on(&gpu);
        file.chunks(1 << 20).try_for_each(|chunk| loader.push(chunk)).unwrap();
        let executor = loader.finish().unwrap().executor;
        let peak = PEAK.get() - before;
        println!("{layers} layers: {} bytes of weights, {peak} in the heap at most", executor.weight_bytes());
        assert!(executor.weight_bytes() as isize > 4 * ON_THE_WAY, "too few to tell");
        assert!(peak <= ON_THE_WAY, "{peak} bytes in the heap");
    }
}
