//! The same models as GGUF files, for a peer to read: see the GGUF specification, version 3.

use crate::shapes::Shape;
use crate::weights;
use std::fs::File;
use std::io::{BufWriter, Result, Seek, Write};
use std::path::Path;
use wisplm::gguf::{TensorInfo, TensorType};

const ALIGNMENT: u64 = 32;

enum Value<'a> {
    Count(usize),
    Number(f32),
    Text(&'a str),
    Texts(Vec<String>),
    Numbers(Vec<f32>),
    Kinds(Vec<i32>),
}

impl Value<'_> {
    /// The number of its type, and its bytes.
    fn bytes(&self) -> (u32, Vec<u8>) {
        let array = |kind: u32, count: usize, items: Vec<u8>| {
            (9, [&kind.to_le_bytes()[..], &(count as u64).to_le_bytes(), &items].concat())
        };
        match self {
            Value::Count(count) => (4, (*count as u32).to_le_bytes().into()),
            Value::Number(number) => (6, number.to_le_bytes().into()),
            Value::Text(text) => (8, string(text)),
            Value::Texts(texts) => {
                array(8, texts.len(), texts.iter().flat_map(|text| string(text)).collect())
            }
            Value::Numbers(numbers) => array(6, numbers.len(), bytemuck::cast_slice(numbers).into()),
            Value::Kinds(kinds) => array(5, kinds.len(), bytemuck::cast_slice(kinds).into()),
        }
    }
}

/// Any vocabulary of that size: three control tokens, the bytes, and what nobody writes.
fn vocabulary(size: usize) -> [(&'static str, Value<'static>); 4] {
    let controls = ["<unk>", "<s>", "</s>"].map(String::from).into_iter();
    let bytes = (0..256).map(|byte| format!("<0x{byte:02X}>"));
    let texts = controls.chain(bytes).chain((0..).map(|k| format!("word{k}"))).take(size).collect();
    let kinds = [2, 3, 3].into_iter().chain([6; 256]).chain(std::iter::repeat(1)).take(size).collect();
    [
        ("tokenizer.ggml.model", Value::Text("llama")),
        ("tokenizer.ggml.tokens", Value::Texts(texts)),
        ("tokenizer.ggml.scores", Value::Numbers(vec![0.0; size])),
        ("tokenizer.ggml.token_type", Value::Kinds(kinds)),
    ]
}

/// Writes the model of a shape, with its matrices in `kind`, to `path`.
pub fn write(shape: &Shape, kind: TensorType, context: usize, path: &Path) -> Result<()> {
    let Shape { layers, embedding, heads, kv_heads, dim, feed_forward, .. } = *shape;
    let metadata = [
        ("general.architecture", Value::Text("llama")),
        ("general.name", Value::Text(shape.name)),
        ("llama.context_length", Value::Count(context)),
        ("llama.embedding_length", Value::Count(embedding)),
        ("llama.block_count", Value::Count(layers)),
        ("llama.feed_forward_length", Value::Count(feed_forward)),
        ("llama.attention.head_count", Value::Count(heads)),
        ("llama.attention.head_count_kv", Value::Count(kv_heads)),
        ("llama.attention.key_length", Value::Count(dim)),
        ("llama.attention.value_length", Value::Count(dim)),
        ("llama.attention.layer_norm_rms_epsilon", Value::Number(1e-5)),
        ("llama.rope.dimension_count", Value::Count(dim)),
        ("llama.rope.freq_base", Value::Number(500_000.0)),
    ];
    let metadata: Vec<_> = metadata.into_iter().chain(vocabulary(shape.vocabulary)).collect();
    let tensors = shape.tensors(kind);
    let mut file = BufWriter::new(File::create(path)?);
    file.write_all(b"GGUF")?;
    file.write_all(&3_u32.to_le_bytes())?;
    file.write_all(&(tensors.len() as u64).to_le_bytes())?;
    file.write_all(&(metadata.len() as u64).to_le_bytes())?;
    for (key, value) in metadata {
        let (kind, bytes) = value.bytes();
        file.write_all(&string(key))?;
        file.write_all(&kind.to_le_bytes())?;
        file.write_all(&bytes)?;
    }
    let mut offset = 0_u64;
    for TensorInfo { name, dims, kind, bytes, .. } in &tensors {
        file.write_all(&string(name))?;
        file.write_all(&(dims.len() as u32).to_le_bytes())?;
        dims.iter().try_for_each(|dim| file.write_all(&dim.to_le_bytes()))?;
        file.write_all(&(*kind as u32).to_le_bytes())?;
        file.write_all(&offset.to_le_bytes())?;
        offset += bytes.next_multiple_of(ALIGNMENT);
    }
    for tensor in &tensors {
        align(&mut file)?;
        weights::fill(tensor, |_, bytes| file.write_all(bytes))?;
    }
    align(&mut file)?;
    file.flush()
}

fn string(text: &str) -> Vec<u8> {
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes()].concat()
}

fn align(file: &mut (impl Write + Seek)) -> Result<()> {
    let at = file.stream_position()?;
    file.write_all(&vec![0; (at.next_multiple_of(ALIGNMENT) - at) as usize])
}
