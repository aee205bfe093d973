//! The CPU executor: runs a plan with SIMD kernels over packed weights.
//!
//! A step takes some tokens of one or more sequences through all ops of the plan, row by row of activations. A team
//! of threads walks the same [`program`] in lockstep. A step can stop, between any two ops or at a barrier where
//! there are several threads, and go on later, so that a cancellation never waits for a whole step.

pub mod activations;
pub mod cache;
pub mod kernels;
mod pool;
pub mod program;
mod recurrence;
mod shared;
pub mod simd;
mod state;
pub mod team;
mod trial;
mod walk;
mod weights;

pub use activations::Activations;
pub use cache::{Cache, KvType};
pub use team::Team;
pub use trial::Trial;
pub use weights::{Loading, Weights};

use crate::cpu::kernels::elementwise;
use crate::error::{Error, Result};
use crate::plan::{self, Head, Plan};
use crate::quant::PANEL;
use kernels::matmul::multiply;
use kernels::rotary;
use program::{Place, Program, Split, Step};
use shared::{Parts, Rows, Slots, lane};
use state::State;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use team::Member;
use walk::{Lane, Rotation, Segment, Walk};

/// Tokens of a prompt that are taken at a time: enough to use each weight often, few enough that the
/// activations stay in a core's cache.
pub const STEP_TOKENS: usize = 128;
/// Rows per thread from which a step is split by rows: what a product takes at once, twice.
const ROWS_PER_THREAD: usize = 8;
/// Rows of a thread are a multiple of this, but for the last one's: a product takes so many at once.
const ROW_UNIT: usize = activations::TILE;

/// A plan with its weights, ready to run.
pub struct Executor {
    plan: Plan,
    weights: Weights,
    by_rows: Program,
    /// Where there is more than one thread.
    by_columns: Option<Program>,
    ropes: Vec<Rotation>,
    slots: Slots,
    threads: usize,
    team: Team,
    lanes: Vec<Mutex<Lane>>,
    kv_type: KvType,
    activations: Activations,
    step: Option<Running>,
    /// The row of the head's slot where the last step's first token is.
    result: usize,
}

/// The step in progress.
struct Running {
    tokens: Vec<u32>,
    segments: Vec<Segment>,
    by_columns: bool,
    /// The next step of the program.
    at: usize,
}

/// Nowhere: no thread pauses.
const GOING_ON: usize = usize::MAX;

impl Executor {
    pub fn new(plan: Plan, weights: Weights) -> Result<Self> {
        let by_rows = program::by_rows(&plan, &weights, 1)?;
        let mut ropes = Vec::new();
        for rope in &plan.ropes {
            let mut rope = rope.clone();
            let factors = rope.factors.map(|factors| weights.vector(factors)).transpose()?;
            rope.frequencies = rope.scaled(factors).map_err(|error| match rope.factors {
                Some(factors) => error.tensor(&plan.weight(factors).name),
                None => error,
            })?;
            ropes.push(Rotation { rope, angles: vec![] });
        }
        if let Head::Logits { weight, .. } = plan.head {
            weights.matrix(weight)?;
        }
        Ok(Executor {
            slots: Slots::new(&plan.slots),
            plan,
            weights,
            by_rows,
            by_columns: None,
            ropes,
            threads: 1,
            team: Team::alone(),
            lanes: vec![Mutex::default()],
            kv_type: KvType::default(),
            activations: Activations::default(),
            step: None,
            result: 0,
        })
    }

    /// Stores keys and values as `kv_type`.
    pub fn with_kv_type(mut self, kv_type: KvType) -> Self {
        self.kv_type = kv_type;
        self
    }

    /// Multiplies activations as exactly as this says.
    pub fn with_activations(mut self, activations: Activations) -> Self {
        self.activations = activations;
        self.lanes.fill_with(|| Mutex::new(Lane::new(activations)));
        self
    }

    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    pub fn kv_type(&self) -> KvType {
        self.kv_type
    }

    /// Goes on with a plan that has the same weights, caches and states, but other ops. Drops the step in progress.
    pub fn set_plan(&mut self, plan: Plan) -> Result<()> {
        self.slots = Slots::new(&plan.slots);
        self.plan = plan;
        self.set_threads(self.threads)
    }

    /// Bytes of the packed weights.
    pub fn weight_bytes(&self) -> u64 {
        self.weights.bytes()
    }

    /// Bytes of the cache of a sequence that fills the context. 131072 tokens of a 1B model are beyond 32 bits.
    pub fn cache_capacity(&self) -> u64 {
        let bytes = |cache: &plan::Cache| {
            let kept =
                cache.window.map_or(usize::MAX, |window| window.saturating_add(STEP_TOKENS + cache::PAGE));
            let positions = self.plan.context_length.min(kept).next_multiple_of(cache::PAGE);
            (positions / cache::PAGE) as u64 * self.kv_type.page_bytes(cache) as u64
        };
        let pages: u64 = self.plan.caches.iter().map(bytes).sum();
        pages + self.plan.states.iter().map(|len| State::bytes_of(*len)).sum::<u64>()
    }

