//! Gemma 4 (text): E2B and E4B.
//!
//! Gemma 3's layers, in which those with a window have heads of another width; values are normalized, too, and scores
//! are not scaled. The last layers have no keys and values of their own: they attend to those of the last layer before
//! them that has its own and the same kind of attention. And each layer takes in an embedding of its own,
//! x += RMS(Wproj·(gelu(Wgate·x) ⊙ e)) with e = (√P·E[token] + RMS(Wmodel·x₀/√E)) / √2, and scales its output.

use super::{Hyper, decoder, rope};
use crate::error::{Error, Result};
use crate::gguf::TensorInfo;
use crate::plan::{Activation, Builder, Cache, Factor, Norm, Op, Pairs, Plan, RopeId, SlotId};

/// The rotary base of layers with a window, where the file does not state it.
const WINDOWED_BASE: f32 = 10_000.0;

/// What the layers with a window have in common, or those without.
struct Kind {
    /// Values per head.
    dim: usize,
    rope: [RopeId; 2],
    window: Option<usize>,
    /// The cache of the last layer of this kind that has its own.
    cache: Option<usize>,
}

/// The embeddings that layers have of their own.
struct PerLayer {
    /// P
    width: usize,
    /// Those of all layers, one after the other, times √2: where they are read, a norm takes the factor off.
    all: SlotId,
    own: SlotId,
    gate: SlotId,
}

pub fn plan(hyper: &Hyper, tensors: &[TensorInfo]) -> Result<Plan> {
    hyper.no_experts()?;
    let mut b = Builder::new(tensors);
    let eps = hyper.epsilon("attention.layer_norm_rms_epsilon")?;
    let cap = hyper.optional_number("final_logit_softcapping")?;
    let windowed = windowed_layers(hyper)?;
    let shared = hyper.optional_size("attention.shared_kv_layers")?.unwrap_or(0);
    let mut kinds = kinds(hyper, &mut b)?;

    let [x, h, y] = [hyper.embedding; 3].map(|width| b.slot(width));
    let table = b.matrix("token_embd.weight", hyper.vocabulary, hyper.embedding)?;
    b.push(Op::Embed { table, scale: (hyper.embedding as f32).sqrt(), out: x });
    let per_layer = per_layer(hyper, &mut b, x, eps)?;
    for layer in 0..hyper.layers {
        let name = |part: &str| format!("blk.{layer}.{part}");
        let kind = &mut kinds[usize::from(windowed[layer])];
        let dim = kind.dim;
        let [heads, kv_heads] = [&hyper.heads, &hyper.kv_heads].map(|sizes| sizes.of(layer));
        let [q, attended] = ["queries", "attended"].map(|role| b.slot_of(role, heads * dim));
        let [k, v] = ["keys", "values"].map(|role| b.slot_of(role, kv_heads * dim));

        b.rms_norm(&name("attn_norm"), hyper.embedding, eps, x, h)?;
        b.linear(&name("attn_q"), h, q)?;
        if layer + shared < hyper.layers {
            b.linear(&name("attn_k"), h, k)?;
            // Layers without a window may do without a matrix for values, which are the keys as they come then.
            let own = windowed[layer] || b.has(&name("attn_v.weight"));
            if own {
                b.linear(&name("attn_v"), h, v)?;
            }
            let from = if own { v } else { k };
            b.push(Op::Norm { norm: Norm::Even { scale: 1.0 }, eps, width: dim, x: from, out: v });
            b.rms_norm(&name("attn_q_norm"), dim, eps, q, q)?;
            b.rms_norm(&name("attn_k_norm"), dim, eps, k, k)?;
            decoder::rotate(&mut b, kind.rope, dim, [q, k]);
            let cache = b.cache(Cache { heads: kv_heads, dim, window: kind.window });
            b.push(Op::Store { cache, k, v });
            kind.cache = Some(cache);
        } else {
            b.rms_norm(&name("attn_q_norm"), dim, eps, q, q)?;
            b.push(Op::Rotate { rope: kind.rope[0], dim, x: q });
        }
        let Some(cache) = kind.cache else {
            let message = format!("layer {layer} has no keys and values, and none before it is of its kind");
            return Err(Error::invalid_model(message).key(hyper.key("attention.shared_kv_layers")));
        };
        b.push(Op::Attend { cache, heads, scale: 1.0, softcap: None, q, out: attended });
        b.linear(&name("attn_output"), attended, y)?;
        b.rms_norm(&name("post_attention_norm"), hyper.embedding, eps, y, y)?;
        b.push(Op::Add { x, y });

        let [gate, up] = ["gate", "up"].map(|role| b.slot_of(role, hyper.feed_forward.of(layer)));
        b.rms_norm(&name("ffn_norm"), hyper.embedding, eps, x, h)?;
        b.linear(&name("ffn_gate"), h, gate)?;
        b.linear(&name("ffn_up"), h, up)?;
        b.push(Op::Gate { f: Activation::GeluTanh, x: gate, y: up });
        b.linear(&name("ffn_down"), gate, y)?;
        b.rms_norm(&name("post_ffw_norm"), hyper.embedding, eps, y, y)?;
        b.push(Op::Add { x, y });

        if let Some(PerLayer { width, all, own, gate }) = per_layer {
            b.linear(&name("inp_gate"), x, gate)?;
            b.push(Op::Part { x: all, run: width * hyper.layers, first: layer * width, out: own });
            b.push(Op::Gate { f: Activation::GeluTanh, x: gate, y: own });
            b.linear(&name("proj"), gate, y)?;
            // RMS(y/√2; ε) = RMS(y; 2ε)
            b.rms_norm(&name("post_norm"), hyper.embedding, 2.0 * eps, y, y)?;
            b.push(Op::Add { x, y });
        }
        let by = b.vector(&name("layer_output_scale.weight"), 1)?;
        b.push(Op::Scale { by: Factor::Weight(by), x });
    }
    b.rms_norm("output_norm", hyper.embedding, eps, x, h)?;
    let head = decoder::head(&mut b, hyper, h, cap)?;
    Ok(b.finish(head, hyper.context_length, true))
}

