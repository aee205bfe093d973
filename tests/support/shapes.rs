//! The shapes of published models: hyperparameters, and the tensors that the engine's plan asks for.

use super::gguf_writer::GgufWriter;
use wisplm::error::Result;
use wisplm::gguf::{Array, Metadata, TensorInfo, TensorType, Value};
use wisplm::model;
use wisplm::plan::Plan;

/// A model by its hyperparameters, as its makers have published them.
pub struct Shape {
    pub name: &'static str,
    pub family: &'static str,
    pub vocabulary: u32,
    /// Width, layers, inner width of the feed-forward part.
    pub sizes: [u32; 3],
    /// Heads of queries, of keys and values, and their width.
    pub heads: [u32; 3],
    /// The head is the embedding.
    pub tied: bool,
    /// Other keys.
    pub keys: &'static [(&'static str, u32)],
    /// Keys of other kinds than numbers, of a model with so many layers.
    pub lists: fn(u32) -> Vec<(&'static str, Value)>,
}

const fn shape(
    name: &'static str,
    family: &'static str,
    vocabulary: u32,
    sizes: [u32; 3],
    heads: [u32; 3],
    tied: bool,
) -> Shape {
    Shape { name, family, vocabulary, sizes, heads, tied, keys: &[], lists: |_| vec![] }
}

const fn with(shape: Shape, keys: &'static [(&'static str, u32)]) -> Shape {
    Shape { keys, ..shape }
}

/// With YaRN, and queries that grow.
const fn yarn(shape: Shape) -> Shape {
    let lists = |_| {
        vec![
            ("rope.scaling.type", Value::String("yarn".into())),
            ("rope.scaling.factor", Value::F32(16.0)),
            ("rope.scaling.yarn_log_multiplier", Value::F32(1.0)),
            ("attention.temperature_scale", Value::F32(0.1)),
        ]
    };
    let keys = &[("rope.scaling.original_context_length", 16_384), ("rope.dimension_count", 128)];
    Shape { keys, lists, ..shape }
}

/// Windows but for every so many layers.
fn windowed(layers: u32, period: u32) -> (&'static str, Value) {
    let flags = (1..=layers).map(|number| !number.is_multiple_of(period)).collect();
    ("attention.sliding_window_pattern", Value::Array(Array::Bool(flags)))
}

const DELTA: [(&str, u32); 5] = [
    ("rope.dimension_count", 64),
    ("ssm.conv_kernel", 4),
    ("ssm.state_size", 128),
    ("ssm.group_count", 16),
    ("full_attention_interval", 4),
];
const DELTA_16: [(&str, u32); 7] =
    [DELTA[0], DELTA[1], DELTA[2], DELTA[3], DELTA[4], ("ssm.time_step_rank", 16), ("ssm.inner_size", 2048)];
const DELTA_32: [(&str, u32); 7] =
    [DELTA[0], DELTA[1], DELTA[2], DELTA[3], DELTA[4], ("ssm.time_step_rank", 32), ("ssm.inner_size", 4096)];
const GEMMA_4: [(&str, u32); 6] = [
    ("attention.sliding_window", 512),
    ("attention.key_length_swa", 256),
    ("attention.value_length_swa", 256),
    ("rope.dimension_count", 512),
    ("rope.dimension_count_swa", 256),
    ("embedding_length_per_layer_input", 256),
];
const WINDOW_2047: &[(&str, u32)] = &[("attention.sliding_window", 2047)];
const WINDOW_512: &[(&str, u32)] = &[("attention.sliding_window", 512)];
const WINDOW_1024: &[(&str, u32)] = &[("attention.sliding_window", 1024)];
const WINDOW_4096: &[(&str, u32)] = &[("attention.sliding_window", 4096)];