    /// An empty cache for a sequence of this model.
    pub fn new_cache(&self) -> Cache {
        Cache::new(&self.plan.caches, &self.plan.states, self.kv_type)
    }

    /// How many of `remaining` tokens the next step should take.
    pub fn step_tokens(&self, remaining: usize) -> usize {
        if self.plan.causal { remaining.min(STEP_TOKENS) } else { remaining }
    }

    /// Computes with the leader of `team`, on one thread until [`Self::set_threads`] says otherwise.
    pub fn set_team(&mut self, team: Team) -> Result<()> {
        self.team = team;
        self.set_threads(1)
    }

    /// The team, to see who has come to help.
    pub fn team(&self) -> &Team {
        &self.team
    }

    /// Threads that compute.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Computes on `threads` threads of the team. Drops a step in progress.
    pub fn set_threads(&mut self, threads: usize) -> Result<()> {
        let there_are = 1 + self.team.core().helpers();
        if !(1..=there_are.min(team::MAX_THREADS)).contains(&threads) {
            let message = format!("threads is {threads}, and there are {there_are}");
            return Err(Error::invalid_argument(message));
        }
        self.step = None;
        self.by_rows = program::by_rows(&self.plan, &self.weights, threads)?;
        self.by_columns =
            (threads > 1).then(|| program::by_columns(&self.plan, &self.weights, threads)).transpose()?;
        self.threads = threads;
        let activations = self.activations;
        self.lanes.resize_with(threads, || Mutex::new(Lane::new(activations)));
        Ok(())
    }

    /// Lets the helpers go that are not needed for the threads set.
    pub fn dismiss_others(&mut self) {
        self.team.dismiss_from(self.threads);
    }

    /// The program for steps of `rows` tokens.
    pub fn program(&self, rows: usize) -> &Program {
        match &self.by_columns {
            Some(program) if rows < ROWS_PER_THREAD * self.threads => program,
            _ => &self.by_rows,
        }
    }

    /// Refuses tokens that the model does not know.
    pub fn check(&self, tokens: &[u32]) -> Result<()> {
        self.plan.check_tokens(tokens)
    }

    /// Begins a step: for each sequence, tokens that follow what its cache holds. Its rows are the tokens, one
    /// sequence after the other. A step in progress is dropped.
    pub fn begin(&mut self, batch: &mut [(&mut Cache, &[u32])]) -> Result<()> {
        self.step = None;
        let (mut tokens, mut segments) = (Vec::new(), Vec::new());
        for (cache, sequence) in batch.iter_mut() {
            self.check(sequence)?;
            cache.reserve(sequence.len())?;
            segments.push(Segment { rows: tokens.len()..tokens.len() + sequence.len(), start: cache.len() });
            tokens.extend_from_slice(sequence);
        }
        let rows = tokens.len();
        let by_columns = std::ptr::from_ref(self.program(rows)) != &raw const self.by_rows;
        // Behind the rows that all threads see, a lane for each.
        self.slots.resize(if by_columns { lane(rows, self.threads) } else { rows })?;
        self.result = if self.program(rows).result == Place::Lane { lane(rows, 0) } else { 0 };
        for Rotation { rope, angles } in &mut self.ropes {
            let pairs = rope.frequencies.len();
            angles.resize(rows * pairs, [0.0; 2]);
            let positions =
                segments.iter().flat_map(|segment| segment.start..segment.start + segment.rows.len());
            for (position, angles) in positions.zip(angles.chunks_exact_mut(pairs.max(1))) {
                rotary::angles(position, &rope.frequencies, rope.magnitude_at(position), angles);
            }
        }
        self.step = Some(Running { tokens, segments, by_columns, at: 0 });
        Ok(())
    }

    /// Goes on with the step until it is done (true) or `pause` says to stop (false). `caches` are those that it was
    /// begun with. `pause` is asked between ops, or at barriers where there are several threads.
    pub fn advance(&mut self, caches: &mut [&mut Cache], pause: &mut dyn FnMut() -> bool) -> Result<bool> {
        let Some(mut running) = self.step.take() else {
            return Err(Error::internal("no step was begun"));
        };
        if caches.len() != running.segments.len() {
            return Err(Error::internal("a step goes on with other sequences than it was begun with"));
        }
        let program = match &self.by_columns {
            Some(program) if running.by_columns => program,
            _ => &self.by_rows,
        };
        let job = Job {
            executor: Parted {
                plan: &self.plan,
                weights: &self.weights,
                ropes: &self.ropes,
                slots: &self.slots,
                lanes: &self.lanes,
            },
            program,
            running: &running,
            caches: &caches.iter().map(|cache| &**cache).collect::<Vec<_>>(),
            pause_at: AtomicUsize::new(GOING_ON),
            error: Mutex::default(),
        };
        self.team.run(self.threads, &mut |member| job.walk(member, &mut *pause), &|member| {
            job.walk(member, &mut || false)
        })?;
        let at = job.pause_at.into_inner();
        if let Some(error) = job.error.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        if at != GOING_ON && at < program.steps.len() {
            running.at = at;
            self.step = Some(running);
            return Ok(false);
        }
        for (cache, segment) in caches.iter_mut().zip(&running.segments) {
            cache.advance(segment.rows.len());
        }
        Ok(true)
    }

