//! Attention over the paged cache, against candle's softmax(scale·QKᵀ + mask)·V in f32.

mod support;

use std::ops::Range;
use support::models::load_fixture;
use support::numbers::{largest_error, numbers};
use support::oracles;
use wisplm::cpu::cache::{Layer, PAGE};
use wisplm::cpu::kernels::attention::{Attention, Scratch};
use wisplm::cpu::{Cache, Executor, KvType, Loading};
use wisplm::plan;

/// What 16 bits below the largest of 64 values, in keys, values and queries, may make of scores of size 8 and values of
/// size 2; probabilities have at least 10 bits.
const SIXTEEN: f32 = 6e-4;
/// The same with 8 bits.
const EIGHT: f32 = 8e-2;

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
    kv_type: KvType,
}

const PLAIN: Case = Case {
    heads: 4,
    cache_heads: 2,
    dim: 64,
    start: 0,
    rows: 33,
    window: None,
    softcap: None,
    causal: true,
    kv_type: KvType::F16,
};

impl Case {
    fn scale(&self) -> f32 {
        1.0 / (self.dim as f32).sqrt()
    }

    fn plan(&self) -> plan::Cache {
        plan::Cache { heads: self.cache_heads, dim: self.dim, window: self.window }
    }

    fn cache(&self) -> Cache {
        Cache::new(&[self.plan()], &[], self.kv_type)
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

    /// The cache with all positions stored.
    fn filled(&self, [_, k, v]: &[Vec<f32>; 3]) -> Cache {
        let mut cache = self.cache();
        let layer = &mut cache.layers[0];
        let width = self.cache_heads * self.dim;
        for (position, (k, v)) in k.chunks_exact(width).zip(v.chunks_exact(width)).enumerate() {
            layer.store(position, k, v).unwrap();
        }
        layer.retire(self.start);
        cache
    }

    /// What the kernel computes of some heads and rows.
    fn run_part(&self, layer: &Layer, q: &[f32], part: Range<usize>, rows: Range<usize>) -> Vec<f32> {
        let Case { heads, softcap, causal, .. } = *self;
        let (scale, stride, start) = (self.scale(), heads * self.dim, self.start + rows.start);
        let attention = Attention { layer, heads, scale, softcap, causal, start, stride };
        // The output is overwritten, whatever was there.
        let mut out = vec![f32::NAN; rows.len() * part.len() * self.dim];
        attention.run(part, rows.len(), &q[rows.start * stride..], &mut out, &mut Scratch::default());
        out
    }

    /// What the kernel computes.
    fn run(&self, inputs: &[Vec<f32>; 3]) -> Vec<f32> {
        self.run_part(&self.filled(inputs).layers[0], &inputs[0], 0..self.heads, 0..self.rows)
    }

    /// What candle computes.
    fn candle(&self, [q, k, v]: &[Vec<f32>; 3]) -> Vec<f32> {
        let Case { heads, cache_heads, dim, window, softcap, causal, .. } = *self;
        let oracle =
            oracles::Attention { heads, cache_heads, dim, scale: self.scale(), window, softcap, causal };
        oracle.of(self.start, [q, k, v]).unwrap()
    }

    fn check(&self) {
        let inputs = self.inputs();
        let want = self.candle(&inputs);
        for (kv_type, tolerance) in [(KvType::F16, SIXTEEN), (KvType::Q8_0, EIGHT)] {
            let case = Case { kv_type, ..*self };
            let error = largest_error(&case.run(&inputs), &want);
            assert!(error <= tolerance, "{case:?}: off by {error}");
        }
    }
}

/// Lengths on both sides of one tile, of several and of a page, from the beginning and after a prefix.
const PLACES: [(usize, usize); 13] = [
    (0, 1),
    (0, 31),
    (0, 32),
    (0, 33),
    (0, 100),
    (30, 4),
    (31, 1),
    (32, 1),
    (33, 31),
    (95, 2),
    (130, 7),
    (255, 3),
    (511, 1),
];

#[test]
fn heads_are_grouped_and_tiles_joined() {
    for (heads, cache_heads) in [(4, 4), (4, 2), (9, 3), (14, 2)] {
        for dim in [24, 32, 64, 80, 96, 128, 256, 512] {
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
    let large = |x: Vec<f32>| x.iter().map(|x| x * 64.0).collect();
    let inputs = [large(q), large(k), v];
    let (got, want) = (case.run(&inputs), case.candle(&inputs));
    // Where two scores are as close as 2⁻¹² of their size they may change places: in few of 280 queries.
    let wrong =
        got.chunks(32).zip(want.chunks(32)).filter(|(got, want)| largest_error(got, want) > 0.05).count();
    assert!(wrong <= 5 && got.iter().all(|x| x.abs() <= 2.001), "{wrong} queries");
}

/// Values of any size stay in proportion; what is no number becomes zero, and the cache stays finite.
#[test]
fn the_cache_stays_finite() {
    for kv_type in [KvType::F16, KvType::Q8_0] {
        let case = Case { rows: 3, kv_type, ..PLAIN };
        let [q, k, _] = case.inputs();
        for (v, want) in [(1e30, 1e30), (1e-20, 1e-20), (0.0, 0.0), (f32::NAN, 0.0), (f32::INFINITY, 0.0)] {
            let v = vec![v; k.len()];
            let out = case.run(&[q.clone(), k.clone(), v.clone()]);
            assert!(
                out.iter().all(|x| (x - want).abs() <= want * 0.005),
                "{kv_type:?}, {v:?}: {:?}",
                &out[..4]
            );
            assert!(case.run(&[q.clone(), v.clone(), k.clone()]).iter().all(|x| x.is_finite()));
            assert!(
                case.run(&[v[..q.len().min(v.len())].to_vec().repeat(2), k.clone(), k.clone()])
                    .iter()
                    .all(|x| x.is_finite())
            );
        }
    }
}

/// Heads and rows can be computed together or apart, and positions can be stored row by row: the bits are the same.
#[test]
fn bits_do_not_depend_on_splits() {
    for kv_type in [KvType::F16, KvType::Q8_0] {
        for (heads, cache_heads, dim, window, softcap) in [
            (9, 3, 64, None, None),
            (4, 1, 256, Some(40), None),
            (14, 2, 80, Some(300), Some(5.0)),
            (3, 3, 24, None, None),
        ] {
            let case =
                Case { heads, cache_heads, dim, window, softcap, start: 230, rows: 90, kv_type, ..PLAIN };
            let inputs = case.inputs();
            let cache = case.filled(&inputs);
            let whole = case.run_part(&cache.layers[0], &inputs[0], 0..heads, 0..case.rows);
            for (row_step, head_step) in [(1, heads), (7, 1), (90, 2), (32, 5), (1, 4)] {
                for row in (0..case.rows).step_by(row_step) {
                    let rows = row..(row + row_step).min(case.rows);
                    for head in (0..heads).step_by(head_step) {
                        let part = head..(head + head_step).min(heads);
                        let got = case.run_part(&cache.layers[0], &inputs[0], part.clone(), rows.clone());
                        for (row, got) in rows.clone().zip(got.chunks_exact(part.len() * dim)) {
                            let want = &whole[(row * heads + head) * dim..][..got.len()];
                            let same =
                                got.iter().zip(want).all(|(got, want)| got.to_bits() == want.to_bits());
                            assert!(same, "{case:?}: row {row}, heads {part:?}");
                        }
                    }
                }
            }
            // Before later positions were stored.
            let mut cache = case.cache();
            let layer = &mut cache.layers[0];
            let width = cache_heads * dim;
            for (position, (k, v)) in
                inputs[1].chunks_exact(width).zip(inputs[2].chunks_exact(width)).enumerate()
            {
                layer.store(position, k, v).unwrap();
                if let Some(row) = position.checked_sub(case.start) {
                    let got = case.run_part(layer, &inputs[0], 0..heads, row..row + 1);
                    assert_eq!(got, whole[row * heads * dim..][..got.len()], "{case:?}: row {row}");
                }
            }
        }
    }
}

#[test]
fn pages_come_as_positions_are_stored() {
    for kv_type in [KvType::F16, KvType::Q8_0] {
        let case = Case { rows: 600, kv_type, ..PLAIN };
        let inputs = case.inputs();
        let width = case.cache_heads * case.dim;
        let mut cache = case.cache();
        assert_eq!(cache.bytes(), 0);
        let rows = inputs[1].chunks_exact(width).zip(inputs[2].chunks_exact(width));
        for (position, (k, v)) in rows.enumerate() {
            cache.layers[0].store(position, k, v).unwrap();
            let pages = position / PAGE + 1;
            assert_eq!(cache.layers[0].len(), position + 1);
            assert_eq!(cache.bytes(), pages * kv_type.page_bytes(&case.plan()), "{position}");
        }
    }
    let bytes = |kv_type: KvType| kv_type.page_bytes(&PLAIN.plan()) as f32 / (PAGE * 2 * 2 * 64) as f32;
    assert_eq!(bytes(KvType::F16), 2.0 + 4.0 / 64.0, "a scale per 64 values");
    assert_eq!(bytes(KvType::Q8_0), 1.0 + 4.0 / 32.0, "a scale per 32 values");
}

/// Token by token, a windowed layer holds few pages, and gives the bits of one that frees none.
#[test]
fn windowed_layers_free_pages_and_answer_the_same() {
    let width = PLAIN.cache_heads * PLAIN.dim;
    for window in [1, 24, 32, 40, 256, 300] {
        let case = Case { rows: 800, window: Some(window), ..PLAIN };
        let [q, k, v] = case.inputs();
        let (mut kept, mut freed) = (case.cache(), case.cache());
        for position in 0..case.rows {
            let at = position * width..(position + 1) * width;
            let mut outs = vec![];
            for (cache, frees) in [(&mut kept, false), (&mut freed, true)] {
                let layer = &mut cache.layers[0];
                layer.store(position, &k[at.clone()], &v[at.clone()]).unwrap();
                if frees {
                    layer.retire(position);
                }
                outs.push(case.run_part(layer, &q, 0..case.heads, position..position + 1));
            }
            assert_eq!(outs[0], outs[1], "window {window}, position {position}");
            let pages = freed.bytes() / KvType::F16.page_bytes(&case.plan());
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
            assert!(most <= capacity, "{name}: {most} bytes, announced {capacity}");
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
    // Two bytes per value, and four per 64 values.
    assert_eq!(capacity, (1 << 32) + (1 << 27));
}
