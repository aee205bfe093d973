//! What ops should compute: candle's operations in f32, and formulas in f64 where candle has none.

use candle_core::{Device, IndexOp, Result, Tensor};
use candle_nn::{ops, rotary_emb};
use wisplm::cpu::kernels::delta_rule::Token;
use wisplm::plan::{Activation, Pairs};

pub fn tensor(values: &[f32], shape: &[usize]) -> Tensor {
    Tensor::from_slice(values, shape, &Device::Cpu).unwrap()
}

pub fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// Norms of runs as long as the weight; without a bias by the mean square.
pub fn norm(x: &[f32], weight: &[f32], bias: Option<&[f32]>, eps: f32) -> Vec<f32> {
    let width = weight.len();
    let (x, weight) = (tensor(x, &[x.len() / width, width]), tensor(weight, &[width]));
    let normed = match bias {
        None => ops::rms_norm_slow(&x, &weight, eps),
        Some(bias) => ops::layer_norm_slow(&x, &weight, &tensor(bias, &[width]), eps),
    };
    values(&normed.unwrap())
}

/// Rows of heads of `dim` values, at positions from `start` on, of which as many turn as there are frequencies for.
pub fn rotated(
    x: &[f32],
    [heads, dim]: [usize; 2],
    start: usize,
    pairs: Pairs,
    frequencies: &[f32],
) -> Vec<f32> {
    let (rows, half) = (x.len() / (heads * dim), frequencies.len());
    let turning = 2 * half;
    let angle = |row: usize, i: usize| (start + row) as f64 * f64::from(frequencies[i]);
    let table = |f: fn(f64) -> f64| -> Vec<f32> {
        (0..rows).flat_map(|row| (0..half).map(move |i| f(angle(row, i)) as f32)).collect()
    };
    let (cos, sin) = (tensor(&table(f64::cos), &[rows, half]), tensor(&table(f64::sin), &[rows, half]));
    let x = tensor(x, &[1, rows, heads, dim]).transpose(1, 2).unwrap();
    let head = x.i((.., .., .., ..turning)).unwrap().contiguous().unwrap();
    let head = match pairs {
        Pairs::Interleaved => rotary_emb::rope_i(&head, &cos, &sin),
        Pairs::Halves => rotary_emb::rope(&head, &cos, &sin),
    };
    let all = if turning == dim {
        head.unwrap()
    } else {
        Tensor::cat(&[head.unwrap(), x.i((.., .., .., turning..)).unwrap().contiguous().unwrap()], 3).unwrap()
    };
    values(&all.transpose(1, 2).unwrap().contiguous().unwrap())
}

pub const ACTIVATIONS: [Activation; 5] =
    [Activation::Silu, Activation::Sigmoid, Activation::GeluTanh, Activation::GeluErf, Activation::Tanh];

pub fn activated(f: Activation, x: &[f32]) -> Vec<f32> {
    let x = tensor(x, &[x.len()]);
    let y = match f {
        Activation::Silu => x.silu(),
        Activation::Sigmoid => ops::sigmoid(&x),
        Activation::GeluTanh => x.gelu(),
        Activation::GeluErf => x.gelu_erf(),
        Activation::Tanh => x.tanh(),
    };
    values(&y.unwrap())
}

/// The mean of rows, of length 1 or as it is.
pub fn mean(x: &[f32], width: usize, normalize: bool) -> Vec<f32> {
    let sum = |c: usize| x.iter().skip(c).step_by(width).map(|x| f64::from(*x)).sum::<f64>();
    let mean: Vec<f64> = (0..width).map(|c| sum(c) * width as f64 / x.len() as f64).collect();
    let length = mean.iter().map(|x| x * x).sum::<f64>().sqrt().max(1e-12);
    mean.iter().map(|x| (if normalize { x / length } else { *x }) as f32).collect()
}

/// Rows of x times a matrix whose rows are as long: each sum in f64.
pub fn products(x: &[f32], weights: &[f32], cols: usize) -> Vec<f32> {
    let dot =
        |a: &[f32], b: &[f32]| -> f64 { a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum() };
    x.chunks_exact(cols).flat_map(|x| weights.chunks_exact(cols).map(|w| dot(w, x) as f32)).collect()
}

