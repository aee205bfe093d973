//! Qwen 3.5 (text): 0.8B to 9B.
//!
//! x += mixer(RMS(x)); x += Wdown·(silu(Wgate·h) ⊙ Wup·h) with h = RMS(x). The mixer of every fourth layer is attention
//! whose output is gated, Wo·(attention ⊙ σ(gate)). That of the others is a gated delta net: q, k and v pass a short
//! convolution and silu, q and k are normalized to length 1 (q to 1/√d), the delta rule ([`Op::DeltaRule`]) reads them,
//! and Wo·(RMS(o) ⊙ silu(z)) goes on.

use super::{Hyper, decoder, rope};
use crate::error::{Error, Result};
use crate::gguf::TensorInfo;
use crate::plan::{Activation, Builder, Cache, DeltaRule, Norm, Op, Pairs, Plan, RopeId, SlotId};

/// What is added to the square of a length that is divided by.
const LENGTH_EPSILON: f32 = 1e-6;
/// Models have states of 128 × 128 values per head; a state is much more than the tensors that promise it.
const WIDEST_STATE: usize = 256;
/// Models have 4 taps.
const MOST_TAPS: usize = 32;

/// The sizes of delta layers.
struct Delta {
    /// Values per head, d.
    dim: usize,
    /// Values of all heads of q, and of k.
    keys: usize,
    /// Heads of v.
    value_heads: usize,
    /// Values of all of these.
    values: usize,
    taps: usize,
}

pub fn plan(hyper: &Hyper, tensors: &[TensorInfo]) -> Result<Plan> {
    hyper.no_experts()?;
    let mut b = Builder::new(tensors);
    let eps = hyper.epsilon("attention.layer_norm_rms_epsilon")?;
    let ropes = rope::queries_and_keys(hyper, &mut b, Pairs::Halves)?;
    let delta = Delta::read(hyper)?;
    let recurrent = recurrent_layers(hyper)?;

    let [x, h, y] = [hyper.embedding; 3].map(|width| b.slot(width));
    let table = b.matrix("token_embd.weight", hyper.vocabulary, hyper.embedding)?;
    b.push(Op::Embed { table, scale: 1.0, out: x });
    for (layer, recurrent) in recurrent.into_iter().enumerate() {
        let name = |part: &str| format!("blk.{layer}.{part}");
        b.rms_norm(&name("attn_norm"), hyper.embedding, eps, x, h)?;
        if recurrent {
            delta.layer(&mut b, &name, eps, [h, y])?;
        } else {
            attention(hyper, &mut b, layer, ropes, eps, [h, y])?;
        }
        b.push(Op::Add { x, y });

        let [gate, up] = ["gate", "up"].map(|role| b.slot_of(role, hyper.feed_forward.of(layer)));
        b.rms_norm(&name("post_attention_norm"), hyper.embedding, eps, x, h)?;
        b.linear(&name("ffn_gate"), h, gate)?;
        b.linear(&name("ffn_up"), h, up)?;
        b.push(Op::Gate { f: Activation::Silu, x: gate, y: up });
        b.linear(&name("ffn_down"), gate, y)?;
        b.push(Op::Add { x, y });
    }
    b.rms_norm("output_norm", hyper.embedding, eps, x, h)?;
    let head = decoder::head(&mut b, hyper, h, None)?;
    Ok(b.finish(head, hyper.context_length, true))
}

/// Which layers are delta nets. Those behind them that predict further tokens are left out.
fn recurrent_layers(hyper: &Hyper) -> Result<Vec<bool>> {
    let further = hyper.optional_size("nextn_predict_layers")?.unwrap_or(0);
    let Some(layers) = hyper.layers.checked_sub(further).filter(|layers| *layers > 0) else {
        let message = format!("{further} layers of {} predict further tokens", hyper.layers);
        return Err(Error::invalid_model(message).key(hyper.key("nextn_predict_layers")));
    };
    let key = hyper.key("attention.recurrent_layers");
    if let Some(recurrent) = hyper.metadata().bools(&key) {
        let there = recurrent.get(..layers).map(<[bool]>::to_vec);
        return there.ok_or_else(|| Error::invalid_model("layers are missing in the list").key(key));
    }
    let interval = hyper.size_or("full_attention_interval", 4)?;
    Ok((1..=layers).map(|number| !number.is_multiple_of(interval)).collect())
}