    /// Drops the step in progress. What it stored in its caches lies beyond their length.
    pub fn cancel(&mut self) {
        self.step = None;
    }

    /// The logits of some rows of the last step, one row of the vocabulary's length after the other.
    pub fn logits(&mut self, rows: impl IntoIterator<Item = usize>, logits: &mut Vec<f32>) -> Result<()> {
        let Head::Logits { weight, x, softcap } = self.plan.head else {
            return Err(Error::unsupported_model(
                "this model is an encoder: it has no head to generate or score with",
            ));
        };
        let matrix = self.weights.matrix(weight)?;
        let stride = matrix.cols().next_multiple_of(crate::quant::BLOCK);
        let mut values = Vec::new();
        for row in rows {
            values.extend_from_slice(self.slots.row(x, self.result + row));
            values.resize(values.len().next_multiple_of(stride), 0.0);
        }
        let count = values.len() / stride;
        logits.resize(count * matrix.rows(), 0.0);
        let parts = Parts::of(logits);
        let split = Split::even(matrix.rows(), PANEL, self.threads);
        let error = Mutex::new(None);
        let work = |member: &Member| {
            let columns = split.range(member.index);
            let mut lane = self.lanes[member.index].lock().unwrap_or_else(PoisonError::into_inner);
            let Lane { quantized, unpacked, .. } = &mut *lane;
            quantized.quantize(&values, stride);
            let panels = columns.start / PANEL..columns.end.div_ceil(PANEL);
            let put = |row: usize, first: usize, outputs: &[f32]| {
                let at = row * matrix.rows() + first;
                // SAFETY: outputs of this thread's own panels.
                unsafe { parts.write(at..at + outputs.len()) }.copy_from_slice(outputs);
            };
            if let Err(failed) = multiply(matrix, panels, 0..count, &values, quantized, unpacked, put) {
                *error.lock().unwrap_or_else(PoisonError::into_inner) = Some(failed);
            }
            if let Some(cap) = softcap {
                for row in 0..count {
                    let at = row * matrix.rows();
                    // SAFETY: as above.
                    let own = unsafe { parts.write(at + columns.start..at + columns.end) };
                    elementwise::softcap(own, cap);
                }
            }
        };
        self.team.run(self.threads, &mut |member| work(member), &work)?;
        error.into_inner().unwrap_or_else(PoisonError::into_inner).map_or(Ok(()), Err)
    }

    /// The hidden state of one row of the last step.
    pub fn hidden(&mut self, row: usize) -> &[f32] {
        self.slots.row(self.plan.head.slot(), self.result + row)
    }
}

/// What the threads of a step see of an executor.
struct Parted<'a> {
    plan: &'a Plan,
    weights: &'a Weights,
    ropes: &'a [Rotation],
    slots: &'a Slots,
    lanes: &'a [Mutex<Lane>],
}

/// Going on with a step, for all threads.
struct Job<'a> {
    executor: Parted<'a>,
    program: &'a Program,
    running: &'a Running,
    caches: &'a [&'a Cache],
    /// The step of the program before which all stop.
    pause_at: AtomicUsize,
    error: Mutex<Option<Error>>,
}

impl Job<'_> {
    fn walk(&self, member: &Member, pause: &mut dyn FnMut() -> bool) {
        let Parted { plan, weights, ropes, slots, lanes } = self.executor;
        let Running { tokens, segments, at, .. } = self.running;
        let (thread, all) = (member.index, tokens.len());
        let own = share(all, ROW_UNIT, thread, member.threads);
        let mut lane = lanes[thread].lock().unwrap_or_else(PoisonError::into_inner);
        // SAFETY: each thread makes one view and walks the program, which was checked, passing all its barriers.
        let view = unsafe { slots.view(Rows { all, own, thread }) };
        let (program, caches) = (self.program, self.caches);
        let mut walk =
            Walk { plan, weights, ropes, program, tokens, segments, caches, thread, view, lane: &mut lane };
        for (index, step) in program.steps.iter().enumerate().skip(*at) {
            if let Err(error) = walk.step(*step) {
                *self.error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                return member.give_up();
            }
            // Where all can stop, thread 0 decides before the others go on. One thread can stop anywhere, and looks
            // after what takes time: a look at the clock costs a tenth of a microsecond.
            let met = *step == Step::Barrier;
            if (met || (member.threads == 1 && step.takes_time())) && thread == 0 && pause() {
                self.pause_at.store(index + 1, Ordering::SeqCst);
            }
            if met && member.barrier().is_err() {
                return;
            }
            if self.pause_at.load(Ordering::Relaxed) == index + 1 {
                return;
            }
        }
    }
}

/// A thread's part of `all` rows.
fn share(all: usize, unit: usize, thread: usize, threads: usize) -> Range<usize> {
    let units = all.div_ceil(unit);
    let edge = |thread: usize| (units * thread / threads * unit).min(all);
    edge(thread)..edge(thread + 1)
}