/// Which layers have a window. Their heads are of another width, so the file must say it.
fn windowed_layers(hyper: &Hyper) -> Result<Vec<bool>> {
    let name = "attention.sliding_window_pattern";
    let windowed = hyper.layer_flags(name)?.map(<[bool]>::to_vec);
    windowed.ok_or_else(|| {
        let message = "it must be told of each layer whether it has a window";
        Error::invalid_model(message).key(hyper.key(name))
    })
}

/// The layers without a window, and those with.
fn kinds(hyper: &Hyper, b: &mut Builder) -> Result<[Kind; 2]> {
    // Three quarters of the pairs do not turn, which only this tensor says.
    b.vector("rope_freqs.weight", hyper.rope_dims()? / 2)?;
    let global = Kind {
        dim: hyper.head_dim,
        rope: rope::queries_and_keys(hyper, b, Pairs::Halves)?,
        window: None,
        cache: None,
    };
    let dim = hyper.size_or("attention.key_length_swa", hyper.head_dim)?;
    hyper.widths("attention.key_length_swa", dim)?;
    hyper.same("attention.value_length_swa", dim)?;
    let rope = b.rope(hyper.windowed_rope(Pairs::Halves, dim, WINDOWED_BASE)?);
    let window = hyper.optional_size("attention.sliding_window")?;
    Ok([global, Kind { dim, rope: [rope; 2], window, cache: None }])
}

/// Computes the layers' own embeddings, if the model has them.
fn per_layer(hyper: &Hyper, b: &mut Builder, x: SlotId, eps: f32) -> Result<Option<PerLayer>> {
    let key = "embedding_length_per_layer_input";
    let Some(width) = hyper.optional_size(key)? else { return Ok(None) };
    let total = hyper.product(key, width, hyper.layers)?;
    let [all, projected] = [total; 2].map(|width| b.slot(width));
    let [own, gate] = [width; 2].map(|width| b.slot(width));
    let table = b.matrix("per_layer_token_embd.weight", hyper.vocabulary, total)?;
    b.push(Op::Embed { table, scale: (width as f32).sqrt(), out: all });
    b.linear("per_layer_model_proj", x, projected)?;
    // RMS(y/√E; ε) = RMS(y; E·ε)
    b.rms_norm("per_layer_proj_norm", width, hyper.embedding as f32 * eps, projected, projected)?;
    b.push(Op::Add { x: all, y: projected });
    Ok(Some(PerLayer { width, all, own, gate }))
}
