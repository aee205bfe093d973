//! The plan: one description of a model's step that every executor runs.
//!
//! A family (`src/model/`) turns hyperparameters into a [`Plan`]: tensors by name and shape, activation slots,
//! and a short list of [`Op`]s over them. It says nothing of devices, block formats or fusion.

mod build;

pub use build::Builder;

use crate::error::{Error, Result};

/// Index into [`Plan::weights`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WeightId(pub usize);

/// Index into [`Plan::slots`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotId(pub usize);

/// Index into [`Plan::ropes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RopeId(pub usize);

/// What is computed for each token of a step, in order.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Tensors that the plan reads.
    pub weights: Vec<Weight>,
    /// Activations: f32 values per token.
    pub slots: Vec<usize>,
    /// Rotary embeddings in use.
    pub ropes: Vec<Rope>,
    /// The key/value caches. Several [`Op::Attend`]s may read one.
    pub caches: Vec<Cache>,
    /// What layers keep of a sequence beside keys and values: f32 values, zeros before its first token, that each
    /// step replaces. One per op that names it.
    pub states: Vec<usize>,
    pub ops: Vec<Op>,
    pub head: Head,
    /// Tokens that a sequence may have.
    pub context_length: usize,
    /// Whether a token sees only those before it. If not, a sequence is run at once.
    pub causal: bool,
}

/// A tensor of the file, or some rows of one: `rows` outputs × `cols` inputs. A vector has one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weight {
    pub name: String,
    /// The first of the tensor's rows; of its values, where it is a vector.
    pub first: usize,
    pub rows: usize,
    pub cols: usize,
}

/// What a step ends in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Head {
    /// `logits = weight · x`, then `cap·tanh(logits/cap)` if there is a cap. Computed for the rows asked for.
    Logits { weight: WeightId, x: SlotId, softcap: Option<f32> },
    /// The hidden state of every token.
    Hidden { x: SlotId },
    /// Scores of labels, to be read at a text's first token.
    Labels { x: SlotId },
}

impl Head {
    /// What is read at the end.
    pub fn slot(self) -> SlotId {
        let (Head::Logits { x, .. } | Head::Hidden { x } | Head::Labels { x }) = self;
        x
    }
}

/// Keys and values of one layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cache {
    pub heads: usize,
    /// Values per head.
    pub dim: usize,
    /// Tokens that stay visible: position k is seen from p while p − k < window.
    pub window: Option<usize>,
}

/// Which values of a head are rotated together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pairs {
    /// (2i, 2i + 1)
    Interleaved,
    /// (i, i + dims/2)
    Halves,
}

/// Rotary position embedding: pair i of a head is rotated by `position · frequencies[i] / factors[i]`.
#[derive(Debug, Clone, PartialEq)]
pub struct Rope {
    pub pairs: Pairs,
    /// Radians per position, one per pair; dimensions beyond twice their number pass unchanged.
    pub frequencies: Vec<f32>,
    /// A tensor of divisors, one per pair.
    pub factors: Option<WeightId>,
    /// Multiplies sine and cosine.
    pub magnitude: f32,
    /// Multiplies them, too: more and more from one stretch of positions to the next.
    pub temperature: Option<Temperature>,
}

/// 1 + β·ln(1 + ⌊position / length⌋), what queries are multiplied with at far positions (Ministral 3, Llama 4).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Temperature {
    pub beta: f32,
    pub length: usize,
}

impl Rope {
    /// What sine and cosine are multiplied with at a position.
    pub fn magnitude_at(&self, position: usize) -> f32 {
        let growth = |t: Temperature| 1.0 + t.beta * ((1 + position / t.length) as f32).ln();
        self.magnitude * self.temperature.map_or(1.0, growth)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// x·σ(x)
    Silu,
    /// σ(x) = 1 / (1 + e⁻ˣ)
    Sigmoid,
    /// 0.5·x·(1 + tanh(√(2/π)(x + 0.044715·x³)))
    GeluTanh,
    /// 0.5·x·(1 + erf(x/√2))
    GeluErf,
    Tanh,
}

/// Which row of a table is added to a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Row {
    /// The token's position in its sequence.
    Position,
    /// Always this row.
    Fixed(usize),
    /// Of texts that stand one after the other in a sequence, each ending in the token `separator`, the number of the
    /// one that the token is in; those from row `last` on share that.
    Text { separator: u32, last: usize },
}

impl Row {
    /// The row for the token at `position`, where the step has the tokens `before` it.
    pub fn index(self, position: usize, before: &[u32]) -> usize {
        match self {
            Row::Position => position,
            Row::Fixed(row) => row,
            Row::Text { separator, last } => {
                before.iter().filter(|token| **token == separator).count().min(last)
            }
        }
    }
}

/// What a slot is multiplied with.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Factor {
    /// A tensor of one value.
    Weight(WeightId),
    Number(f32),
}

/// How a norm centres and scales.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Norm {
    /// x / √(mean(x²) + ε) · weight
    Rms { weight: WeightId },
    /// x / √(mean(x²) + ε) · scale
    Even { scale: f32 },
    /// (x − mean(x)) / √(var(x) + ε) · weight + bias
    Layer { weight: WeightId, bias: WeightId },
}

