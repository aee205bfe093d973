//! Gemma 2 and 3 (text).
//!
//! Embeddings scaled by √E; norms before and after each part ("sandwich"); GeGLU; layers with a sliding window between
//! those without. Gemma 2 caps its scores; Gemma 3 normalizes queries and keys per head instead, and rotates those of
//! windowed layers by a base of their own.

use super::{Hyper, decoder, rope};
use crate::error::Result;
use crate::gguf::TensorInfo;
use crate::plan::{Activation, Builder, Cache, Op, Pairs, Plan};

/// In what the generations differ.
pub struct Traits {
    /// Every so many layers, the last one has no window, where the file does not say which.
    period: usize,
    /// The window, where the file does not state it.
    window: Option<usize>,
    /// Queries and keys are normalized per head before they are rotated.
    head_norms: bool,
    /// The rotary base of windowed layers, if it is not the others'. Files may state it.
    local_base: Option<f32>,
    /// The caps of scores and logits, where the file does not state them.
    softcaps: [Option<f32>; 2],
    /// Layers of the model that scales scores by the width per head, not by the head's: told by its depth, as
    /// llama.cpp does.
    deepest: usize,
}

pub static GEMMA2: Traits = Traits {
    period: 2,
    window: Some(4096),
    head_norms: false,
    local_base: None,
    softcaps: [Some(50.0), Some(30.0)],
    deepest: 46,
};
pub static GEMMA3: Traits = Traits {
    period: 6,
    window: None,
    head_norms: true,
    local_base: Some(10_000.0),
    softcaps: [None; 2],
    deepest: 62,
};

pub fn plan(hyper: &Hyper, tensors: &[TensorInfo], traits: &Traits) -> Result<Plan> {
    let mut b = Builder::new(tensors);
    let eps = hyper.epsilon("attention.layer_norm_rms_epsilon")?;
    let global = rope::queries_and_keys(hyper, &mut b, Pairs::Halves)?;
    let local = match hyper.optional_number("rope.freq_base_swa")?.or(traits.local_base) {
        Some(base) => [b.rope(hyper.rope(Pairs::Halves, base, 1.0)?); 2],
        None => global,
    };
    let [score_cap, logit_cap] = ["attn_logit_softcapping", "final_logit_softcapping"];
    let score_cap = hyper.optional_number(score_cap)?.or(traits.softcaps[0]);
    let logit_cap = hyper.optional_number(logit_cap)?.or(traits.softcaps[1]);
    let window = match hyper.stated("attention.sliding_window") {
        true => hyper.optional_size("attention.sliding_window")?,
        false => traits.window,
    };
    let windowed = hyper.windowed_layers(traits.period)?;

    let dim = hyper.head_dim;
    let [x, h, y] = [hyper.embedding; 3].map(|width| b.slot(width));

    let table = b.matrix("token_embd.weight", hyper.vocabulary, hyper.embedding)?;
    b.push(Op::Embed { table, scale: (hyper.embedding as f32).sqrt(), out: x });
    for (layer, windowed) in windowed.into_iter().enumerate() {
        let name = |part: &str| format!("blk.{layer}.{part}");
        let window = window.filter(|_| windowed);
        let ropes = if window.is_some() { local } else { global };
        let [heads, kv_heads] = [&hyper.heads, &hyper.kv_heads].map(|sizes| sizes.of(layer));
        let scale_dim = if hyper.layers == traits.deepest { hyper.embedding / heads } else { dim };
        let scale = 1.0 / (scale_dim as f32).sqrt();
        let [q, attended] = ["queries", "attended"].map(|role| b.slot_of(role, heads * dim));
        let [k, v] = ["keys", "values"].map(|role| b.slot_of(role, kv_heads * dim));
        let [gate, up] = ["gate", "up"].map(|role| b.slot_of(role, hyper.feed_forward.of(layer)));
        let cache = b.cache(Cache { heads: kv_heads, dim, window });

        b.rms_norm(&name("attn_norm"), hyper.embedding, eps, x, h)?;
        decoder::queries_keys_values(&mut b, layer, h, [q, k, v])?;
        if traits.head_norms {
            b.rms_norm(&name("attn_q_norm"), dim, eps, q, q)?;
            b.rms_norm(&name("attn_k_norm"), dim, eps, k, k)?;
        }
        decoder::rotate(&mut b, ropes, dim, [q, k]);
        b.push(Op::Store { cache, k, v });
        b.push(Op::Attend { cache, heads, scale, softcap: score_cap, q, out: attended });
        b.linear(&name("attn_output"), attended, y)?;
        b.rms_norm(&name("post_attention_norm"), hyper.embedding, eps, y, y)?;
        b.push(Op::Add { x, y });

        b.rms_norm(&name("ffn_norm"), hyper.embedding, eps, x, h)?;
        b.linear(&name("ffn_gate"), h, gate)?;
        b.linear(&name("ffn_up"), h, up)?;
        b.push(Op::Gate { f: Activation::GeluTanh, x: gate, y: up });
        b.linear(&name("ffn_down"), gate, y)?;
        b.rms_norm(&name("post_ffw_norm"), hyper.embedding, eps, y, y)?;
        b.push(Op::Add { x, y });
    }
    b.rms_norm("output_norm", hyper.embedding, eps, x, h)?;
    let head = decoder::head(&mut b, hyper, h, logit_cap)?;
    Ok(b.finish(head, hyper.context_length, true))
}
