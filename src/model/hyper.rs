//! The hyperparameters that families share, read from metadata and checked.

use crate::error::{Error, Result};
use crate::gguf::Metadata;
use crate::plan::{Pairs, Rope};

/// Context of a model that is asked for none: enough for most pages, and a cache that fits beside the weights.
pub const DEFAULT_CONTEXT: usize = 4096;
/// No model is wider than this in any of its dimensions; it keeps products within `usize` on 32 bits.
const LARGEST: usize = 1 << 20;
/// No model has a longer context or a larger vocabulary.
const LONGEST: usize = 1 << 26;

/// Hyperparameters under the keys `<architecture>.…`.
pub struct Hyper<'a> {
    architecture: &'a str,
    metadata: &'a Metadata,
    /// Values per token, E.
    pub embedding: usize,
    /// Layers, L.
    pub layers: usize,
    /// Query heads, H.
    pub heads: usize,
    /// Key/value heads, Hk.
    pub kv_heads: usize,
    /// Values per head, D.
    pub head_dim: usize,
    /// Inner width of the feed-forward part, F.
    pub feed_forward: usize,
    /// Tokens of the vocabulary, V.
    pub vocabulary: usize,
    /// Tokens that a sequence may have here.
    pub context_length: usize,
}

impl<'a> Hyper<'a> {
    pub fn read(
        architecture: &'a str,
        metadata: &'a Metadata,
        context_length: Option<usize>,
    ) -> Result<Self> {
        let mut hyper = Hyper {
            architecture,
            metadata,
            embedding: 0,
            layers: 0,
            heads: 0,
            kv_heads: 0,
            head_dim: 0,
            feed_forward: 0,
            vocabulary: 0,
            context_length: 0,
        };
        hyper.embedding = hyper.size("embedding_length")?;
        hyper.layers = hyper.size("block_count")?;
        hyper.heads = hyper.size("attention.head_count")?;
        hyper.kv_heads = hyper.size_or("attention.head_count_kv", hyper.heads)?;
        if !hyper.heads.is_multiple_of(hyper.kv_heads) {
            let message =
                format!("{} query heads cannot share {} key/value heads", hyper.heads, hyper.kv_heads);
            return Err(Error::invalid_model(message).key(hyper.key("attention.head_count_kv")));
        }
        hyper.head_dim = hyper.size_or("attention.key_length", (hyper.embedding / hyper.heads).max(1))?;
        if hyper.heads.saturating_mul(hyper.head_dim) > LARGEST {
            let message = format!("{} heads of {} values are not possible", hyper.heads, hyper.head_dim);
            return Err(Error::invalid_model(message).key(hyper.key("attention.key_length")));
        }
        if hyper.size_or("attention.value_length", hyper.head_dim)? != hyper.head_dim {
            let message = "keys and values of different length are not supported";
            return Err(Error::unsupported_model(message).key(hyper.key("attention.value_length")));
        }
        hyper.feed_forward = hyper.size("feed_forward_length")?;
        hyper.vocabulary = match metadata.strings("tokenizer.ggml.tokens") {
            Some(tokens) => tokens.len(),
            None => hyper.size("vocab_size")?,
        };
        let trained = hyper.size("context_length")?;
        hyper.context_length = match context_length {
            None => trained.min(DEFAULT_CONTEXT),
            Some(wanted) if (1..=trained).contains(&wanted) => wanted,
            Some(wanted) => {
                let message = format!(
                    "contextLength {wanted} is outside 1..={trained}, what the model was trained for"
                );
                return Err(Error::invalid_argument(message));
            }
        };
        Ok(hyper)
    }

    /// The metadata key of a hyperparameter.
    pub fn key(&self, name: &str) -> String {
        format!("{}.{name}", self.architecture)
    }

