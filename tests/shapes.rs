//! Models of published widths, with made-up weights and few layers: they load, take the memory that they say they take,
//! and run.

mod support;

use support::gguf_writer::GgufWriter;
use support::memory::{Counting, HELD};
use support::models::load;
use support::shapes::{SHAPES, Shape, vocabulary};
use wisplm::gguf::TensorType;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A page of the CPU's cache: a sequence of one token takes the memory of a full context then.
const CONTEXT: u32 = 256;
/// What a model holds beside weights, keys and values: the tokenizer, the plan, activations of a token.
const OVERHEAD: isize = 2 << 20;
/// One of each family whose layers, as many as it takes to have each kind, are quickly computed.
const NAMES: [(&str, u32); 8] = [
    ("Llama 3.2 1B", 1),
    ("Qwen 2.5 0.5B", 2),
    ("Qwen 3 0.6B", 2),
    ("Qwen 3.5 0.8B", 4),
    ("SmolLM3 3B", 1),
    ("Phi-4 mini", 1),
    ("Gemma 3 1B", 6),
    ("mxbai-embed-large", 2),
];

/// A file of the shape whose matrices are in Q4_0, with some codes and scales.
fn file(shape: &Shape, layers: u32) -> Vec<u8> {
    let mut writer = GgufWriter::new();
    // As many tokens as the vocabulary has that stands in for its own.
    let metadata = shape.metadata(CONTEXT, layers, 264);
    let (_, tensors) = shape.plan(&metadata, TensorType::Q4_0);
    for (key, value) in metadata.iter() {
        writer.key(key, value.clone());
    }
    for (key, value) in vocabulary(shape.family) {
        writer.key(&key, value);
    }
    let scale = half::f16::from_f32(0.002).to_le_bytes();
    for (number, tensor) in tensors.iter().enumerate() {
        let bytes: Vec<u8> = match tensor.kind {
            TensorType::F32 => 1.0_f32.to_le_bytes().repeat(tensor.elements() as usize),
            _ => {
                let codes = (0..16).map(|k| (number * 37 + k * 101) as u8);
                let block: Vec<u8> = scale.into_iter().chain(codes).collect();
                block.repeat(tensor.bytes as usize / block.len())
            }
        };
        writer.tensor(&tensor.name, &tensor.dims, tensor.kind, &bytes);
    }
    writer.file()
}

#[test]
fn published_widths_take_the_memory_that_they_say_and_run() {
    for (name, layers) in NAMES {
        let shape = SHAPES.iter().find(|shape| shape.name == name).expect("the shape is known");
        let file = file(shape, layers);
        let before = HELD.get();
        let mut model = load(&file, 1 << 20).unwrap_or_else(|error| panic!("{name}: {error}"));
        let mut cache = model.executor.new_cache();
        model.executor.begin(&mut [(&mut cache, &[7])]).unwrap();
        assert!(model.executor.advance(&mut [&mut cache], &mut || false).unwrap());
        let mut states = vec![];
        assert!(model.executor.hidden(0..1, &mut states).unwrap());
        assert!(states.iter().all(|state| state.is_finite()), "{name}");
        let held = HELD.get() - before;
        let said = (model.executor.weight_bytes() + model.executor.cache_capacity()) as isize;
        println!("{name}, {layers} layers: {said} bytes said, {held} held");
        assert!((held - said).abs() <= said / 20 + OVERHEAD, "{name}: {said} bytes said, {held} held");
    }
}
