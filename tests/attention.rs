//! Attention over the paged cache, against candle's softmax(scale·QKᵀ + mask)·V in f32.

mod support;

use candle_core::{Device, Tensor};
use candle_nn::ops::softmax_last_dim;
use support::models::load_fixture;
use support::numbers::{largest_error, numbers};
use wisplm::cpu::cache::PAGE;
use wisplm::cpu::kernels::attention::{Attention, Scratch};
use wisplm::cpu::{Cache, Executor, Loading};
use wisplm::plan;

/// Keys and values rounded to f16 as the cache has them: what remains is the order of f32 sums.
const ROUNDING: f32 = 2e-5;
/// Keys and values as they came. f16 keeps 11 bits: a key is off by 2⁻¹² of itself, a score of size 8 by at most
/// 2·10⁻³ and mostly far less, a value by 2⁻¹².
const HALF_CACHE: f32 = 2e-3;

/// One case: `rows` queries after `start` positions that are in the cache already.
#[derive(Debug, Clone, Copy)]
struct Case {
    heads: usize,
    cache_heads: usize,
    dim: usize,
    start: usize,
    rows: usize,
    window: Option<usize>,
    softcap: Option<f32>,
    causal: bool,
}

const PLAIN: Case =
    Case { heads: 4, cache_heads: 2, dim: 64, start: 0, rows: 33, window: None, softcap: None, causal: true };

impl Case {
    fn scale(&self) -> f32 {
        1.0 / (self.dim as f32).sqrt()
    }

    fn cache(&self) -> Cache {
        Cache::new(&[plan::Cache { heads: self.cache_heads, dim: self.dim, window: self.window }])
    }

    fn positions(&self) -> usize {
        self.start + self.rows
    }

    /// Queries of the rows, keys and values of all positions: large enough that some keys win by far.
    fn inputs(&self) -> [Vec<f32>; 3] {
        let twice = |n, seed| numbers(n, seed).iter().map(|x| x * 2.0).collect();
        let width = self.cache_heads * self.dim;
        [
            twice(self.rows * self.heads * self.dim, 1),
            twice(self.positions() * width, 2),
            twice(self.positions() * width, 3),
        ]
    }

    /// What the kernel computes.
    fn run(&self, [q, k, v]: &[Vec<f32>; 3]) -> Vec<f32> {
        let mut cache = self.cache();
        let layer = &mut cache.layers[0];
        let width = self.cache_heads * self.dim;
        for (position, (k, v)) in k.chunks_exact(width).zip(v.chunks_exact(width)).enumerate() {
            layer.store(position, k, v).unwrap();
        }
        layer.retire(self.start);
        let Case { heads, softcap, causal, start, .. } = *self;
        let (scale, stride) = (self.scale(), heads * self.dim);
        // The output is overwritten, whatever was there.
        let mut out = vec![f32::NAN; q.len()];
        Attention { layer, heads, scale, softcap, causal, start, stride }.run(
            0..heads,
            self.rows,
            q,
            &mut out,
            &mut Scratch::default(),
        );
        out
    }

    /// What candle computes.
    fn candle(&self, [q, k, v]: &[Vec<f32>; 3]) -> candle_core::Result<Vec<f32>> {
        let Case { heads, cache_heads, dim, start, rows, .. } = *self;
        let n = self.positions();
        let device = &Device::Cpu;
        let heads_first =
            |x: &[f32], rows, heads| Tensor::from_slice(x, (rows, heads, dim), device)?.transpose(0, 1);
        let group = heads / cache_heads;
        let shared = |x: &[f32]| {
            let x = heads_first(x, n, cache_heads)?.contiguous()?.unsqueeze(1)?;
            x.expand((cache_heads, group, n, dim))?.contiguous()?.reshape((heads, n, dim))
        };
        let (q, k, v) = (heads_first(q, rows, heads)?.contiguous()?, shared(k)?, shared(v)?);
        let mut scores = (q.matmul(&k.t()?.contiguous()?)? * f64::from(self.scale()))?;
        if let Some(cap) = self.softcap.map(f64::from) {
            scores = ((scores / cap)?.tanh()? * cap)?;
        }
        let seen =
            |p: usize, k: usize| (!self.causal || k <= p) && self.window.is_none_or(|window| p < k + window);
        let mask: Vec<f32> = (0..rows)
            .flat_map(|row| (0..n).map(move |k| if seen(start + row, k) { 0.0 } else { f32::NEG_INFINITY }))
            .collect();
        let scores = scores.broadcast_add(&Tensor::from_vec(mask, (1, rows, n), device)?)?;
        softmax_last_dim(&scores)?.matmul(&v)?.transpose(0, 1)?.contiguous()?.flatten_all()?.to_vec1()
    }

