//! Models of random weights in the shapes of real ones, as plans.

use wisplm::error::Result;
use wisplm::gguf::{TensorInfo, TensorType};
use wisplm::plan::{Activation, Builder, Cache, Head, Op, Pairs, Plan, Rope};

/// A llama-like model's sizes.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub name: &'static str,
    pub layers: usize,
    pub embedding: usize,
    pub heads: usize,
    pub kv_heads: usize,
    pub dim: usize,
    pub feed_forward: usize,
    pub vocabulary: usize,
}

pub static SHAPES: &[Shape] = &[
    Shape {
        name: "smollm2-135m",
        layers: 30,
        embedding: 576,
        heads: 9,
        kv_heads: 3,
        dim: 64,
        feed_forward: 1536,
        vocabulary: 49_152,
    },
    Shape {
        name: "qwen2.5-0.5b",
        layers: 24,
        embedding: 896,
        heads: 14,
        kv_heads: 2,
        dim: 64,
        feed_forward: 4864,
        vocabulary: 151_936,
    },
    Shape {
        name: "llama-3.2-1b",
        layers: 16,
        embedding: 2048,
        heads: 32,
        kv_heads: 8,
        dim: 64,
        feed_forward: 8192,
        vocabulary: 128_256,
    },
    Shape {
        name: "llama-3.2-3b",
        layers: 28,
        embedding: 3072,
        heads: 24,
        kv_heads: 8,
        dim: 128,
        feed_forward: 8192,
        vocabulary: 128_256,
    },
];

impl Shape {
    /// The tensors, matrices in `kind`; rows that its blocks do not fill are in Q8_0, as llama.cpp's quantizer has them.
    pub fn tensors(&self, kind: TensorType) -> Vec<TensorInfo> {
        let Shape { embedding, feed_forward, vocabulary, .. } = *self;
        let (queries, keys) = (self.heads * self.dim, self.kv_heads * self.dim);
        let mut all = vec![("token_embd.weight".to_owned(), embedding, vocabulary)];
        for layer in 0..self.layers {
            let parts = [
                ("attn_norm", embedding, 1),
                ("attn_q", embedding, queries),
                ("attn_k", embedding, keys),
                ("attn_v", embedding, keys),
                ("attn_output", queries, embedding),
                ("ffn_norm", embedding, 1),
                ("ffn_gate", embedding, feed_forward),
                ("ffn_up", embedding, feed_forward),
                ("ffn_down", feed_forward, embedding),
            ];
            all.extend(parts.map(|(part, cols, rows)| (format!("blk.{layer}.{part}.weight"), cols, rows)));
        }
        all.push(("output_norm.weight".to_owned(), embedding, 1));
        let tensor = |(name, cols, rows): (String, usize, usize)| {
            let kind = match kind {
                _ if rows == 1 => TensorType::F32,
                kind if cols.is_multiple_of(kind.block_len() as usize) => kind,
                _ => TensorType::Q8_0,
            };
            let dims = if rows == 1 { vec![cols as u64] } else { vec![cols as u64, rows as u64] };
            let bytes = kind.bytes_of((cols * rows) as u64).unwrap_or(0);
            TensorInfo { name, dims, kind, offset: 0, bytes }
        };
        all.into_iter().map(tensor).collect()
    }

    /// Products of a token, two operations each.
    pub fn operations(&self) -> f64 {
        let (queries, keys) = (self.heads * self.dim, self.kv_heads * self.dim);
        let layer = self.embedding * (2 * queries + 2 * keys + 3 * self.feed_forward);
        2.0 * (self.layers * layer) as f64
    }

    pub fn plan(&self, tensors: &[TensorInfo], context: usize) -> Result<Plan> {
        let mut b = Builder::new(tensors);
        let frequency = |pair: usize| 500_000_f64.powf(-2.0 * pair as f64 / self.dim as f64) as f32;
        let rope = b.rope(Rope {
            pairs: Pairs::Interleaved,
            frequencies: (0..self.dim / 2).map(frequency).collect(),
            factors: None,
            magnitude: 1.0,
            temperature: None,
        });
        let [x, h] = [self.embedding; 2].map(|width| b.slot(width));
        let [q, attended] = [self.heads * self.dim; 2].map(|width| b.slot(width));
        let [k, v] = [self.kv_heads * self.dim; 2].map(|width| b.slot(width));
        let [gate, up] = [self.feed_forward; 2].map(|width| b.slot(width));
        let y = b.slot(self.embedding);
        let table = b.matrix("token_embd.weight", self.vocabulary, self.embedding)?;
        b.push(Op::Embed { table, scale: 1.0, out: x });
        for layer in 0..self.layers {
            let name = |part: &str| format!("blk.{layer}.{part}");
            let cache = b.cache(Cache { heads: self.kv_heads, dim: self.dim, window: None });
            b.rms_norm(&name("attn_norm"), self.embedding, 1e-5, x, h)?;
            for (part, out) in [("attn_q", q), ("attn_k", k), ("attn_v", v)] {
                b.linear(&name(part), h, out)?;
            }
            b.push(Op::Rotate { rope, dim: self.dim, x: q });
            b.push(Op::Rotate { rope, dim: self.dim, x: k });
            b.push(Op::Store { cache, k, v });
            let scale = 1.0 / (self.dim as f32).sqrt();
            b.push(Op::Attend { cache, heads: self.heads, scale, softcap: None, q, out: attended });
            b.linear(&name("attn_output"), attended, y)?;
            b.push(Op::Add { x, y });
            b.rms_norm(&name("ffn_norm"), self.embedding, 1e-5, x, h)?;
            b.linear(&name("ffn_gate"), h, gate)?;
            b.linear(&name("ffn_up"), h, up)?;
            b.push(Op::Gate { f: Activation::Silu, x: gate, y: up });
            b.linear(&name("ffn_down"), gate, y)?;
            b.push(Op::Add { x, y });
        }
        b.rms_norm("output_norm", self.embedding, 1e-5, x, h)?;
        Ok(b.finish(Head::Logits { weight: table, x: h, softcap: None }, context, true))
    }
}