/// `y` = the gated attention to `h`.
fn attention(
    hyper: &Hyper,
    b: &mut Builder,
    layer: usize,
    ropes: [RopeId; 2],
    eps: f32,
    [h, y]: [SlotId; 2],
) -> Result<()> {
    let name = |part: &str| format!("blk.{layer}.{part}");
    let [heads, kv_heads] = [&hyper.heads, &hyper.kv_heads].map(|sizes| sizes.of(layer));
    let dim = hyper.head_dim;
    // Of each head, the query and then the gate.
    let both = b.slot_of("queries and gates", 2 * heads * dim);
    let [q, gate, attended] = ["queries", "gates", "attended"].map(|role| b.slot_of(role, heads * dim));
    let [k, v] = ["keys", "values"].map(|role| b.slot_of(role, kv_heads * dim));
    b.linear(&name("attn_q"), h, both)?;
    b.linear(&name("attn_k"), h, k)?;
    b.linear(&name("attn_v"), h, v)?;
    b.push(Op::Part { x: both, run: 2 * dim, first: dim, out: gate });
    b.push(Op::Part { x: both, run: 2 * dim, first: 0, out: q });
    b.rms_norm(&name("attn_q_norm"), dim, eps, q, q)?;
    b.rms_norm(&name("attn_k_norm"), dim, eps, k, k)?;
    decoder::rotate(b, ropes, dim, [q, k]);
    let cache = b.cache(Cache { heads: kv_heads, dim, window: None });
    b.push(Op::Store { cache, k, v });
    let scale = 1.0 / (dim as f32).sqrt();
    b.push(Op::Attend { cache, heads, scale, softcap: None, q, out: attended });
    b.push(Op::Gate { f: Activation::Sigmoid, x: gate, y: attended });
    b.linear(&name("attn_output"), gate, y)
}

impl Delta {
    fn read(hyper: &Hyper) -> Result<Self> {
        let dim = hyper.size("ssm.state_size")?;
        if dim > WIDEST_STATE || !dim.is_multiple_of(4) {
            let message = format!("states of {dim} × {dim} values are not supported");
            return Err(Error::unsupported_model(message).key(hyper.key("ssm.state_size")));
        }
        let taps = hyper.size("ssm.conv_kernel")?;
        if taps > MOST_TAPS {
            let message = format!("a convolution of {taps} tokens is not supported");
            return Err(Error::unsupported_model(message).key(hyper.key("ssm.conv_kernel")));
        }
        let [key_heads, value_heads] = [hyper.size("ssm.group_count")?, hyper.size("ssm.time_step_rank")?];
        if !value_heads.is_multiple_of(key_heads) {
            let message = format!("{value_heads} heads of values cannot share {key_heads} of keys");
            return Err(Error::invalid_model(message).key(hyper.key("ssm.time_step_rank")));
        }
        let keys = hyper.product("ssm.group_count", key_heads, dim)?;
        let values = hyper.product("ssm.time_step_rank", value_heads, dim)?;
        hyper.same("ssm.inner_size", values)?;
        Ok(Delta { dim, keys, value_heads, values, taps })
    }

    /// `y` = the delta net's output for `h`.
    fn layer(
        &self,
        b: &mut Builder,
        name: &dyn Fn(&str) -> String,
        eps: f32,
        [h, y]: [SlotId; 2],
    ) -> Result<()> {
        let &Delta { dim, keys, value_heads, values, taps } = self;
        let width = 2 * keys + values;
        let mixed = b.slot_of("mixed", width);
        let [q, k] = ["delta queries", "delta keys"].map(|role| b.slot_of(role, keys));
        let [v, z, out] = ["delta values", "delta gates", "delta out"].map(|role| b.slot_of(role, values));
        let [rate, decay] = ["rates", "decays"].map(|role| b.slot_of(role, value_heads));
        b.linear(&name("attn_qkv"), h, mixed)?;
        b.linear(&name("attn_gate"), h, z)?;
        b.linear(&name("ssm_beta"), h, rate)?;
        let weight = b.matrix(&name("ssm_alpha.weight"), value_heads, b.width(h))?;
        let bias = Some(b.vector(&name("ssm_dt.bias"), value_heads)?);
        b.push(Op::MatMul { weight, bias, x: h, out: decay });

        let weight = b.matrix(&name("ssm_conv1d.weight"), width, taps)?;
        let state = b.state((taps - 1) * width);
        b.push(Op::Convolve { state, weight, x: mixed });
        b.push(Op::Activate { f: Activation::Silu, x: mixed });
        for (first, part) in [(0, q), (keys, k), (2 * keys, v)] {
            b.push(Op::Part { x: mixed, run: width, first, out: part });
        }
        // x/√(Σx² + ε) = x/√(mean(x²) + ε/d)/√d
        let d = dim as f32;
        for (x, scale) in [(q, 1.0 / d), (k, 1.0 / d.sqrt())] {
            b.push(Op::Norm { norm: Norm::Even { scale }, eps: LENGTH_EPSILON / d, width: dim, x, out: x });
        }
        let a = b.vector(&name("ssm_a"), value_heads)?;
        let state = b.state(values * dim);
        b.push(Op::DeltaRule(DeltaRule { state, dim, q, k, v, decay, rate, a, out }));
        b.rms_norm(&name("ssm_norm"), dim, eps, out, out)?;
        b.push(Op::Gate { f: Activation::Silu, x: z, y: out });
        b.linear(&name("ssm_out"), z, y)
    }
}
