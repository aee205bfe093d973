//! What runs plans: the CPU's executor or the GPU's, behind one surface.
//!
//! A result of the GPU is there some time after it was asked for. So [`Executor::logits`] and [`Executor::hidden`]
//! answer whether it is; the CPU's always is, and natively the GPU is waited for. In a browser the caller asks again
//! when [`Executor::waiting`] has ended.

mod cache;
mod loading;

use crate::error::{Error, Result};
use crate::gpu::Signal;
use crate::plan::Plan;
use crate::{cpu, gpu};
use std::ops::Range;

pub use crate::gpu::{Draw, lowest};
pub use cache::Cache;
use cache::elsewhere;
pub use loading::Loading;

/// Rows whose logits the CPU computes together: the head, often a quarter of a model, is then read once for four.
const CPU_HEAD_ROWS: usize = 4;

/// Sequences that the GPU has memory for at a time.
pub const GPU_LANES: usize = 4;

/// A plan with its weights, ready to run.
pub enum Executor {
    Cpu(Box<cpu::Executor>),
    Gpu(Box<gpu::Executor>),
}

impl Executor {
    /// `"wasm"` or `"webgpu"`, as the page names it.
    pub fn device(&self) -> &'static str {
        match self {
            Executor::Cpu(_) => "wasm",
            Executor::Gpu(_) => "webgpu",
        }
    }

    /// The CPU's executor, where it is that: only it has threads.
    pub fn cpu(&self) -> Option<&cpu::Executor> {
        match self {
            Executor::Cpu(executor) => Some(executor),
            Executor::Gpu(_) => None,
        }
    }

    pub fn cpu_mut(&mut self) -> Option<&mut cpu::Executor> {
        match self {
            Executor::Cpu(executor) => Some(executor),
            Executor::Gpu(_) => None,
        }
    }

    /// The GPU's executor, where it is that.
    pub fn gpu(&self) -> Option<&gpu::Executor> {
        match self {
            Executor::Cpu(_) => None,
            Executor::Gpu(executor) => Some(executor),
        }
    }

    pub fn plan(&self) -> &Plan {
        match self {
            Executor::Cpu(executor) => executor.plan(),
            Executor::Gpu(executor) => executor.plan(),
        }
    }

    /// Goes on with a plan that has the same weights, caches and states, but other ops. Drops the step in progress.
    pub fn set_plan(&mut self, plan: Plan) -> Result<()> {
        match self {
            Executor::Cpu(executor) => executor.set_plan(plan),
            Executor::Gpu(executor) => executor.set_plan(plan),
        }
    }

    /// Bytes of the weights.
    pub fn weight_bytes(&self) -> u64 {
        match self {
            Executor::Cpu(executor) => executor.weight_bytes(),
            Executor::Gpu(executor) => executor.weight_bytes(),
        }
    }

    /// Bytes of the cache of a sequence that fills the context.
    pub fn cache_capacity(&self) -> u64 {
        match self {
            Executor::Cpu(executor) => executor.cache_capacity(),
            Executor::Gpu(executor) => executor.cache_capacity(),
        }
    }

    /// An empty cache for a sequence of this model.
    pub fn new_cache(&self) -> Cache {
        match self {
            Executor::Cpu(executor) => Cache::Cpu(executor.new_cache()),
            Executor::Gpu(executor) => Cache::Gpu(executor.new_cache()),
        }
    }

    /// A new sequence that holds the same tokens: what is stored in one from now on is not seen in the other. The CPU
    /// shares what neither has written since, the GPU copies what is stored.
    pub fn fork(&mut self, cache: &Cache) -> Result<Cache> {
        match (self, cache) {
            (Executor::Cpu(_), Cache::Cpu(cache)) => Ok(Cache::Cpu(cache.fork())),
            (Executor::Gpu(executor), Cache::Gpu(cache)) => executor.fork(cache).map(Cache::Gpu),
            _ => Err(elsewhere()),
        }
    }

    /// How sequences are saved: what one layout has saved another one does not understand.
    pub fn layout(&self) -> String {
        match self {
            Executor::Cpu(executor) => format!("cpu {:?}", executor.kv_type()),
            Executor::Gpu(executor) => executor.layout(),
        }
    }

    /// Appends what is stored of a sequence. Answers whether it is there; if not, it is to be asked for the same again.
    pub fn save(&mut self, cache: &Cache, out: &mut Vec<u8>) -> Result<bool> {
        match (self, cache) {
            (Executor::Cpu(_), Cache::Cpu(cache)) => {
                cache.save(out);
                Ok(true)
            }
            (Executor::Gpu(executor), Cache::Gpu(cache)) => executor.save(cache, out),
            _ => Err(elsewhere()),
        }
    }

    /// A sequence of `len` tokens of which this was saved. Bytes that cannot be that are an `integrity` error.
    pub fn restore(&mut self, len: usize, bytes: &[u8]) -> Result<Cache> {
        Ok(match self {
            Executor::Cpu(executor) => Cache::Cpu(executor.new_cache().restore(len, bytes)?),
            Executor::Gpu(executor) => Cache::Gpu(executor.restore(len, bytes)?),
        })
    }

    /// Whether sequences go back over all that a run usually adds. The rings of the GPU have a step more than a window.
    pub fn goes_back(&self) -> bool {
        let plan = self.plan();
        let windows = self.cpu().is_some() && plan.caches.iter().any(|cache| cache.window.is_some());
        plan.states.is_empty() && !windows
    }

    /// Frees what sequences that have ended leave to others.
    pub fn release(&mut self) {
        if let Executor::Gpu(executor) = self {
            executor.release();
        }
    }

    /// How many of `remaining` tokens the next step should take.
    pub fn step_tokens(&self, remaining: usize) -> usize {
        match self {
            Executor::Cpu(executor) => executor.step_tokens(remaining),
            Executor::Gpu(executor) => executor.step_tokens(remaining),
        }
    }

    /// Rows that a step of several sequences should have at most.
    pub fn step_rows(&self) -> usize {
        match self {
            Executor::Cpu(_) => cpu::STEP_TOKENS,
            Executor::Gpu(executor) => gpu::step_rows(executor.plan()),
        }
    }

    /// Sequences that a step should have at most: on the GPU each has memory for what is left of the context.
    pub fn lanes(&self) -> usize {
        match self {
            Executor::Cpu(_) => cpu::STEP_TOKENS,
            Executor::Gpu(_) => GPU_LANES,
        }
    }

    /// Rows that [`Self::scattered_logits`] should be asked for at once.
    pub fn scattered_rows(&self) -> usize {
        match self {
            Executor::Cpu(_) => CPU_HEAD_ROWS,
            Executor::Gpu(_) => 1,
        }
    }

    /// The logits of rows of the last step wherever they are, as [`Self::logits`].
    pub fn scattered_logits(&mut self, rows: &[usize], logits: &mut Vec<f32>) -> Result<bool> {
        match (self, rows) {
            (Executor::Cpu(executor), _) => executor.logits(rows.iter().copied(), logits).map(|()| true),
            (Executor::Gpu(executor), [row]) => executor.logits(*row..row + 1, logits),
            (Executor::Gpu(_), _) => Err(Error::internal("the GPU's rows are read one by one")),
        }
    }

    /// Rows whose logits should be asked for at once.
    pub fn head_rows(&self) -> usize {
        match self {
            Executor::Cpu(_) => CPU_HEAD_ROWS,
            Executor::Gpu(_) => gpu::HEAD_ROWS,
        }
    }

    /// Begins a step: for each sequence, tokens that follow what its cache holds. Its rows are the tokens, one
    /// sequence after the other. A step in progress is dropped.
    pub fn begin(&mut self, batch: &mut [(&mut Cache, &[u32])]) -> Result<()> {
        match self {
            Executor::Cpu(executor) => {
                let batch = batch.iter_mut().map(|(cache, tokens)| Ok((cache.on_cpu()?, *tokens)));
                executor.begin(&mut batch.collect::<Result<Vec<_>>>()?)
            }
            Executor::Gpu(executor) => {
                let batch = batch.iter_mut().map(|(cache, tokens)| Ok((cache.on_gpu()?, *tokens)));
                executor.begin(&mut batch.collect::<Result<Vec<_>>>()?)
            }
        }
    }

    /// Goes on with the step until it is done (true) or has to be gone on with later (false): when `pause` says so on
    /// the CPU, when the GPU has enough to do. `caches` are those that it was begun with.
    pub fn advance(&mut self, caches: &mut [&mut Cache], pause: &mut dyn FnMut() -> bool) -> Result<bool> {
        match self {
            Executor::Cpu(executor) => {
                let caches = caches.iter_mut().map(|cache| cache.on_cpu());
                executor.advance(&mut caches.collect::<Result<Vec<_>>>()?, pause)
            }
            Executor::Gpu(executor) => {
                let caches = caches.iter_mut().map(|cache| cache.on_gpu());
                executor.advance(&mut caches.collect::<Result<Vec<_>>>()?)
            }
        }
    }

    /// Drops the step in progress, unless its caches count it already. What a dropped one stored lies beyond their length.
    pub fn cancel(&mut self) {
        match self {
            Executor::Cpu(executor) => executor.cancel(),
            Executor::Gpu(executor) => executor.cancel(),
        }
    }

    /// The logits of some rows of the last step, one row of the vocabulary's length after the other. Answers whether
    /// they are there; if not, it is to be asked for the same again.
    pub fn logits(&mut self, rows: Range<usize>, logits: &mut Vec<f32>) -> Result<bool> {
        match self {
            Executor::Cpu(executor) => executor.logits(rows, logits).map(|()| true),
            Executor::Gpu(executor) => executor.logits(rows, logits),
        }
    }

    /// Has the executor itself choose the token that follows row `row` of the last step, of one sequence: true, or
    /// false where logits are to be asked for instead. See [`gpu::Executor::choose`].
    pub fn choose(
        &mut self,
        row: usize,
        draw: &Draw,
        adjustments: Option<&[[f32; 2]]>,
        mask: Option<&[u32]>,
    ) -> Result<bool> {
        match self {
            Executor::Cpu(_) => Ok(false),
            Executor::Gpu(executor) => executor.choose(row, draw, adjustments, mask),
        }
    }

    /// Has the logits of row `row` of the last step be made meanwhile, where that is the GPU's work: what is done with
    /// them is to be said later.
    pub fn make_logits(&mut self, row: usize) -> Result<()> {
        match self {
            Executor::Cpu(_) => Ok(()),
            Executor::Gpu(executor) => executor.make_logits(row),
        }
    }

    /// Has it go on with the token that it chose last: true, or false if that has to wait.
    pub fn follow(&mut self, cache: &mut Cache, draw: &Draw) -> Result<bool> {
        match self {
            Executor::Cpu(_) => Ok(false),
            Executor::Gpu(executor) => executor.follow(cache.on_gpu()?, draw),
        }
    }

    /// Has it begin the step that takes the token chosen last, for a choice that is asked for later: true, or false if
    /// that has to wait until the token is known.
    pub fn go_on(&mut self, cache: &mut Cache) -> Result<bool> {
        match self {
            Executor::Cpu(_) => Ok(false),
            Executor::Gpu(executor) => executor.go_on(cache.on_gpu()?),
        }
    }

    /// Whether the last choice was made for this sequence, and nothing was begun since.
    pub fn is_chosen_for(&self, cache: &Cache) -> bool {
        match (self, cache) {
            (Executor::Gpu(executor), Cache::Gpu(cache)) => executor.is_chosen_for(cache),
            _ => false,
        }
    }

    /// The oldest choice that was not asked for yet, if it is here.
    pub fn chosen(&mut self) -> Result<Option<u32>> {
        match self {
            Executor::Cpu(_) => Ok(None),
            Executor::Gpu(executor) => executor.chosen(),
        }
    }

    /// The hidden states of some rows of the last step, in the same way.
    pub fn hidden(&mut self, rows: Range<usize>, states: &mut Vec<f32>) -> Result<bool> {
        match self {
            Executor::Cpu(executor) => {
                states.clear();
                rows.for_each(|row| states.extend_from_slice(executor.hidden(row)));
                Ok(true)
            }
            Executor::Gpu(executor) => executor.hidden(rows, states),
        }
    }

    /// Of each range of rows of the last step the mean of its states, one after the other, in the same way; `normalize`
    /// gives it the length 1.
    pub fn means(&mut self, ranges: &[Range<usize>], normalize: bool, means: &mut Vec<f32>) -> Result<bool> {
        match self {
            Executor::Cpu(executor) => {
                executor.means(ranges, normalize, means);
                Ok(true)
            }
            Executor::Gpu(executor) => executor.means(ranges, normalize, means),
        }
    }

    /// Has the GPU make what steps of another kind take, a little at a time: what ends before there may be more of it, or
    /// nothing if all is ready.
    pub fn make_ready(&self) -> Option<Signal> {
        self.gpu().and_then(gpu::Executor::make_ready)
    }

    /// What ends when there is something to go on with, if that is not now.
    pub fn waiting(&self) -> Option<Signal> {
        match self {
            Executor::Cpu(_) => None,
            Executor::Gpu(executor) => executor.waiting(),
        }
    }
}
