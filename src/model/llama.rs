//! Llama 2 and 3, SmolLM2, TinyLlama, Mistral 7B.
//!
//! x += Wo·attention(RMS(x)); x += Wdown·(silu(Wgate·h) ⊙ Wup·h) with h = RMS(x); grouped-query attention with
//! interleaved rotary pairs (GGUF permutes Q and K so), whose frequencies `rope_freqs.weight` divides (Llama 3.1).

use super::Hyper;
use crate::error::{Error, Result};
use crate::gguf::TensorInfo;
use crate::plan::{Activation, Builder, Cache, Head, Op, Pairs, Plan, SlotId};

pub fn plan(hyper: &Hyper, tensors: &[TensorInfo]) -> Result<Plan> {
    let experts = hyper.key("expert_count");
    if hyper.metadata().u32(&experts).is_some_and(|count| count > 0) {
        return Err(Error::unsupported_model("mixtures of experts are not supported").key(experts));
    }
    let mut b = Builder::new(tensors);
    let eps = hyper.epsilon("attention.layer_norm_rms_epsilon")?;
    let factors = b.optional_vector("rope_freqs.weight", hyper.rope_dims()? / 2)?;
    let rope = hyper.rope(Pairs::Interleaved, hyper.rope_base()?, hyper.rope_linear_factor()?, factors)?;
    let rope = b.rope(rope);

    let dim = hyper.head_dim;
    let [x, h, y] = [hyper.embedding; 3].map(|width| b.slot(width));
    let [q, attended] = [hyper.heads * dim; 2].map(|width| b.slot(width));
    let [k, v] = [hyper.kv_heads * dim; 2].map(|width| b.slot(width));
    let [gate, up] = [hyper.feed_forward; 2].map(|width| b.slot(width));

    let table = b.matrix("token_embd.weight", hyper.vocabulary, hyper.embedding)?;
    b.push(Op::Embed { table, scale: 1.0, out: x });
    for layer in 0..hyper.layers {
        let name = |part: &str| format!("blk.{layer}.{part}");
        let cache = b.cache(Cache { heads: hyper.kv_heads, dim, window: None });

        b.rms_norm(&name("attn_norm"), hyper.embedding, eps, x, h)?;
        b.linear(&name("attn_q"), h, q)?;
        b.linear(&name("attn_k"), h, k)?;
        b.linear(&name("attn_v"), h, v)?;
        b.push(Op::Rotate { rope, dim, x: q });
        b.push(Op::Rotate { rope, dim, x: k });
        b.push(Op::Store { cache, k, v });
        let scale = 1.0 / (dim as f32).sqrt();
        b.push(Op::Attend { cache, heads: hyper.heads, scale, softcap: None, q, out: attended });
        b.linear(&name("attn_output"), attended, y)?;
        b.push(Op::Add { x, y });

        b.rms_norm(&name("ffn_norm"), hyper.embedding, eps, x, h)?;
        b.linear(&name("ffn_gate"), h, gate)?;
        b.linear(&name("ffn_up"), h, up)?;
        b.push(Op::Gate { f: Activation::Silu, x: gate, y: up });
        b.linear(&name("ffn_down"), gate, y)?;
        b.push(Op::Add { x, y });
    }
    b.rms_norm("output_norm", hyper.embedding, eps, x, h)?;
    let head = head(&mut b, hyper, h, None)?;
    Ok(b.finish(head, hyper.context_length, true))
}

/// The output head: `output.weight`, or the embedding where the file has none.
pub(super) fn head(b: &mut Builder, hyper: &Hyper, x: SlotId, softcap: Option<f32>) -> Result<Head> {
    let name = if b.has("output.weight") { "output.weight" } else { "token_embd.weight" };
    let weight = b.matrix(name, hyper.vocabulary, hyper.embedding)?;
    Ok(Head::Logits { weight, x, softcap })
}