pub static SHAPES: &[Shape] = &[
    shape("SmolLM2 135M", "llama", 49_152, [576, 30, 1536], [9, 3, 64], true),
    shape("SmolLM2 360M", "llama", 49_152, [960, 32, 2560], [15, 5, 64], true),
    shape("SmolLM2 1.7B", "llama", 49_152, [2048, 24, 8192], [32, 32, 64], true),
    shape("TinyLlama 1.1B", "llama", 32_000, [2048, 22, 5632], [32, 4, 64], false),
    shape("Llama 3.2 1B", "llama", 128_256, [2048, 16, 8192], [32, 8, 64], true),
    shape("Llama 3.2 3B", "llama", 128_256, [3072, 28, 8192], [24, 8, 128], true),
    shape("Llama 3.1 8B", "llama", 128_256, [4096, 32, 14_336], [32, 8, 128], false),
    shape("Mistral 7B v0.3", "llama", 32_768, [4096, 32, 14_336], [32, 8, 128], false),
    shape("Ministral 8B (2410)", "llama", 131_072, [4096, 36, 12_288], [32, 8, 128], false),
    yarn(shape("Ministral 3 3B", "mistral3", 131_072, [3072, 26, 9216], [32, 8, 128], true)),
    yarn(shape("Ministral 3 8B", "mistral3", 131_072, [4096, 34, 14_336], [32, 8, 128], false)),
    shape("Qwen 2.5 0.5B", "qwen2", 151_936, [896, 24, 4864], [14, 2, 64], true),
    shape("Qwen 2.5 1.5B", "qwen2", 151_936, [1536, 28, 8960], [12, 2, 128], true),
    shape("Qwen 2.5 3B", "qwen2", 151_936, [2048, 36, 11_008], [16, 2, 128], true),
    shape("Qwen 2.5 7B", "qwen2", 152_064, [3584, 28, 18_944], [28, 4, 128], false),
    shape("Qwen 3 0.6B", "qwen3", 151_936, [1024, 28, 3072], [16, 8, 128], true),
    shape("Qwen 3 1.7B", "qwen3", 151_936, [2048, 28, 6144], [16, 8, 128], true),
    shape("Qwen 3 4B", "qwen3", 151_936, [2560, 36, 9728], [32, 8, 128], true),
    shape("Qwen 3 8B", "qwen3", 151_936, [4096, 36, 12_288], [32, 8, 128], false),
    with(shape("Qwen 3.5 0.8B", "qwen35", 248_320, [1024, 24, 3584], [8, 2, 256], true), &DELTA_16),
    with(shape("Qwen 3.5 2B", "qwen35", 248_320, [2048, 24, 6144], [8, 2, 256], true), &DELTA_16),
    with(shape("Qwen 3.5 4B", "qwen35", 248_320, [2560, 32, 9216], [16, 4, 256], true), &DELTA_32),
    with(shape("Qwen 3.5 9B", "qwen35", 248_320, [4096, 32, 12_288], [16, 4, 256], false), &DELTA_32),
    shape("SmolLM3 3B", "smollm3", 128_256, [2048, 36, 11_008], [16, 4, 128], true),
    with(shape("Phi-3 mini 4k", "phi3", 32_064, [3072, 32, 8192], [32, 32, 96], false), WINDOW_2047),
    shape("Phi-3.5 mini", "phi3", 32_064, [3072, 32, 8192], [32, 32, 96], false),
    shape("Phi-4 mini", "phi3", 200_064, [3072, 32, 8192], [24, 8, 128], true),
    with(shape("Gemma 2 2B", "gemma2", 256_000, [2304, 26, 9216], [8, 4, 256], true), WINDOW_4096),
    with(shape("Gemma 2 9B", "gemma2", 256_000, [3584, 42, 14_336], [16, 8, 256], true), WINDOW_4096),
    with(shape("Gemma 3 270M", "gemma3", 262_144, [640, 18, 2048], [4, 1, 256], true), WINDOW_512),
    with(shape("Gemma 3 1B", "gemma3", 262_144, [1152, 26, 6912], [4, 1, 256], true), WINDOW_512),
    with(shape("Gemma 3 4B", "gemma3", 262_208, [2560, 34, 10_240], [8, 4, 256], true), WINDOW_1024),
    Shape {
        keys: &GEMMA_4,
        // The feed-forward parts of layers that share keys and values are twice as wide.
        lists: |layers| {
            let shared = layers * 20 / 35;
            let widths = (0..layers).map(|layer| if layer + shared < layers { 6144 } else { 12_288 });
            vec![
                ("attention.shared_kv_layers", Value::U32(shared)),
                windowed(layers, 5),
                ("feed_forward_length", Value::Array(Array::U32(widths.collect()))),
            ]
        },
        ..shape("Gemma 4 E2B", "gemma4", 262_144, [1536, 35, 6144], [8, 1, 512], true)
    },
    Shape {
        keys: &GEMMA_4,
        lists: |layers| {
            vec![("attention.shared_kv_layers", Value::U32(layers * 18 / 42)), windowed(layers, 6)]
        },
        ..shape("Gemma 4 E4B", "gemma4", 262_144, [2560, 42, 10_240], [8, 2, 512], true)
    },
    shape("all-MiniLM-L6-v2", "bert", 30_522, [384, 6, 1536], [12, 12, 32], true),
    shape("mxbai-embed-large", "bert", 30_522, [1024, 24, 4096], [16, 16, 64], true),
];

impl Shape {
    /// Its metadata, but for the tokenizer.
    pub fn metadata(&self, context: u32, layers: u32, vocabulary: u32) -> Metadata {
        let [width, _, inner] = self.sizes;
        let [heads, kv_heads, dim] = self.heads;
        let lists = (self.lists)(layers);
        let mut metadata = Metadata::new();
        let mut set = |key: String, value| metadata.insert(key, value).expect("a new key");
        set("general.architecture".into(), Value::String(self.family.into()));
        let sizes = [
            ("vocab_size", vocabulary),
            ("embedding_length", width),
            ("block_count", layers),
            ("feed_forward_length", inner),
            ("attention.head_count", heads),
            ("attention.head_count_kv", kv_heads),
            ("attention.key_length", dim),
            ("attention.value_length", dim),
            ("context_length", context),
        ];
        let numbers = sizes.iter().chain(self.keys).map(|(key, value)| (*key, Value::U32(*value)));
        let listed = |key: &str| lists.iter().any(|(other, _)| *other == key);
        for (key, value) in numbers.filter(|(key, _)| !listed(key)).chain(lists.clone()) {
            set(format!("{}.{key}", self.family), value);
        }
        for key in ["attention.layer_norm_rms_epsilon", "attention.layer_norm_epsilon"] {
            set(format!("{}.{key}", self.family), Value::F32(1e-6));
        }
        metadata
    }

