//! BERT encoders: all-MiniLM-L6-v2, mxbai-embed-large; with a head, classifiers and rerankers.
//!
//! x = LN(token + position + type); x = LN(x + Wo·attention(x)); x = LN(x + Wdown·gelu(Wup·x)). Every token
//! sees every other; GELU in its exact form, as the models were trained. Of a pair of texts the second has type 1.
//! A head makes scores of labels: Wout·tanh(Wcls·x + b) + b, or Wout·x + b where the file has one matrix. Scores are
//! read at the first token; what the head makes of the others costs less than to tell it apart.

use super::Hyper;
use crate::error::{Error, Result};
use crate::gguf::TensorInfo;
use crate::plan::{Activation, Builder, Cache, Head, Op, Plan, Row, SlotId};

/// The `pooling_type` of files whose model has a head.
const RANK: u32 = 4;
/// What `[SEP]` is where a file does not say.
const SEPARATOR: u32 = 102;

pub fn plan(hyper: &Hyper, tensors: &[TensorInfo]) -> Result<Plan> {
    let mut b = Builder::new(tensors);
    let eps = hyper.epsilon("attention.layer_norm_epsilon")?;
    let types = hyper.metadata().u32("tokenizer.ggml.token_type_count").unwrap_or(2).max(1) as usize;
    let positions = hyper.size("context_length")?;

    let dim = hyper.head_dim;
    let [x, y] = [hyper.embedding; 2].map(|width| b.slot(width));

    let table = b.matrix("token_embd.weight", hyper.vocabulary, hyper.embedding)?;
    b.push(Op::Embed { table, scale: 1.0, out: x });
    // DistilBERT has one type, and no table.
    if types > 1 || b.has("token_types.weight") {
        let table = b.matrix("token_types.weight", types, hyper.embedding)?;
        let separator = hyper.metadata().u32("tokenizer.ggml.seperator_token_id").unwrap_or(SEPARATOR);
        b.push(Op::AddRow { table, row: Row::Text { separator, last: (types - 1).min(1) }, x });
    }
    let table = b.matrix("position_embd.weight", positions, hyper.embedding)?;
    b.push(Op::AddRow { table, row: Row::Position, x });
    b.layer_norm("token_embd_norm", eps, x)?;
    for layer in 0..hyper.layers {
        let name = |part: &str| format!("blk.{layer}.{part}");
        let heads = hyper.heads.of(layer);
        let [q, k, v, attended] =
            ["queries", "keys", "values", "attended"].map(|role| b.slot_of(role, heads * dim));
        let inner = b.slot_of("inner", hyper.feed_forward.of(layer));
        let cache = b.cache(Cache { heads, dim, window: None });

        b.biased(&name("attn_q"), x, q)?;
        b.biased(&name("attn_k"), x, k)?;
        b.biased(&name("attn_v"), x, v)?;
        b.push(Op::Store { cache, k, v });
        let scale = 1.0 / (dim as f32).sqrt();
        b.push(Op::Attend { cache, heads, scale, softcap: None, q, out: attended });
        b.biased(&name("attn_output"), attended, y)?;
        b.push(Op::Add { x, y });
        b.layer_norm(&name("attn_output_norm"), eps, x)?;

        b.biased(&name("ffn_up"), x, inner)?;
        b.push(Op::Activate { f: Activation::GeluErf, x: inner });
        b.biased(&name("ffn_down"), inner, y)?;
        b.push(Op::Add { x, y });
        b.layer_norm(&name("layer_output_norm"), eps, x)?;
    }
    let scores = head(&mut b, hyper, x, y)?;
    let head = scores.map_or(Head::Hidden { x }, |x| Head::Labels { x });
    Ok(b.finish(head, hyper.context_length, false))
}

/// The scores of labels, of a model that has them: one that is said to embed ignores what is left of another head.
fn head(b: &mut Builder, hyper: &Hyper, x: SlotId, y: SlotId) -> Result<Option<SlotId>> {
    let pooling = hyper.metadata().u32(&hyper.key("pooling_type"));
    if pooling.is_some_and(|pooling| pooling != RANK) {
        return Ok(None);
    }
    let has = ["cls", "cls.output"].map(|name| b.has(&format!("{name}.weight")));
    let (x, name) = match has {
        [true, true] => {
            b.linear("cls", x, y)?;
            b.push(Op::Activate { f: Activation::Tanh, x: y });
            (y, "cls.output")
        }
        [true, false] => (x, "cls"),
        [false, _] => (x, "cls.output"),
    };
    let weight = format!("{name}.weight");
    let Some(labels) = b.rows(&weight) else {
        return match pooling {
            Some(_) => Err(Error::invalid_model("the model ranks, and lacks its head").tensor(weight)),
            None => Ok(None),
        };
    };
    let labels = usize::try_from(labels).ok().filter(|labels| *labels <= hyper.vocabulary);
    let labels = labels.ok_or_else(|| Error::invalid_model("the head has too many labels").tensor(weight))?;
    let scores = b.slot(labels);
    b.linear(name, x, scores)?;
    Ok(Some(scores))
}
