//! Ops by themselves on a GPU: plans whose inputs are rows of tables.

use super::numbers::largest_error;
use super::products::Table;
use std::ops::Range;
use std::rc::Rc;
use wisplm::cpu::{Activations, KvType};
use wisplm::executor::{Cache, Executor};
use wisplm::gguf::TensorInfo;
use wisplm::gpu::{self, Gpu};
use wisplm::plan::{Builder, Head, Op, SlotId};

/// What a plan is run with.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    pub kv_type: KvType,
    pub context: usize,
    pub causal: bool,
    pub sequences: usize,
    /// Bytes of a table that come at a time.
    pub chunk: usize,
}

pub const PLAIN: Setting =
    Setting { kv_type: KvType::F16, context: 128, causal: true, sequences: 1, chunk: usize::MAX };

/// Steps of one row, of few and of many: on both sides of a tile of 16, and of 32.
pub const STEPS: [usize; 6] = [1, 2, 15, 16, 17, 33];
/// All of their rows.
pub const ROWS: usize = 84;

/// Ops on a GPU, and sequences that run through them.
pub struct Trial {
    gpu: Rc<Gpu>,
    executor: Executor,
    caches: Vec<Cache>,
}

impl Trial {
    /// The ops that `build` writes over some tables.
    pub fn new(
        gpu: &Rc<Gpu>,
        tables: &[&Table],
        setting: Setting,
        build: impl Fn(&mut Builder) -> Head,
    ) -> Self {
        let infos: Vec<TensorInfo> = tables.iter().map(|table| table.info.clone()).collect();
        let mut builder = Builder::new(&infos);
        let head = build(&mut builder);
        let plan = builder.finish(head, setting.context, setting.causal);
        let mut loading = gpu::Loading::new(gpu);
        for Table { info, bytes, .. } in tables {
            let mut offset = 0;
            for part in bytes.chunks(setting.chunk) {
                loading.push(info, offset, part).unwrap();
                offset += part.len() as u64;
            }
        }
        let weights = loading.finish(&plan, Activations::Auto).unwrap();
        let executor = gpu::Executor::new(plan, weights, setting.kv_type).unwrap();
        let executor = Executor::Gpu(Box::new(executor));
        let caches = (0..setting.sequences).map(|_| executor.new_cache()).collect();
        Trial { gpu: Rc::clone(gpu), executor, caches }
    }

    /// Takes each sequence on by some tokens, and answers the states of all rows and how many dispatches they took.
    pub fn step(&mut self, batch: &[&[u32]]) -> (Vec<f32>, u64) {
        self.begin(batch);
        let (mut states, rows) = (vec![], batch.iter().map(|tokens| tokens.len()).sum());
        let before = self.gpu.counts().dispatches;
        assert!(self.executor.hidden(0..rows, &mut states).unwrap());
        (states, self.gpu.counts().dispatches - before)
    }

    /// The same of logits.
    pub fn logits(&mut self, tokens: &[u32]) -> (Vec<f32>, u64) {
        self.begin(&[tokens]);
        let before = self.gpu.counts().dispatches;
        let mut logits = vec![];
        assert!(self.executor.logits(0..tokens.len(), &mut logits).unwrap());
        (logits, self.gpu.counts().dispatches - before)
    }

    /// The same of means of the states of some rows, and how many bytes were read back for them.
    pub fn means(&mut self, tokens: &[u32], ranges: &[Range<usize>], normalize: bool) -> (Vec<f32>, u64) {
        self.begin(&[tokens]);
        let (mut means, before) = (vec![], self.gpu.counts().read);
        assert!(self.executor.means(ranges, normalize, &mut means).unwrap());
        (means, self.gpu.counts().read - before)
    }

    /// Has all sequences begin anew.
    pub fn rewind(&mut self) {
        assert!(self.caches.iter_mut().all(|cache| cache.rewind(0)));
    }

    fn begin(&mut self, batch: &[&[u32]]) {
        let Trial { executor, caches, .. } = self;
        let mut sequences: Vec<_> = caches.iter_mut().zip(batch.iter().copied()).collect();
        executor.begin(&mut sequences).unwrap();
        let mut caches: Vec<&mut Cache> = caches.iter_mut().take(batch.len()).collect();
        assert!(executor.advance(&mut caches, &mut || false).unwrap());
    }

    /// Takes tokens 0, 1, … in steps of so many, of which each row is to become its row of `want`. Answers the dispatches of
    /// each step.
    pub fn follow(&mut self, name: &str, steps: &[usize], want: &[f32], tolerance: f32) -> Vec<u64> {
        let all: usize = steps.iter().sum();
        let (width, mut first, mut dispatches) = (want.len() / all, 0, vec![]);
        for rows in steps {
            let tokens: Vec<u32> = (first..first + rows).map(|token| token as u32).collect();
            let (got, count) = self.step(&[&tokens]);
            let error = largest_error(&got, &want[first * width..(first + rows) * width]);
            assert!(error <= tolerance, "{name}, {rows} rows from {first}: off by {error}");
            dispatches.push(count);
            first += rows;
        }
        dispatches
    }
}

/// A slot with each token's row of a table.
pub fn given(b: &mut Builder, table: &Table) -> SlotId {
    let [rows, cols] = [table.info.rows() as usize, table.info.cols() as usize];
    let out = b.slot(cols);
    let table = b.matrix(&table.info.name, rows, cols).unwrap();
    b.push(Op::Embed { table, scale: 1.0, out });
    out
}
