//! Gemma 3 (text).
//!
//! Embeddings scaled by √E; norms before and after each part ("sandwich"); queries and keys normalized per
//! head before RoPE; GeGLU; five layers with a sliding window and local rotary base to one without.

use super::{Hyper, llama};
use crate::error::Result;
use crate::gguf::TensorInfo;
use crate::plan::{Activation, Builder, Cache, Op, Pairs, Plan};

/// The rotary base of windowed layers, where the file does not state one.
const LOCAL_BASE: f32 = 10_000.0;

pub fn plan(hyper: &Hyper, tensors: &[TensorInfo]) -> Result<Plan> {
    let mut b = Builder::new(tensors);
    let eps = hyper.epsilon("attention.layer_norm_rms_epsilon")?;
    let local_base = hyper.optional_number("rope.freq_base_swa")?.unwrap_or(LOCAL_BASE);
    let local = hyper.rope(Pairs::Halves, local_base, 1.0, None)?;
    let global = hyper.rope(Pairs::Halves, hyper.rope_base()?, hyper.rope_linear_factor()?, None)?;
    let (local, global) = (b.rope(local), b.rope(global));
    let window = hyper.metadata().u32(&hyper.key("attention.sliding_window")).filter(|window| *window > 0);
    let windowed = hyper.windowed_layers(6);

    let dim = hyper.head_dim;
    // The 27B model, told by its depth as llama.cpp does, scales by E/H instead of the head's length.
    let scale_dim = if hyper.layers == 62 { hyper.embedding / hyper.heads } else { dim };
    let scale = 1.0 / (scale_dim as f32).sqrt();
    let [x, h, y] = [hyper.embedding; 3].map(|width| b.slot(width));
    let [q, attended] = [hyper.heads * dim; 2].map(|width| b.slot(width));
    let [k, v] = [hyper.kv_heads * dim; 2].map(|width| b.slot(width));
    let [gate, up] = [hyper.feed_forward; 2].map(|width| b.slot(width));

    let table = b.matrix("token_embd.weight", hyper.vocabulary, hyper.embedding)?;
    b.push(Op::Embed { table, scale: (hyper.embedding as f32).sqrt(), out: x });
    for (layer, windowed) in windowed.into_iter().enumerate() {
        let name = |part: &str| format!("blk.{layer}.{part}");
        let window = window.filter(|_| windowed).map(|window| window as usize);
        let rope = if window.is_some() { local } else { global };
        let cache = b.cache(Cache { heads: hyper.kv_heads, dim, window });

        b.rms_norm(&name("attn_norm"), hyper.embedding, eps, x, h)?;
        b.linear(&name("attn_q"), h, q)?;
        b.linear(&name("attn_k"), h, k)?;
        b.linear(&name("attn_v"), h, v)?;
        b.rms_norm(&name("attn_q_norm"), dim, eps, q, q)?;
        b.rms_norm(&name("attn_k_norm"), dim, eps, k, k)?;
        b.push(Op::Rotate { rope, dim, x: q });
        b.push(Op::Rotate { rope, dim, x: k });
        b.push(Op::Store { cache, k, v });
        b.push(Op::Attend { cache, heads: hyper.heads, scale, softcap: None, q, out: attended });
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
    let softcap = hyper.optional_number("final_logit_softcapping")?;
    let head = llama::head(&mut b, hyper, h, softcap)?;
    Ok(b.finish(head, hyper.context_length, true))
}