    fn check(&self) {
        let inputs = self.inputs();
        let got = self.run(&inputs);
        let halves = |x: &Vec<f32>| x.iter().map(|x| half::f16::from_f32(*x).to_f32()).collect();
        let [q, k, v] = &inputs;
        let rounded = self.candle(&[q.clone(), halves(k), halves(v)]).unwrap();
        let error = largest_error(&got, &rounded);
        assert!(error <= ROUNDING, "{self:?}: off by {error}");
        let error = largest_error(&got, &self.candle(&inputs).unwrap());
        assert!(error <= HALF_CACHE, "{self:?}: off by {error} with an exact cache");
    }
}

/// Lengths on both sides of one page and of several, from the beginning and after a prefix.
const PLACES: [(usize, usize); 11] =
    [(0, 1), (0, 31), (0, 32), (0, 33), (0, 100), (30, 4), (31, 1), (32, 1), (33, 31), (95, 2), (130, 7)];

#[test]
fn heads_are_grouped_and_pages_joined() {
    for (heads, cache_heads) in [(4, 4), (4, 2), (9, 3), (6, 1)] {
        for dim in [32, 64, 80, 256] {
            for (start, rows) in PLACES {
                Case { heads, cache_heads, dim, start, rows, ..PLAIN }.check();
            }
        }
    }
}

#[test]
fn windows_hide_what_is_behind_them() {
    for window in [1, 2, 24, 31, 32, 33, 64, 1000] {
        for (start, rows) in PLACES {
            Case { start, rows, window: Some(window), ..PLAIN }.check();
        }
    }
}

#[test]
fn encoders_see_what_comes_after() {
    for rows in [1, 5, 31, 32, 33, 64, 90] {
        for dim in [16, 32, 64] {
            Case { heads: 3, cache_heads: 3, dim, rows, causal: false, ..PLAIN }.check();
        }
    }
}

#[test]
fn scores_are_capped() {
    for softcap in [0.5, 5.0, 50.0] {
        for window in [None, Some(24)] {
            for (start, rows) in PLACES {
                Case { start, rows, window, softcap: Some(softcap), ..PLAIN }.check();
            }
        }
    }
}

/// Scores of ±10⁴ neither overflow nor lose the winner.
#[test]
fn far_scores_leave_one_winner() {
    let case = Case { dim: 32, rows: 70, ..PLAIN };
    let [q, k, v] = case.inputs();
    let large = |x: Vec<f32>| -> Vec<f32> { x.iter().map(|x| (x * 64.0).round()).collect() };
    // Whole numbers below 2¹¹ are exact in f16, and so are their products' sums in f32.
    let inputs = [large(q), large(k), v.iter().map(|x| half::f16::from_f32(*x).to_f32()).collect()];
    let error = largest_error(&case.run(&inputs), &case.candle(&inputs).unwrap());
    assert!(error <= ROUNDING, "off by {error}");
}

/// What does not fit f16 becomes its largest value instead of an infinity.
#[test]
fn the_cache_stays_finite() {
    let case = Case { rows: 3, ..PLAIN };
    let [q, k, _] = case.inputs();
    let v = vec![1e30; k.len()];
    assert!(case.run(&[q, k, v]).iter().all(|x| (x - 65504.0).abs() < 1.0));
}

