//! Decoders with a norm before each part: Llama 2 and 3, SmolLM2, TinyLlama, Mistral 7B and Ministral 8B (`llama`),
//! Ministral 3 (`mistral3`), Qwen 2.5 (`qwen2`), Qwen 3 (`qwen3`), SmolLM3 (`smollm3`), Phi-3, 3.5 and 4 mini (`phi3`).
//!
//! x += Wo·attention(RMS(x)); x += Wdown·(silu(Wgate·h) ⊙ Wup·h) with h = RMS(x); grouped-query attention. In what the
//! families differ is a [`Traits`]; what a file may have or not, such as fused products and biases, is read from it.

use super::{Hyper, rope};
use crate::error::{Error, Result};
use crate::gguf::TensorInfo;
use crate::plan::{Activation, Builder, Cache, Head, Op, Pairs, Plan, RopeId, SlotId};

/// In what one of these families differs from the others.
pub struct Traits {
    /// GGUF permutes the rows of Q and K for those that rotate neighbours.
    pairs: Pairs,
    /// Queries, keys and values have biases.
    biases: bool,
    /// Queries and keys are normalized per head before they are rotated.
    head_norms: bool,
    /// `attention.sliding_window` holds for all layers. Files of others may state it, of a model that does not use it (Qwen
    /// 2.5), or of one whose layers differ in a way that no file says (Ministral 8B): llama.cpp has no window there.
    windowed: bool,
    /// Every so many layers, one does without positions; 0: none does. SmolLM3 states its 4 nowhere.
    unrotated_every: usize,
}

const LLAMA_LIKE: Traits = Traits {
    pairs: Pairs::Interleaved,
    biases: false,
    head_norms: false,
    windowed: false,
    unrotated_every: 0,
};

pub static LLAMA: Traits = LLAMA_LIKE;
pub static SMOLLM3: Traits = Traits { unrotated_every: 4, ..LLAMA_LIKE };
pub static QWEN2: Traits = Traits { pairs: Pairs::Halves, biases: true, ..LLAMA_LIKE };
pub static QWEN3: Traits = Traits { pairs: Pairs::Halves, head_norms: true, ..LLAMA_LIKE };
pub static PHI3: Traits = Traits { pairs: Pairs::Halves, windowed: true, ..LLAMA_LIKE };

pub fn plan(hyper: &Hyper, tensors: &[TensorInfo], traits: &Traits) -> Result<Plan> {
    hyper.no_experts()?;
    let mut b = Builder::new(tensors);
    let eps = hyper.epsilon("attention.layer_norm_rms_epsilon")?;
    let ropes = rope::queries_and_keys(hyper, &mut b, traits.pairs)?;
    let window = if traits.windowed { hyper.optional_size("attention.sliding_window")? } else { None };

    let dim = hyper.head_dim;
    let [x, h, y] = [hyper.embedding; 3].map(|width| b.slot(width));

    let table = b.matrix("token_embd.weight", hyper.vocabulary, hyper.embedding)?;
    b.push(Op::Embed { table, scale: 1.0, out: x });
    for layer in 0..hyper.layers {
        let name = |part: &str| format!("blk.{layer}.{part}");
        let [heads, kv_heads] = [&hyper.heads, &hyper.kv_heads].map(|sizes| sizes.of(layer));
        let [q, attended] = ["queries", "attended"].map(|role| b.slot_of(role, heads * dim));
        let [k, v] = ["keys", "values"].map(|role| b.slot_of(role, kv_heads * dim));
        let [gate, up] = ["gate", "up"].map(|role| b.slot_of(role, hyper.feed_forward.of(layer)));
        let cache = b.cache(Cache { heads: kv_heads, dim, window });

        b.rms_norm(&name("attn_norm"), hyper.embedding, eps, x, h)?;
        // Where all three are one product, so may be their biases.
        let fused = ["weight", "bias"].iter().all(|part| b.has(&name(&format!("attn_qkv.{part}"))));
        if traits.biases && !fused {
            for (part, slot) in [("attn_q", q), ("attn_k", k), ("attn_v", v)] {
                b.vector(&name(&format!("{part}.bias")), b.width(slot))?;
            }
        }
        queries_keys_values(&mut b, layer, h, [q, k, v])?;
        if traits.head_norms {
            b.rms_norm(&name("attn_q_norm"), dim, eps, q, q)?;
            b.rms_norm(&name("attn_k_norm"), dim, eps, k, k)?;
        }
        if traits.unrotated_every == 0 || !(layer + 1).is_multiple_of(traits.unrotated_every) {
            rotate(&mut b, ropes, dim, [q, k]);
        }
        b.push(Op::Store { cache, k, v });
        let scale = 1.0 / (dim as f32).sqrt();
        b.push(Op::Attend { cache, heads, scale, softcap: None, q, out: attended });
        b.linear(&name("attn_output"), attended, y)?;
        b.push(Op::Add { x, y });

        b.rms_norm(&name("ffn_norm"), hyper.embedding, eps, x, h)?;
        gate_and_up(&mut b, layer, h, [gate, up])?;
        b.push(Op::Gate { f: Activation::Silu, x: gate, y: up });
        b.linear(&name("ffn_down"), gate, y)?;
        b.push(Op::Add { x, y });
    }
    b.rms_norm("output_norm", hyper.embedding, eps, x, h)?;
    let head = head(&mut b, hyper, h, None)?;
    Ok(b.finish(head, hyper.context_length, true))
}

