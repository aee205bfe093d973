//! Attention on a GPU against candle's over keys and values that are rounded as they are stored: every form of the
//! kernel, at places where tiles, groups of threads and the rings of windows end.

use super::formats::FORMATS;
use super::numbers::{largest_error, numbers};
use super::ops::{PLAIN, Setting, Trial, given};
use super::oracles;
use super::products::{Table, table_of};
use std::ops::Range;
use std::rc::Rc;
use wisplm::cpu::KvType;
use wisplm::gpu::Gpu;
use wisplm::plan::{Builder, Cache, Head, Norm, Op, Pairs, Rope, SlotId};

/// An attention with what may stand before it.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    heads: usize,
    cache_heads: usize,
    dim: usize,
    window: Option<usize>,
    softcap: Option<f32>,
    kv_type: KvType,
    causal: bool,
    /// Whether heads of queries and keys are normalized.
    normed: bool,
    /// Which pairs of them turn, and how many.
    turned: Option<(Pairs, usize)>,
}

const USUAL: Case = Case {
    heads: 4,
    cache_heads: 2,
    dim: 64,
    window: None,
    softcap: None,
    kv_type: KvType::F16,
    causal: true,
    normed: false,
    turned: None,
};

const BYTES: Case = Case { kv_type: KvType::Q8_0, ..USUAL };

/// What norms and rotations before it may be.
const BEFORE: [(bool, Option<(Pairs, usize)>); 5] = [
    (true, None),
    (false, Some((Pairs::Halves, 32))),
    (false, Some((Pairs::Interleaved, 32))),
    (true, Some((Pairs::Halves, 12))),
    (true, Some((Pairs::Interleaved, 12))),
];

/// Rows of steps: from the first position; to both sides of 64 keys and of 256; over the place, 280, where the ring of a
/// window of 24 begins anew.
const STEPS: [usize; 17] = [1, 2, 15, 16, 17, 12, 1, 1, 1, 33, 156, 1, 1, 1, 22, 1, 33];
/// All of their rows.
const ROWS: usize = 314;
const CONTEXT: usize = 320;

/// Decoders of all kinds.
pub fn decoders() -> Vec<Case> {
    let mut cases = vec![];
    for usual in [USUAL, BYTES] {
        cases.extend([5, 16, 80, 128, 256].map(|dim| Case { dim, ..usual }));
        cases.extend([(4, 4), (9, 3), (4, 1)].map(|(heads, cache_heads)| Case {
            heads,
            cache_heads,
            ..usual
        }));
        cases.extend([1, 24].map(|window| Case { window: Some(window), ..usual }));
        cases.push(Case { softcap: Some(5.0), window: Some(24), ..usual });
        cases.extend(BEFORE.map(|(normed, turned)| Case { normed, turned, ..usual }));
    }
    cases
}

/// Some of those that nothing stands before.
pub fn alone() -> Vec<Case> {
    decoders().into_iter().filter(|case| !case.is_prepared()).step_by(3).collect()
}

/// Encoders, which see what comes after, too.
pub fn encoders() -> Vec<Case> {
    let of =
        |usual: Case| [16, 64, 80].map(|dim| Case { heads: 3, cache_heads: 3, dim, causal: false, ..usual });
    [USUAL, BYTES].into_iter().flat_map(of).collect()
}

impl Case {
    fn frequencies(&self) -> Vec<f32> {
        let count = self.turned.map_or(0, |(_, pairs)| pairs);
        (0..count).map(|i| 0.7f32.powi(i as i32)).collect()
    }

    /// Queries, keys and values, large enough that some keys win by far.
    fn tables(&self, rows: usize) -> [Table; 3] {
        let Case { heads, cache_heads, dim, .. } = *self;
        let of = |(name, heads, seed)| {
            let values = numbers(rows * heads * dim, seed).iter().map(|x| x * 2.0).collect();
            table_of(name, FORMATS[0], heads * dim, values)
        };
        [("q", heads, 1), ("k", cache_heads, 2), ("v", cache_heads, 3)].map(of)
    }

    /// Weights of the norms of queries and keys.
    fn weights(&self) -> [Table; 2] {
        [("nq", 4), ("nk", 5)]
            .map(|(name, seed)| table_of(name, FORMATS[0], self.dim, numbers(self.dim, seed)))
    }

    /// Whether anything stands before it.
    fn is_prepared(&self) -> bool {
        self.normed || self.turned.is_some()
    }

    fn scale(&self) -> f32 {
        1.0 / (self.dim as f32).sqrt()
    }

