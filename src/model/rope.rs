//! The rotary embeddings of files: their scaling, and the tensors that divide their frequencies.
//!
//! Plain: base^(−2i/n). Linear: divided by a factor. By a tensor: each frequency is divided by its own (Llama 3.1, and
//! the long or short factors of Phi). YaRN (arXiv 2309.00071): frequencies that turn often within the original context
//! stay, those that turn less than once are divided, with a ramp between.

use super::Hyper;
use crate::error::{Error, Result};
use crate::plan::{Builder, Pairs, Rope, RopeId, Temperature, WeightId};
use std::f64::consts::PI;

/// The rotary embeddings of queries and of keys: one, unless queries grow with their position.
pub fn queries_and_keys(hyper: &Hyper, b: &mut Builder, pairs: Pairs) -> Result<[RopeId; 2]> {
    let factors = factors(hyper, b)?;
    let rope = match hyper.metadata().str(&hyper.key("rope.scaling.type")) {
        Some("yarn") => yarn(hyper, pairs)?,
        // The tensors say how; the rest is as if it were not scaled.
        Some("longrope") if factors.is_some() => hyper.rope(pairs, hyper.rope_base()?, 1.0)?,
        _ => hyper.rope(pairs, hyper.rope_base()?, hyper.rope_linear_factor()?)?,
    };
    let attention = hyper.optional_number("rope.scaling.attn_factor")?.unwrap_or(1.0);
    let keys = Rope { factors, magnitude: rope.magnitude * attention, ..rope };
    let queries = Rope { temperature: temperature(hyper)?, ..keys.clone() };
    let rotates_all = hyper.rope_dims()? == hyper.head_dim;
    match queries.temperature {
        None => Ok([b.rope(keys); 2]),
        Some(_) if rotates_all => Ok([b.rope(queries), b.rope(keys)]),
        Some(_) => {
            Err(Error::unsupported_model("queries that grow and are rotated in part are not supported")
                .key(hyper.key("attention.temperature_scale")))
        }
    }
}

/// The tensor of divisors. Of Phi's two, the long one is for contexts that are longer than the original: for all
/// positions, since keys that are rotated by the one cannot be compared with queries rotated by the other.
fn factors(hyper: &Hyper, b: &mut Builder) -> Result<Option<WeightId>> {
    let pairs = hyper.rope_dims()? / 2;
    let [short, long] = ["rope_factors_short.weight", "rope_factors_long.weight"];
    if !b.has(short) && !b.has(long) {
        return b.optional_vector("rope_freqs.weight", pairs);
    }
    let beyond = hyper.context_length > original_length(hyper)?;
    b.vector(if beyond { long } else { short }, pairs).map(Some)
}

fn original_length(hyper: &Hyper) -> Result<usize> {
    hyper.size("rope.scaling.original_context_length")
}

/// θᵢ·(rᵢ + (1 − rᵢ)/f), where rᵢ falls from 1 to 0 between the pair that turns β_fast times within the original
/// context and the one that turns β_slow times; magnitude (1 + ln f / 10) / (1 + m·ln f / 10).
fn yarn(hyper: &Hyper, pairs: Pairs) -> Result<Rope> {
    let number = |name: &str, default: f32| -> Result<f64> {
        Ok(f64::from(hyper.optional_number(name)?.unwrap_or(default)))
    };
    let factor = number("rope.scaling.factor", 1.0)?;
    let dims = hyper.rope_dims()? as f64;
    let (base, original) = (f64::from(hyper.rope_base()?), original_length(hyper)? as f64);
    let pair_of = |turns: f64| dims * (original / (turns * 2.0 * PI)).ln() / (2.0 * base.ln());
    let low = pair_of(number("rope.scaling.yarn_beta_fast", 32.0)?).floor().max(0.0);
    let high = pair_of(number("rope.scaling.yarn_beta_slow", 1.0)?).ceil().min(dims - 1.0);
    let mut rope = hyper.rope(pairs, base as f32, 1.0)?;
    for (i, frequency) in rope.frequencies.iter_mut().enumerate() {
        let stays = 1.0 - ((i as f64 - low) / (high - low).max(0.001)).clamp(0.0, 1.0);
        let exact = base.powf(-2.0 * i as f64 / dims);
        *frequency = (exact * (stays + (1.0 - stays) / factor)) as f32;
    }
    let grown = |by: f64| if factor > 1.0 { 1.0 + 0.1 * by * factor.ln() } else { 1.0 };
    rope.magnitude = (grown(1.0) / grown(number("rope.scaling.yarn_log_multiplier", 0.0)?)) as f32;
    Ok(rope)
}

fn temperature(hyper: &Hyper) -> Result<Option<Temperature>> {
    let beta = hyper.optional_number("attention.temperature_scale")?;
    beta.map(|beta| Ok(Temperature { beta, length: original_length(hyper)? })).transpose()
}
