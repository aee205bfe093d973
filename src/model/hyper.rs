//! The hyperparameters that families share, read from metadata and checked.

use crate::error::{Error, Result};
use crate::gguf::{Metadata, Value};
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
    pub heads: Sizes,
    /// Key/value heads, Hk.
    pub kv_heads: Sizes,
    /// Values per head, D.
    pub head_dim: usize,
    /// Inner width of the feed-forward part, F.
    pub feed_forward: Sizes,
    /// Tokens of the vocabulary, V.
    pub vocabulary: usize,
    /// Tokens that a sequence may have here.
    pub context_length: usize,
}

/// A size that layers have in common, or one for each.
#[derive(Debug, Clone)]
pub struct Sizes(Vec<usize>);

impl Sizes {
    /// Of a layer; past the last of a list, which is as long as there are layers, it is the first's.
    pub fn of(&self, layer: usize) -> usize {
        self.0.get(layer).or(self.0.first()).copied().unwrap_or_default()
    }

    fn iter(&self) -> impl Iterator<Item = usize> {
        self.0.iter().copied()
    }
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
            heads: Sizes(vec![]),
            kv_heads: Sizes(vec![]),
            head_dim: 0,
            feed_forward: Sizes(vec![]),
            vocabulary: 0,
            context_length: 0,
        };
        hyper.embedding = hyper.size("embedding_length")?;
        hyper.layers = hyper.size("block_count")?;
        hyper.heads = hyper.sizes("attention.head_count")?;
        hyper.kv_heads = match hyper.stated("attention.head_count_kv") {
            true => hyper.sizes("attention.head_count_kv")?,
            false => hyper.heads.clone(),
        };
        let lists = hyper.heads.0.len().max(hyper.kv_heads.0.len());
        for (heads, kv_heads) in (0..lists).map(|layer| (hyper.heads.of(layer), hyper.kv_heads.of(layer))) {
            if !heads.is_multiple_of(kv_heads) {
                let message = format!("{heads} query heads cannot share {kv_heads} key/value heads");
                return Err(Error::invalid_model(message).key(hyper.key("attention.head_count_kv")));
            }
        }
        // Where it is not stated, the first layer's heads tell it.
        hyper.head_dim =
            hyper.size_or("attention.key_length", (hyper.embedding / hyper.heads.of(0)).max(1))?;
        hyper.widths("attention.key_length", hyper.head_dim)?;
        hyper.same("attention.value_length", hyper.head_dim)?;
        hyper.feed_forward = hyper.sizes("feed_forward_length")?;
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

    /// Whether the file has a hyperparameter.
    pub fn stated(&self, name: &str) -> bool {
        self.metadata.contains(&self.key(name))
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
        if self.stated(name) { self.size(name) } else { Ok(default) }
    }

    /// A size that may be absent; 0 stands for absent.
    pub fn optional_size(&self, name: &str) -> Result<Option<usize>> {
        match self.metadata.u32(&self.key(name)) {
            Some(0) => Ok(None),
            _ if !self.stated(name) => Ok(None),
            _ => self.size(name).map(Some),
        }
    }

    /// A size of each layer, which the file states by one number for all or by a list of theirs.
    fn sizes(&self, name: &str) -> Result<Sizes> {
        let key = self.key(name);
        if !matches!(self.metadata.get(&key), Some(Value::Array(_))) {
            return Ok(Sizes(vec![self.size(name)?]));
        }
        let sizes = self.metadata.u32s(&key).unwrap_or_default();
        if sizes.len() != self.layers || !sizes.iter().all(|size| (1..=LARGEST).contains(&(*size as usize))) {
            let message = format!("a list of {} sizes must be there, one per layer", self.layers);
            return Err(Error::invalid_model(message).key(key));
        }
        Ok(Sizes(sizes.iter().map(|size| *size as usize).collect()))
    }

    /// Checks that queries of heads with `dim` values are not too wide; `name` is to blame if they are.
    pub fn widths(&self, name: &str, dim: usize) -> Result<()> {
        self.heads.iter().try_for_each(|heads| self.product(name, heads, dim).map(drop))
    }

    /// `count` times `size`, the width of something; `name` is to blame if nothing can be so wide.
    pub fn product(&self, name: &str, count: usize, size: usize) -> Result<usize> {
        count.checked_mul(size).filter(|width| *width <= LARGEST).ok_or_else(|| {
            let message = format!("{count} times {size} values are not possible");
            Error::invalid_model(message).key(self.key(name))
        })
    }

    /// Refuses a size that is stated and not `expected`, which is all that this version has.
    pub fn same(&self, name: &str, expected: usize) -> Result<()> {
        match self.size_or(name, expected)? {
            size if size == expected => Ok(()),
            size => Err(Error::unsupported_model(format!("{size} is not supported here, only {expected}"))
                .key(self.key(name))),
        }
    }

    /// Refuses mixtures of experts.
    pub fn no_experts(&self) -> Result<()> {
        let key = self.key("expert_count");
        if self.metadata.u32(&key).is_some_and(|count| count > 0) {
            return Err(Error::unsupported_model("mixtures of experts are not supported").key(key));
        }
        Ok(())
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

    /// A flag of each layer, if the file has a list of them; it must have one for each.
    pub fn layer_flags(&self, name: &str) -> Result<Option<&[bool]>> {
        let key = self.key(name);
        match self.metadata.bools(&key) {
            Some(flags) if flags.len() != self.layers => {
                let message = format!("there are {} flags for {} layers", flags.len(), self.layers);
                Err(Error::invalid_model(message).key(key))
            }
            flags => Ok(flags),
        }
    }

    /// Which layers have a sliding window: a period p (every p-th layer is global) or a list of flags.
    pub fn windowed_layers(&self, default_period: usize) -> Result<Vec<bool>> {
        let name = "attention.sliding_window_pattern";
        if let Some(flags) = self.layer_flags(name)? {
            return Ok(flags.to_vec());
        }
        let period = self.size_or(name, default_period)?;
        Ok((0..self.layers).map(|layer| layer % period < period - 1).collect())
    }

    /// Rotary embedding of base `base` over the first `rope.dimension_count` values of a head, positions
    /// divided by `factor`: frequencies base^(−2i/n) / factor.
    pub fn rope(&self, pairs: Pairs, base: f32, factor: f32) -> Result<Rope> {
        Ok(rope(pairs, self.rope_dims()?, base, factor))
    }

    /// The rotary embedding of layers with a window, whose heads have `head_dim` values, where they have their own.
    pub fn windowed_rope(&self, pairs: Pairs, head_dim: usize, base: f32) -> Result<Rope> {
        let dims = self.rotated("rope.dimension_count_swa", head_dim)?;
        Ok(rope(pairs, dims, self.optional_number("rope.freq_base_swa")?.unwrap_or(base), 1.0))
    }

    /// Values of a head that are rotated.
    pub fn rope_dims(&self) -> Result<usize> {
        self.rotated("rope.dimension_count", self.head_dim)
    }

    fn rotated(&self, name: &str, head_dim: usize) -> Result<usize> {
        let dims = self.size_or(name, head_dim)?;
        if dims > head_dim || !dims.is_multiple_of(2) {
            let message = format!("cannot rotate {dims} of {head_dim} values");
            return Err(Error::invalid_model(message).key(self.key(name)));
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

fn rope(pairs: Pairs, dims: usize, base: f32, factor: f32) -> Rope {
    let frequency =
        |i: usize| (f64::from(base).powf(-2.0 * i as f64 / dims as f64) / f64::from(factor)) as f32;
    let frequencies = (0..dims / 2).map(frequency).collect();
    Rope { pairs, frequencies, factors: None, magnitude: 1.0, temperature: None }
}
