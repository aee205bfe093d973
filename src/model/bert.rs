//! BERT encoders: all-MiniLM-L6-v2, mxbai-embed-large.
//!
//! x = LN(token + position + type 0); x = LN(x + Wo·attention(x)); x = LN(x + Wdown·gelu(Wup·x)). Every token
//! sees every other; GELU in its exact form, as the models were trained.

use super::Hyper;
use crate::error::Result;
use crate::gguf::TensorInfo;
use crate::plan::{Activation, Builder, Cache, Head, Op, Plan, Row};

pub fn plan(hyper: &Hyper, tensors: &[TensorInfo]) -> Result<Plan> {
    let mut b = Builder::new(tensors);
    let eps = hyper.epsilon("attention.layer_norm_epsilon")?;
    let types = hyper.metadata().u32("tokenizer.ggml.token_type_count").unwrap_or(2).max(1) as usize;
    let positions = hyper.size("context_length")?;

    let dim = hyper.head_dim;
    let [x, y] = [hyper.embedding; 2].map(|width| b.slot(width));
    let [q, k, v, attended] = [hyper.heads * dim; 4].map(|width| b.slot(width));
    let inner = b.slot(hyper.feed_forward);

    let table = b.matrix("token_embd.weight", hyper.vocabulary, hyper.embedding)?;
    b.push(Op::Embed { table, scale: 1.0, out: x });
    let table = b.matrix("token_types.weight", types, hyper.embedding)?;
    b.push(Op::AddRow { table, row: Row::Fixed(0), x });
    let table = b.matrix("position_embd.weight", positions, hyper.embedding)?;
    b.push(Op::AddRow { table, row: Row::Position, x });
    b.layer_norm("token_embd_norm", eps, x)?;
    for layer in 0..hyper.layers {
        let name = |part: &str| format!("blk.{layer}.{part}");
        let cache = b.cache(Cache { heads: hyper.heads, dim, window: None });

        b.linear(&name("attn_q"), x, q)?;
        b.linear(&name("attn_k"), x, k)?;
        b.linear(&name("attn_v"), x, v)?;
        b.push(Op::Store { cache, k, v });
        let scale = 1.0 / (dim as f32).sqrt();
        b.push(Op::Attend { cache, heads: hyper.heads, scale, softcap: None, q, out: attended });
        b.linear(&name("attn_output"), attended, y)?;
        b.push(Op::Add { x, y });
        b.layer_norm(&name("attn_output_norm"), eps, x)?;

        b.linear(&name("ffn_up"), x, inner)?;
        b.push(Op::Activate { f: Activation::GeluErf, x: inner });
        b.linear(&name("ffn_down"), inner, y)?;
        b.push(Op::Add { x, y });
        b.layer_norm(&name("layer_output_norm"), eps, x)?;
    }
    Ok(b.finish(Head::Hidden { x }, hyper.context_length, false))
}