    /// How far a result may be off. Sums of some hundred products have another order; exponentials and tangents are off by
    /// some units of the last place, times scores of size 8. What is rounded after a norm or a rotation, or in parts so small
    /// that a quotient's last bit decides, may be rounded the other way: a unit of one of a key's numbers.
    fn tolerance(&self) -> f32 {
        match (self.kv_type, self.is_prepared()) {
            (KvType::F16, _) => 1e-4,
            (KvType::Q8_0, false) => 3e-5,
            (KvType::Q8_0, true) => 1e-2,
        }
    }

    /// What a sequence that has these rows of the tables is to answer.
    fn oracle(&self, tables: &[Table; 3], rows: Range<usize>) -> Vec<f32> {
        let Case { heads, cache_heads, dim, window, softcap, causal, .. } = *self;
        let part = |table: &Table| {
            let cols = table.info.cols() as usize;
            table.weights[rows.start * cols..rows.end * cols].to_vec()
        };
        let [mut q, mut k, v] = [0, 1, 2].map(|i| part(&tables[i]));
        if self.normed {
            let [nq, nk] = self.weights();
            q = oracles::norm(&q, &nq.weights, None, 1e-5);
            k = oracles::norm(&k, &nk.weights, None, 1e-5);
        }
        if let Some((pairs, _)) = self.turned {
            let frequencies = self.frequencies();
            q = oracles::rotated(&q, [heads, dim], 0, pairs, &frequencies);
            k = oracles::rotated(&k, [cache_heads, dim], 0, pairs, &frequencies);
        }
        let [k, v] = [k, v].map(|values| stored(self.kv_type, dim, &values));
        let attention =
            oracles::Attention { heads, cache_heads, dim, scale: self.scale(), window, softcap, causal };
        attention.of(0, [&q, &k, &v]).unwrap()
    }

    fn trial(&self, gpu: &Rc<Gpu>, tables: &[Table; 3], sequences: usize) -> Trial {
        let Case { heads, cache_heads, dim, window, softcap, kv_type, causal, .. } = *self;
        let ([tq, tk, tv], [nq, nk]) = (tables, self.weights());
        let setting = Setting { kv_type, context: CONTEXT, causal, sequences, ..PLAIN };
        Trial::new(gpu, &[tq, tk, tv, &nq, &nk], setting, |b| {
            let [q, k, v] = [tq, tk, tv].map(|table| given(b, table));
            self.before(b, [q, k]);
            let (cache, out) = (b.cache(Cache { heads: cache_heads, dim, window }), b.slot(heads * dim));
            b.push(Op::Store { cache, k, v });
            b.push(Op::Attend { cache, heads, scale: self.scale(), softcap, q, out });
            Head::Hidden { x: out }
        })
    }

    fn before(&self, b: &mut Builder, slots: [SlotId; 2]) {
        let dim = self.dim;
        if self.normed {
            for (name, x) in ["nq", "nk"].into_iter().zip(slots) {
                let norm = Norm::Rms { weight: b.vector(name, dim).unwrap() };
                b.push(Op::Norm { norm, eps: 1e-5, width: dim, x, out: x });
            }
        }
        if let Some((pairs, _)) = self.turned {
            let frequencies = self.frequencies();
            let rope = b.rope(Rope { pairs, frequencies, factors: None, magnitude: 1.0, temperature: None });
            slots.into_iter().for_each(|x| b.push(Op::Rotate { rope, dim, x }));
        }
    }

    /// Dispatches of a step of many rows: three tables, what stands before, store and attention.
    fn unfused(&self) -> u64 {
        3 + 2 * u64::from(self.normed) + 2 * u64::from(self.turned.is_some()) + 2
    }
}

/// A sequence in steps of all sizes. Steps of one row are one dispatch with what stands before them; from position `long` on
/// two, since several workgroups share the keys.
pub fn decode(gpu: &Rc<Gpu>, case: &Case, long: usize) {
    let tables = case.tables(ROWS);
    let want = case.oracle(&tables, 0..ROWS);
    let mut trial = case.trial(gpu, &tables, 1);
    let dispatches = trial.follow(&format!("{case:?}"), &STEPS, &want, case.tolerance());
    let mut first = 0;
    for (rows, dispatches) in STEPS.into_iter().zip(dispatches) {
        let fused = 3 + 1 + u64::from(first >= long);
        let expected = if rows == 1 { fused } else { case.unfused() };
        assert_eq!(dispatches, expected, "{case:?}, {rows} rows from {first}");
        first += rows;
    }
}