/// Three products, or one tensor with the rows of all three.
pub(super) fn queries_keys_values(b: &mut Builder, layer: usize, x: SlotId, outs: [SlotId; 3]) -> Result<()> {
    let own = ["attn_q", "attn_k", "attn_v"].map(|part| format!("blk.{layer}.{part}"));
    let fused = format!("blk.{layer}.attn_qkv");
    if !b.has(&format!("{fused}.weight")) {
        return own.iter().zip(outs).try_for_each(|(own, out)| b.linear(own, x, out));
    }
    let [q, k, v] = outs.map(|out| b.width(out));
    for ((own, first), out) in own.iter().zip([0, q, q + k]).zip(outs) {
        b.linear_part((&fused, q + k + v, first), own, x, out)?;
    }
    Ok(())
}

/// Two products, or one tensor with the gate's rows and then the others.
fn gate_and_up(b: &mut Builder, layer: usize, x: SlotId, outs: [SlotId; 2]) -> Result<()> {
    let [gate, up] = ["ffn_gate", "ffn_up"].map(|part| format!("blk.{layer}.{part}"));
    let width = b.width(outs[0]);
    // Without a gate, what is not of the other product's shape must be both.
    let rows = b.rows(&format!("{up}.weight"));
    let fused = !b.has(&format!("{gate}.weight")) && rows.is_some_and(|rows| rows != width as u64);
    if !fused {
        b.linear(&gate, x, outs[0])?;
        return b.linear(&up, x, outs[1]);
    }
    b.linear_part((&up, 2 * width, 0), &gate, x, outs[0])?;
    b.linear_part((&up, 2 * width, width), &gate, x, outs[1])
}

/// Rotates queries and keys.
pub(super) fn rotate(b: &mut Builder, ropes: [RopeId; 2], dim: usize, slots: [SlotId; 2]) {
    for (rope, x) in ropes.into_iter().zip(slots) {
        b.push(Op::Rotate { rope, dim, x });
    }
}

/// The output head: `output.weight`, or the embedding where the file has none. Qwen 2 may have a bias there, which
/// this version refuses.
pub(super) fn head(b: &mut Builder, hyper: &Hyper, x: SlotId, softcap: Option<f32>) -> Result<Head> {
    if b.has("output.bias") {
        let message = "a bias of the output head is not supported";
        return Err(Error::unsupported_model(message).tensor("output.bias"));
    }
    let name = if b.has("output.weight") { "output.weight" } else { "token_embd.weight" };
    let weight = b.matrix(name, hyper.vocabulary, hyper.embedding)?;
    Ok(Head::Logits { weight, x, softcap })
}
