//! A model file taken apart, to be changed and written again.

use super::gguf_writer::GgufWriter;
use super::models;
use super::numbers::numbers;
use wisplm::error::Result;
use wisplm::gguf::{FileReader, Header, Sink, TensorInfo, TensorType, Value};

/// Metadata and tensors in the order of the file.
#[derive(Clone, Default)]
pub struct Draft {
    pub keys: Vec<(String, Value)>,
    pub tensors: Vec<Tensor>,
}

/// A tensor with its bytes.
#[derive(Clone)]
pub struct Tensor {
    pub name: String,
    pub dims: Vec<u64>,
    pub kind: TensorType,
    pub bytes: Vec<u8>,
}

/// The sizes of a random model.
#[derive(Clone, Copy)]
pub struct Sizes {
    pub hidden: usize,
    pub ffn: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub dim: usize,
    pub layers: usize,
}

impl Tensor {
    /// What a file's header says of it.
    pub fn info(&self) -> TensorInfo {
        let Tensor { name, dims, kind, bytes } = self.clone();
        TensorInfo { name, dims, kind, offset: 0, bytes: bytes.len() as u64 }
    }

    /// The values of an F32 tensor.
    pub fn values(&self) -> Vec<f32> {
        assert_eq!(self.kind, TensorType::F32);
        self.bytes.as_chunks().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
    }
}

impl Draft {
    pub fn of(file: &[u8]) -> Self {
        let mut draft = Draft::default();
        let mut reader = FileReader::new();
        reader.push(file, &mut draft).and_then(|()| reader.finish()).expect("a sound file");
        draft
    }

    /// A model under `tests/fixtures/tiny`.
    pub fn tiny(name: &str) -> Self {
        Self::of(&std::fs::read(models::fixture(&format!("tiny/{name}.gguf"))).expect("the fixture is there"))
    }

    /// A decoder with the vocabulary of a tiny model, of other sizes and with random weights of unit gain.
    pub fn random(name: &str, sizes: Sizes) -> Self {
        let mut draft = Self::tiny(name);
        let family = draft.family();
        let Sizes { hidden, ffn, heads, kv_heads, dim, layers } = sizes;
        for (key, size) in [
            ("embedding_length", hidden),
            ("feed_forward_length", ffn),
            ("attention.head_count", heads),
            ("attention.head_count_kv", kv_heads),
            ("attention.key_length", dim),
            ("attention.value_length", dim),
            ("rope.dimension_count", dim),
            ("block_count", layers),
        ] {
            draft.set(&format!("{family}.{key}"), Value::U32(size as u32));
        }
        let norms: &[(&str, usize)] = match family.as_str() {
            "llama" => &[("attn_norm", hidden), ("ffn_norm", hidden)],
            _ => &[
                ("attn_norm", hidden),
                ("post_attention_norm", hidden),
                ("ffn_norm", hidden),
                ("post_ffw_norm", hidden),
                ("attn_q_norm", dim),
                ("attn_k_norm", dim),
            ],
        };
        let vocabulary = draft.tensor("token_embd.weight").dims[1] as usize;
        draft.tensors.clear();
        draft.push("token_embd.weight", vocabulary, hidden);
        for layer in 0..layers {
            let mut push = |part: &str, rows, cols| {
                draft.push(&format!("blk.{layer}.{part}.weight"), rows, cols);
            };
            norms.iter().for_each(|(norm, width)| push(norm, 1, *width));
            push("attn_q", heads * dim, hidden);
            push("attn_k", kv_heads * dim, hidden);
            push("attn_v", kv_heads * dim, hidden);
            push("attn_output", hidden, heads * dim);
            push("ffn_gate", ffn, hidden);
            push("ffn_up", ffn, hidden);
            push("ffn_down", hidden, ffn);
        }
        draft.push("output_norm.weight", 1, hidden);
        draft
    }