/// An attention over all positions, of which the last ones have queries.
#[derive(Debug, Clone, Copy)]
pub struct Attention {
    pub heads: usize,
    pub cache_heads: usize,
    pub dim: usize,
    pub scale: f32,
    pub window: Option<usize>,
    pub softcap: Option<f32>,
    pub causal: bool,
}

impl Attention {
    /// softmax(scale·QKᵀ + mask)·V of the queries of rows from position `start` on.
    pub fn of(&self, start: usize, [q, k, v]: [&[f32]; 3]) -> Result<Vec<f32>> {
        let Attention { heads, cache_heads, dim, scale, window, softcap, causal } = *self;
        let (rows, n) = (q.len() / (heads * dim), k.len() / (cache_heads * dim));
        let device = &Device::Cpu;
        let heads_first =
            |x: &[f32], rows, heads| Tensor::from_slice(x, (rows, heads, dim), device)?.transpose(0, 1);
        let group = heads / cache_heads;
        let shared = |x: &[f32]| {
            let x = heads_first(x, n, cache_heads)?.contiguous()?.unsqueeze(1)?;
            x.expand((cache_heads, group, n, dim))?.contiguous()?.reshape((heads, n, dim))
        };
        let (q, k, v) = (heads_first(q, rows, heads)?.contiguous()?, shared(k)?, shared(v)?);
        let mut scores = (q.matmul(&k.t()?.contiguous()?)? * f64::from(scale))?;
        if let Some(cap) = softcap.map(f64::from) {
            scores = ((scores / cap)?.tanh()? * cap)?;
        }
        let seen = |p: usize, k: usize| (!causal || k <= p) && window.is_none_or(|window| p < k + window);
        let mask: Vec<f32> = (0..rows)
            .flat_map(|row| (0..n).map(move |k| if seen(start + row, k) { 0.0 } else { f32::NEG_INFINITY }))
            .collect();
        let scores = scores.broadcast_add(&Tensor::from_vec(mask, (1, rows, n), device)?)?;
        ops::softmax_last_dim(&scores)?.matmul(&v)?.transpose(0, 1)?.contiguous()?.flatten_all()?.to_vec1()
    }
}

/// Σ_j weight(c, j)·x_{t−J+1+j}[c] of all rows t, before the first of which there are zeros.
pub fn convolved(x: &[f32], width: usize, taps: usize, weight: impl Fn(usize, usize) -> f32) -> Vec<f32> {
    let input = |t: usize, c: usize| t.checked_sub(taps - 1).map_or(0.0, |row| x[row * width + c]);
    let sum = |t: usize, c: usize| -> f64 {
        (0..taps).map(|j| f64::from(weight(c, j)) * f64::from(input(t + j, c))).sum()
    };
    (0..x.len() / width)
        .flat_map(|t| (0..width).map(move |c| (t, c)))
        .map(|(t, c)| sum(t, c) as f32)
        .collect()
}

/// e^(a·ln(1 + eˣ))
pub fn decay(a: f32, x: f32) -> f64 {
    let x = f64::from(x);
    (f64::from(a) * (x.max(0.0) + (-x.abs()).exp().ln_1p())).exp()
}

/// σ(x)
pub fn rate(x: f32) -> f64 {
    1.0 / (1.0 + (-f64::from(x)).exp())
}

/// S *= decay; δ = rate·(v − Sᵀk); S += k·δᵀ; out = Sᵀq, of a head's rows.
pub fn delta_rule(state: &mut [f64], dim: usize, tokens: &[Token]) -> Vec<f32> {
    let mut out = Vec::new();
    for Token { q, k, v, decay, rate } in tokens {
        state.iter_mut().for_each(|value| *value *= f64::from(*decay));
        for c in 0..dim {
            let column = |x: &[f32], state: &[f64]| -> f64 {
                x.iter().enumerate().map(|(i, x)| f64::from(*x) * state[i * dim + c]).sum()
            };
            let change = f64::from(*rate) * (f64::from(v[c]) - column(k, state));
            k.iter().enumerate().for_each(|(i, k)| state[i * dim + c] += f64::from(*k) * change);
            out.push(column(q, state) as f32);
        }
    }
    out
}