#[test]
fn pages_come_as_positions_are_stored() {
    let case = Case { rows: 100, ..PLAIN };
    let [_, k, v] = case.inputs();
    let width = case.cache_heads * case.dim;
    let mut cache = case.cache();
    assert_eq!(cache.bytes(), 0);
    for (position, (k, v)) in k.chunks_exact(width).zip(v.chunks_exact(width)).enumerate() {
        cache.layers[0].store(position, k, v).unwrap();
        let pages = position / PAGE + 1;
        assert_eq!(cache.layers[0].len(), position + 1);
        assert_eq!(cache.bytes(), pages * PAGE * width * 2 * 2, "{position}: keys and values of two bytes");
    }
}

/// Token by token, a windowed layer holds two or three pages, and gives the bits of one that frees none.
#[test]
fn windowed_layers_free_pages_and_answer_the_same() {
    let width = PLAIN.cache_heads * PLAIN.dim;
    for window in [1, 24, 32, 40] {
        let case = Case { rows: 300, window: Some(window), ..PLAIN };
        let [q, k, v] = case.inputs();
        let (mut kept, mut freed) = (case.cache(), case.cache());
        let mut scratch = Scratch::default();
        for (position, q) in q.chunks_exact(case.heads * case.dim).enumerate() {
            let at = position * width..(position + 1) * width;
            let mut outs = [vec![0.0; q.len()], vec![0.0; q.len()]];
            for ((cache, out), frees) in [&mut kept, &mut freed].into_iter().zip(&mut outs).zip([false, true])
            {
                let layer = &mut cache.layers[0];
                layer.store(position, &k[at.clone()], &v[at.clone()]).unwrap();
                if frees {
                    layer.retire(position);
                }
                let Case { heads, softcap, causal, .. } = case;
                let (scale, stride, start) = (case.scale(), q.len(), position);
                Attention { layer, heads, scale, softcap, causal, start, stride }.run(
                    0..heads,
                    1,
                    q,
                    out,
                    &mut scratch,
                );
            }
            assert_eq!(outs[0], outs[1], "window {window}, position {position}");
            let pages = freed.bytes() / (PAGE * width * 2 * 2);
            assert!(
                pages <= window.div_ceil(PAGE) + 1,
                "window {window}, position {position}: {pages} pages"
            );
        }
    }
}

/// The cache of a whole model with windowed layers stays within what it announces, however the steps are cut.
#[test]
fn a_models_cache_stays_within_its_announcement() {
    for name in ["gemma3-0", "llama-0"] {
        let mut model = load_fixture(&format!("tiny/{name}.gguf"));
        let capacity = model.executor.cache_capacity();
        for step in [1, 100, 128] {
            let mut cache = model.executor.new_cache();
            let tokens: Vec<u32> = (0..512).map(|k| k * 7 % 256).collect();
            let mut most = 0;
            for tokens in tokens.chunks(step) {
                model.executor.begin(&mut [(&mut cache, tokens)]).unwrap();
                model.executor.advance(&mut [&mut cache], &mut || false).unwrap();
                most = most.max(cache.bytes());
            }
            assert_eq!(cache.len(), 512);
            assert!(most as u64 <= capacity, "{name}: {most} bytes, announced {capacity}");
            println!("{name}, {step} at a time: {most} bytes at most, announced {capacity}");
        }
    }
}

/// More than 2³² bytes are announced as such, also where a `usize` has 32 bits.
#[test]
fn large_caches_are_announced_in_full() {
    let mut b = plan::Builder::new(&[]);
    let x = b.slot(64);
    for _ in 0..16 {
        b.cache(plan::Cache { heads: 8, dim: 64, window: None });
    }
    let plan = b.finish(plan::Head::Hidden { x }, 131_072, true);
    let weights = Loading::default().finish(&plan).unwrap();
    let capacity: u64 = Executor::new(plan, weights).unwrap().cache_capacity();
    assert_eq!(capacity, 1 << 32);
}