    /// A tensor of random F32 values: a vector of values around 1, or a matrix of unit gain.
    pub fn push(&mut self, name: &str, rows: usize, cols: usize) {
        let seed = self.tensors.len() as u32;
        let gain = (3.0 / cols as f32).sqrt();
        let random = numbers(rows * cols, seed);
        let (dims, values): (_, Vec<f32>) = if rows == 1 {
            (vec![cols as u64], random.iter().map(|x| 1.0 + 0.2 * x).collect())
        } else {
            (vec![cols as u64, rows as u64], random.iter().map(|x| x * gain).collect())
        };
        let bytes = bytemuck::cast_slice(&values).to_vec();
        self.tensors.push(Tensor { name: name.into(), dims, kind: TensorType::F32, bytes });
    }

    /// What `general.architecture` says.
    pub fn family(&self) -> String {
        match self.keys.iter().find(|(key, _)| key == "general.architecture") {
            Some((_, Value::String(family))) => family.clone(),
            _ => panic!("the model has no architecture"),
        }
    }

    /// Sets a key, the first of its name if there is one.
    pub fn set(&mut self, key: &str, value: Value) -> &mut Self {
        match self.keys.iter_mut().find(|(name, _)| name == key) {
            Some((_, old)) => *old = value,
            None => self.keys.push((key.into(), value)),
        }
        self
    }

    /// Removes a key, which must be there.
    pub fn unset(&mut self, key: &str) -> &mut Self {
        let keys = self.keys.len();
        self.keys.retain(|(name, _)| name != key);
        assert!(self.keys.len() < keys, "{key} is not there");
        self
    }

    /// A tensor that must be there.
    pub fn tensor(&mut self, name: &str) -> &mut Tensor {
        self.tensors.iter_mut().find(|tensor| tensor.name == name).expect("the tensor is there")
    }

    /// Removes a tensor, if it is there.
    pub fn without(mut self, name: &str) -> Self {
        self.tensors.retain(|tensor| tensor.name != name);
        self
    }

    pub fn file(&self) -> Vec<u8> {
        write(&self.keys, &self.tensors)
    }

    /// The same model in several files, the metadata in the first.
    pub fn parts(&self, count: usize) -> Vec<Vec<u8>> {
        let share = self.tensors.len().div_ceil(count);
        let part = |(number, tensors): (usize, &[Tensor])| {
            let mut keys = if number == 0 { self.keys.clone() } else { vec![] };
            keys.push(("split.no".into(), Value::U16(number as u16)));
            keys.push(("split.count".into(), Value::U16(count as u16)));
            keys.push(("split.tensors.count".into(), Value::I32(self.tensors.len() as i32)));
            write(&keys, tensors)
        };
        self.tensors.chunks(share).enumerate().map(part).collect()
    }
}

fn write(keys: &[(String, Value)], tensors: &[Tensor]) -> Vec<u8> {
    let mut writer = GgufWriter::new();
    keys.iter().for_each(|(key, value)| {
        writer.key(key, value.clone());
    });
    tensors.iter().for_each(|tensor| {
        writer.tensor(&tensor.name, &tensor.dims, tensor.kind, &tensor.bytes);
    });
    writer.file()
}

impl Sink for Draft {
    fn header(&mut self, header: &Header) -> Result<()> {
        self.keys = header.metadata.iter().map(|(key, value)| (key.into(), value.clone())).collect();
        let empty = |TensorInfo { name, dims, kind, .. }: &TensorInfo| Tensor {
            name: name.clone(),
            dims: dims.clone(),
            kind: *kind,
            bytes: vec![],
        };
        self.tensors = header.tensors.iter().map(empty).collect();
        Ok(())
    }

    fn tensor_bytes(&mut self, _: &Header, index: usize, _: u64, bytes: &[u8]) -> Result<()> {
        self.tensors[index].bytes.extend(bytes);
        Ok(())
    }
}