    /// A size that must be there.
    pub fn size(&self, name: &str) -> Result<usize> {
        let key = self.key(name);
        let value = self.metadata.require_u32(&key)? as usize;
        let limit = if matches!(name, "context_length" | "vocab_size") { LONGEST } else { LARGEST };
        if value == 0 || value > limit {
            return Err(Error::invalid_model(format!("{value} is no possible size")).key(key));
        }
        Ok(value)
    }

    /// A size with a default.
    pub fn size_or(&self, name: &str, default: usize) -> Result<usize> {
        if self.metadata.get(&self.key(name)).is_some() { self.size(name) } else { Ok(default) }
    }

    /// The ε of a norm, which must be there.
    pub fn epsilon(&self, name: &str) -> Result<f32> {
        let key = self.key(name);
        let eps = self.metadata.require_f32(&key)?;
        if !(eps.is_finite() && eps >= 0.0) {
            return Err(Error::invalid_model(format!("{eps} cannot be a norm's epsilon")).key(key));
        }
        Ok(eps)
    }

    /// A positive number that may be absent; 0 stands for absent.
    pub fn optional_number(&self, name: &str) -> Result<Option<f32>> {
        let key = self.key(name);
        match self.metadata.f32(&key) {
            None | Some(0.0) => Ok(None),
            Some(number) if number.is_finite() && number > 0.0 => Ok(Some(number)),
            Some(number) => Err(Error::invalid_model(format!("{number} is no positive number")).key(key)),
        }
    }

    pub fn metadata(&self) -> &Metadata {
        self.metadata
    }

    /// Which layers have a sliding window: a period p (every p-th layer is global) or a list of flags.
    pub fn windowed_layers(&self, default_period: usize) -> Vec<bool> {
        let key = self.key("attention.sliding_window_pattern");
        if let Some(flags) = self.metadata.bools(&key) {
            return (0..self.layers).map(|layer| flags.get(layer).copied().unwrap_or(false)).collect();
        }
        let period = self.metadata.u32(&key).map_or(default_period, |period| (period as usize).max(1));
        (0..self.layers).map(|layer| layer % period < period - 1).collect()
    }

    /// Rotary embedding of base `base` over the first `rope.dimension_count` values of a head, positions
    /// divided by `factor`: frequencies base^(−2i/n) / factor.
    pub fn rope(&self, pairs: Pairs, base: f32, factor: f32) -> Result<Rope> {
        let dims = self.rope_dims()?;
        let frequency =
            |i: usize| (f64::from(base).powf(-2.0 * i as f64 / dims as f64) / f64::from(factor)) as f32;
        let frequencies = (0..dims / 2).map(frequency).collect();
        Ok(Rope { pairs, frequencies, factors: None, magnitude: 1.0, temperature: None })
    }

    /// Values of a head that are rotated.
    pub fn rope_dims(&self) -> Result<usize> {
        let dims = self.size_or("rope.dimension_count", self.head_dim)?;
        if dims > self.head_dim || !dims.is_multiple_of(2) {
            let message = format!("cannot rotate {dims} of {} values", self.head_dim);
            return Err(Error::invalid_model(message).key(self.key("rope.dimension_count")));
        }
        Ok(dims)
    }

    /// The base of the rotary frequencies.
    pub fn rope_base(&self) -> Result<f32> {
        Ok(self.optional_number("rope.freq_base")?.unwrap_or(10_000.0))
    }

    /// What positions are divided by: linear scaling, or 1. Other kinds of scaling are refused by name.
    pub fn rope_linear_factor(&self) -> Result<f32> {
        match self.metadata.str(&self.key("rope.scaling.type")) {
            Some("none") => Ok(1.0),
            None | Some("linear") => {
                let factor = self.optional_number("rope.scaling.factor")?;
                Ok(factor.or(self.optional_number("rope.scale_linear")?).unwrap_or(1.0))
            }
            Some(other) => {
                let message =
                    format!("rotary scaling of type {other:?} is not supported for this architecture");
                Err(Error::unsupported_model(message).key(self.key("rope.scaling.type")))
            }
        }
    }
}