/// One operation on every token of a step. Slots hold one row per token.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Op {
    /// `out = scale · table[token]`
    Embed { table: WeightId, scale: f32, out: SlotId },
    /// `x += table[row]`
    AddRow { table: WeightId, row: Row, x: SlotId },
    /// Each run of `width` values is normalized by itself; `x` and `out` may be the same slot.
    Norm { norm: Norm, eps: f32, width: usize, x: SlotId, out: SlotId },
    /// `out = weight · x (+ bias)`
    MatMul { weight: WeightId, bias: Option<WeightId>, x: SlotId, out: SlotId },
    /// Rotates each head of `dim` values in place.
    Rotate { rope: RopeId, dim: usize, x: SlotId },
    /// Appends this step's keys and values to a cache.
    Store { cache: usize, k: SlotId, v: SlotId },
    /// `out = softmax(scale·qK + mask)·V` per head, head h of `heads` reading cache head `h·cache.heads/heads`.
    Attend { cache: usize, heads: usize, scale: f32, softcap: Option<f32>, q: SlotId, out: SlotId },
    /// `x = f(x)`
    Activate { f: Activation, x: SlotId },
    /// `x = f(x) · y`
    Gate { f: Activation, x: SlotId, y: SlotId },
    /// `x += y`
    Add { x: SlotId, y: SlotId },
    /// `x *= by`
    Scale { by: Factor, x: SlotId },
    /// `out` = of each run of `run` values of `x`, as many as fill `out`, from the one numbered `first` on
    Part { x: SlotId, run: usize, first: usize, out: SlotId },
    /// A causal convolution of each column c by itself, in place: `x_t[c] = Σ_j weight[c, j] · x_{t−J+1+j}[c]` with J
    /// columns of `weight`. The state has J − 1 rows of x: the last inputs.
    Convolve { state: usize, weight: WeightId, x: SlotId },
    /// The gated delta rule (arXiv 2412.06464) per head of `dim` values of `v`: `S *= exp(a·softplus(decay))`,
    /// `δ = σ(rate)·(v − Sᵀk)`, `S += k·δᵀ`, `out = Sᵀq`. Head h of `v` has values h of `a`, `decay` and `rate`, and
    /// head `h mod n` of the n of `q` and `k`. The state has S of each head, `dim` × `dim`.
    DeltaRule(DeltaRule),
}

/// See [`Op::DeltaRule`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DeltaRule {
    pub state: usize,
    pub dim: usize,
    pub q: SlotId,
    pub k: SlotId,
    pub v: SlotId,
    pub decay: SlotId,
    pub rate: SlotId,
    pub a: WeightId,
    pub out: SlotId,
}

impl Rope {
    /// The frequencies divided by `factors`, which must be positive.
    pub fn scaled(&self, factors: Option<&[f32]>) -> Result<Vec<f32>> {
        let mut frequencies = self.frequencies.clone();
        for (frequency, factor) in frequencies.iter_mut().zip(factors.unwrap_or_default()) {
            if *factor <= 0.0 {
                return Err(Error::invalid_model(format!("a rotary factor of {factor} is not positive")));
            }
            *frequency /= factor;
        }
        Ok(frequencies)
    }
}

impl Plan {
    /// Refuses tokens that the model does not know.
    pub fn check_tokens(&self, tokens: &[u32]) -> Result<()> {
        let vocabulary = self.ops.iter().find_map(|op| match op {
            Op::Embed { table, .. } => Some(self.weight(*table).rows),
            _ => None,
        });
        if let Some(token) = tokens.iter().find(|token| **token as usize >= vocabulary.unwrap_or(0)) {
            return Err(Error::invalid_argument(format!("token {token} is not in the vocabulary")));
        }
        Ok(())
    }

    pub fn weight(&self, id: WeightId) -> &Weight {
        &self.weights[id.0]
    }

    pub fn slot(&self, id: SlotId) -> usize {
        self.slots[id.0]
    }

    /// Which weights are read as plain values. A table or product may have one row, too, and is a matrix.
    pub fn vectors(&self) -> Vec<bool> {
        let mut vectors = vec![false; self.weights.len()];
        let mut mark = |id: WeightId| vectors[id.0] = true;
        self.ropes.iter().filter_map(|rope| rope.factors).for_each(&mut mark);
        for op in &self.ops {
            match *op {
                Op::Norm { norm: Norm::Rms { weight }, .. } => mark(weight),
                Op::Norm { norm: Norm::Layer { weight, bias }, .. } => {
                    [weight, bias].into_iter().for_each(&mut mark)
                }
                Op::MatMul { bias: Some(bias), .. } => mark(bias),
                Op::Scale { by: Factor::Weight(weight), .. }
                | Op::Convolve { weight, .. }
                | Op::DeltaRule(DeltaRule { a: weight, .. }) => mark(weight),
                _ => {}
            }
        }
        vectors
    }

    /// Values per token of what the head reads.
    pub fn embedding_length(&self) -> usize {
        self.slot(self.head.slot())
    }
}