    /// The plan, and the tensors that it asks for when it is given none; matrices in `kind`.
    pub fn plan(&self, metadata: &Metadata, kind: TensorType) -> (Plan, Vec<TensorInfo>) {
        let mut tensors: Vec<TensorInfo> = vec![];
        let add = |tensors: &mut Vec<TensorInfo>, name: &str, [rows, cols]: [u64; 2]| {
            let dims = if rows == 1 { vec![cols] } else { vec![cols, rows] };
            let fits = rows > 1 && cols.is_multiple_of(kind.block_len());
            let kind = if fits { kind } else { TensorType::F32 };
            let bytes = kind.bytes_of(rows * cols).expect("whole blocks");
            let tensor = TensorInfo { name: name.into(), dims, kind, offset: 0, bytes };
            tensors.retain(|known| known.name != name);
            tensors.push(tensor);
        };
        if !self.tied {
            add(&mut tensors, "output.weight", [1, 1]);
        }
        // The plan asks for these only where they are there.
        let optional = if self.family == "gemma4" { self.sizes[1] } else { 0 };
        (0..optional).for_each(|layer| add(&mut tensors, &format!("blk.{layer}.attn_v.weight"), [1, 1]));
        loop {
            let error = match asked(metadata, &tensors) {
                Ok(plan) => return (plan, tensors),
                Err(error) => error,
            };
            let name = error.tensor.clone().unwrap_or_else(|| panic!("{}: {error}", self.name));
            // "the tensor is 1 × 1, not ROWS × COLS"
            let wanted = error.message.split(", not ").nth(1).map(|shape| {
                let mut sizes = shape.split(" × ").map(|size| size.parse::<u64>().expect("a size"));
                [sizes.next().expect("rows"), sizes.next().expect("columns")]
            });
            add(&mut tensors, &name, wanted.unwrap_or([1, 1]));
        }
    }

    /// A file of the shape whose matrices are in Q4_0, with some codes and scales.
    pub fn file(&self, context: u32, layers: u32) -> Vec<u8> {
        let mut writer = GgufWriter::new();
        // As many tokens as the vocabulary has that stands in for its own.
        let metadata = self.metadata(context, layers, 264);
        let (_, tensors) = self.plan(&metadata, TensorType::Q4_0);
        for (key, value) in metadata.iter() {
            writer.key(key, value.clone());
        }
        for (key, value) in vocabulary(self.family) {
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
}

fn asked(metadata: &Metadata, tensors: &[TensorInfo]) -> Result<Plan> {
    model::plan(metadata, tensors, None)
}

/// The formats that a Q4_K_M file of llama.cpp has: rows that blocks of 256 do not fill have others.
pub fn q4_k_m(tensors: &mut [TensorInfo], layers: u32) {
    let layers = u64::from(layers);
    for tensor in tensors.iter_mut().filter(|tensor| tensor.rows() > 1) {
        let layer: u64 = tensor.name.split('.').nth(1).and_then(|layer| layer.parse().ok()).unwrap_or(0);
        let more = layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2;
        let is = |part: &str| tensor.name.contains(part);
        let six = is("output.weight") && !is("attn_output")
            || is("token_embd") && !is("norm")
            || more && (is("attn_v") || is("ffn_down"));
        let kinds = match six {
            true => [TensorType::Q6_K, TensorType::Q8_0],
            false => [TensorType::Q4_K, TensorType::Q5_0],
        };
        let plain = is("ssm_conv1d") || is("position_embd") || is("token_types");
        let fits = |kind: &&TensorType| tensor.cols().is_multiple_of(kind.block_len());
        tensor.kind = match (plain, is("per_layer_model_proj")) {
            (true, _) => TensorType::F32,
            (_, true) => TensorType::BF16,
            _ => *kinds.iter().find(fits).unwrap_or(&TensorType::F16),
        };
        tensor.bytes = tensor.kind.bytes_of(tensor.elements()).expect("whole blocks");
    }
}

/// Keys of a byte vocabulary, so that a file can be loaded.
pub fn vocabulary(family: &str) -> Vec<(String, Value)> {
    let tiny = super::draft::Draft::tiny(if family == "bert" { "bert-0" } else { "llama-0" });
    tiny.keys.into_iter().filter(|(key, _)| key.starts_with("tokenizer.")).collect()
}