/// Sequences of several lengths in one step: of some rows each, and of one.
pub fn decode_several(gpu: &Rc<Gpu>, case: &Case) {
    let (tables, lengths) = (case.tables(3 * 100), [70, 3, 34]);
    let parts = [0, 1, 2].map(|s| s * 100..s * 100 + 100);
    let want = parts.clone().map(|rows| case.oracle(&tables, rows));
    let mut trial = case.trial(gpu, &tables, 3);
    let width = case.heads * case.dim;
    let mut done = [0; 3];
    for turn in [lengths, [1, 1, 1], [1, 20, 0], [1, 1, 1]] {
        let tokens = [0, 1, 2].map(|s: usize| -> Vec<u32> {
            let first = parts[s].start + done[s];
            (first..first + turn[s]).map(|token| token as u32).collect()
        });
        let (got, _) = trial.step(&[&tokens[0], &tokens[1], &tokens[2]]);
        let rows = |s: usize| &want[s][done[s] * width..(done[s] + turn[s]) * width];
        let error = largest_error(&got, &[rows(0), rows(1), rows(2)].concat());
        assert!(error <= case.tolerance(), "{case:?}, {turn:?} rows after {done:?}: {error}");
        done = [0, 1, 2].map(|s| done[s] + turn[s]);
    }
}

/// Two layers' queries on the keys of one: the second attention stands alone in a step of one row, too.
pub fn decode_shared(gpu: &Rc<Gpu>, case: &Case) {
    let Case { heads, cache_heads, dim, window, softcap, kv_type, causal, .. } = *case;
    let [tq, tk, tv] = case.tables(ROWS);
    let setting = Setting { kv_type, context: CONTEXT, causal, ..PLAIN };
    let mut trial = Trial::new(gpu, &[&tq, &tk, &tv], setting, |b| {
        let [q, k, v, again] = [&tq, &tk, &tv, &tq].map(|table| given(b, table));
        let cache = b.cache(Cache { heads: cache_heads, dim, window });
        let [first, second] = [0, 1].map(|_| b.slot(heads * dim));
        b.push(Op::Store { cache, k, v });
        b.push(Op::Attend { cache, heads, scale: case.scale(), softcap, q, out: first });
        b.push(Op::Attend { cache, heads, scale: case.scale(), softcap, q: again, out: second });
        b.push(Op::Add { x: second, y: first });
        Head::Hidden { x: second }
    });
    let once = case.oracle(&[tq, tk, tv], 0..ROWS);
    let twice: Vec<f32> = once.iter().map(|x| 2.0 * x).collect();
    trial.follow(&format!("twice {case:?}"), &STEPS, &twice, 2.0 * case.tolerance());
}

/// Whole texts, alone and behind each other.
pub fn encode(gpu: &Rc<Gpu>, case: &Case) {
    let rows = [1, 2, 15, 16, 17, 33, 90];
    let tables = case.tables(90);
    let alone = rows.iter().map(std::slice::from_ref);
    for batch in alone.chain([&[1, 1][..], &rows]) {
        // Each text has the same first rows.
        let want: Vec<f32> = batch.iter().flat_map(|rows| case.oracle(&tables, 0..*rows)).collect();
        let tokens: Vec<Vec<u32>> = batch.iter().map(|rows| (0..*rows as u32).collect()).collect();
        let tokens: Vec<&[u32]> = tokens.iter().map(Vec::as_slice).collect();
        let (got, _) = case.trial(gpu, &tables, batch.len()).step(&tokens);
        let error = largest_error(&got, &want);
        assert!(error <= case.tolerance(), "{case:?}, texts of {batch:?}: {error}");
    }
}

/// Values as the cache has them: in parts of the largest of 64 in 16 bits, of 32 in 8.
fn stored(kv_type: KvType, dim: usize, values: &[f32]) -> Vec<f32> {
    let (len, parts) = match kv_type {
        KvType::F16 => (64, 32767.0),
        KvType::Q8_0 => (32, 127.0),
    };
    let rounded = |block: &[f32]| -> Vec<f32> {
        let largest = block.iter().fold(0.0_f32, |most, x| most.max(x.abs()));
        let code = |x: &f32| (0.5 + x / largest.max(1e-30) * parts).floor();
        block.iter().map(|x| code(x) / parts * largest).collect()
    };
    values.chunks_exact(dim).flat_map(|head| head.chunks(len)).flat_map(rounded).collect()
}
