//! A plan with its weights on the GPU, ready to run.

use super::call::{ALIGNMENT, Dispatch, Scope};
use super::choice::Chooser;
pub use super::demand::step_rows;
use super::device::Gpu;
use super::kernels;
use super::program::{Compiler, Program, Rotation};
use super::readback::{Readback, Signal};
use super::room::{Buffers, Memory, Room, widen};
use super::sequence::{Cache, Extent, Layer, MOST_PIECES, Pool, half_bytes};
use super::weights::Weights;
use crate::cpu::KvType;
use crate::cpu::kernels::rotary;
use crate::error::{Error, Result};
use crate::executor::GPU_LANES;
use crate::plan::{Head, Op, Plan, Row};
use lanes::Bound;
use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::rc::Rc;

mod lanes;
mod results;
mod saved;

/// Tokens of a prompt that are taken at a time: enough to use each weight often, few enough that a step is short.
pub const STEP_TOKENS: usize = 256;
/// Rows whose logits can be asked for at once.
pub const HEAD_ROWS: usize = 16;
/// Steps that may be on their way: one runs while the next is made ready.
const STEPS_UNDER_WAY: usize = 2;
/// Entries of the step's parameters: of the step, of the head's rows, and then of each sequence.
const WHOLE: usize = 0;
const HEAD: usize = 1;
const SEQUENCES: usize = 2;
/// Where the last piece of a sequence ends.
const LAST: usize = u32::MAX as usize;

/// A plan with its weights, ready to run.
pub struct Executor {
    plan: Plan,
    weights: Weights,
    gpu: Rc<Gpu>,
    buffers: Buffers,
    /// Bytes of these, and of what results are read through.
    work: u64,
    /// For steps with one row of each sequence.
    one: Program,
    many: Program,
    pool: Rc<Pool>,
    lanes: HashMap<usize, Bound>,
    /// The most bytes that they had at a time.
    most_bytes: u64,
    /// Memory of the first sequence, until there is that.
    spare: Vec<(Extent, Memory)>,
    /// Memory was asked for and could not be had.
    short: bool,
    step: Option<Step>,
    under_way: VecDeque<Signal>,
    readback: Readback,
    /// A sequence on its way to the host.
    saving: Option<(Readback, Signal)>,
    /// Of a model that has logits.
    chooser: Option<Chooser>,
    /// The sequence that the token chosen last belongs to, until another step is begun.
    chosen_for: Option<usize>,
    angles: Vec<[f32; 2]>,
}

/// The last step that was begun.
struct Step {
    rows: usize,
    sequences: Vec<Sequence>,
    /// It is yet to be submitted.
    waits: bool,
    /// Its caches count it.
    counts: bool,
    /// The row whose logits are there.
    head: Option<usize>,
}

struct Sequence {
    rows: Range<usize>,
    start: usize,
    turn: usize,
    lanes: Lanes,
}

/// The lanes of a sequence: of what is written over, and of its pieces with where each begins.
#[derive(Clone)]
struct Lanes {
    latest: usize,
    pieces: Vec<(usize, usize)>,
}

impl Executor {
    pub fn new(plan: Plan, mut weights: Weights, kv_type: KvType) -> Result<Self> {
        let gpu = Rc::clone(&weights.gpu);
        let room = weights.room.take().filter(|room| room.suits(&plan, kv_type));
        let mut room = room.map_or_else(|| Room::new(&gpu, &plan, kv_type), |room| Ok(*room))?;
        widen(&gpu, &mut room.buffers.slots, &plan);
        let Room { mut buffers, readback, chooser, layers, work, lanes: spare } = room;
        for Rotation { rope, .. } in &mut buffers.ropes {
            let factors = rope.factors.map(|factors| weights.vector(factors)).transpose()?;
            rope.frequencies = rope.scaled(factors).map_err(|error| match rope.factors {
                Some(factors) => error.tensor(&plan.weight(factors).name),
                None => error,
            })?;
        }
        let pool = Pool::new(layers, plan.states.clone(), plan.context_length);
        let mut executor = Executor {
            plan,
            weights,
            gpu,
            buffers,
            work,
            one: Program::default(),
            many: Program::default(),
            most_bytes: pool.bytes(),
            pool,
            lanes: HashMap::new(),
            spare,
            short: false,
            step: None,
            under_way: VecDeque::new(),
            readback,
            saving: None,
            chooser,
            chosen_for: None,
            angles: vec![],
        };
        executor.compile()?;
        executor.gpu.check()?;
        Ok(executor)
    }

    fn compile(&mut self) -> Result<()> {
        let Executor { gpu, plan, weights, buffers, .. } = &*self;
        let layers = &self.pool.layers;
        gpu.renounce();
        let compile = |one| Compiler { gpu, plan, weights, layers, buffers, one }.compile();
        (self.one, self.many) = (compile(true)?, compile(false)?);
        Ok(())
    }

    /// Goes on with a plan that has the same weights, caches and states, but other ops. Drops the step in progress.
    pub fn set_plan(&mut self, plan: Plan) -> Result<()> {
        self.cancel();
        widen(&self.gpu, &mut self.buffers.slots, &plan);
        self.plan = plan;
        self.compile()?;
        for (number, lane) in std::mem::take(&mut self.lanes) {
            let lane = self.bound(lane.memory, lane.extent);
            self.lanes.insert(number, lane);
        }
        self.gpu.check()
    }

    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    pub fn gpu(&self) -> &Rc<Gpu> {
        &self.gpu
    }

    /// Bytes of the weights.
    pub fn weight_bytes(&self) -> u64 {
        self.weights.bytes()
    }

    /// The most bytes that it has taken on the GPU: weights, the memory of sequences, activations, what kernels are told
    /// and what their results are read through.
    pub fn peak_bytes(&self) -> u64 {
        self.weight_bytes() + self.work + self.most_bytes
    }

    /// Makes a pipeline that some later step takes, and none has taken yet: what ends when that is done, or nothing if
    /// there are all of them.
    pub fn make_ready(&self) -> Option<Signal> {
        self.gpu.make_next().then(|| self.gpu.done())
    }

    /// Bytes of keys and values of a sequence.
    pub fn cache_capacity(&self) -> u64 {
        self.pool.bytes()
    }

    /// How many of `remaining` tokens the next step should take.
    pub fn step_tokens(&self, remaining: usize) -> usize {
        if self.plan.causal { remaining.min(STEP_TOKENS) } else { remaining }
    }

    /// What has to end before there is anything to go on with.
    pub fn waiting(&self) -> Option<Signal> {
        let full = self.under_way.len() >= STEPS_UNDER_WAY;
        let chosen = self.chooser.as_ref().and_then(Chooser::signal);
        let saving = self.saving.as_ref().and_then(|(readback, _)| readback.signal());
        self.making().or_else(|| {
            chosen.or(saving).or(self.readback.signal()).or(self.under_way.front().filter(|_| full)).cloned()
        })
    }

    /// Begins a step: for each sequence, tokens that follow what its cache holds.
    pub fn begin(&mut self, batch: &mut [(&mut Cache, &[u32])]) -> Result<()> {
        self.send();
        self.drop_results();
        let (mut rows, mut sequences) = (Vec::new(), Vec::new());
        let texts = self.plan.ops.iter().find_map(|op| match op {
            Op::AddRow { row: row @ Row::Text { .. }, .. } => Some(*row),
            _ => None,
        });
        let (mut positions, mut first) = (Vec::new(), None);
        for (cache, tokens) in batch.iter_mut() {
            self.plan.check_tokens(tokens)?;
            if cache.len() + tokens.len() > self.plan.context_length {
                return Err(Error::internal("a step goes beyond the context"));
            }
            cache.reserve(tokens.len());
            // Nobody comes back to what an encoder stores: texts of a step lie one behind the other in the first one's memory.
            let (lanes, start) = match &first {
                Some(first) if !self.plan.causal => (Lanes::clone(first), rows.len()),
                _ => {
                    self.claim(cache);
                    self.hold(cache)?;
                    (Lanes::of(cache), cache.len())
                }
            };
            first.get_or_insert_with(|| lanes.clone());
            let turn = cache.turn;
            sequences.push(Sequence { rows: rows.len()..rows.len() + tokens.len(), start, turn, lanes });
            for (k, token) in tokens.iter().enumerate() {
                let position = cache.len() + k;
                let text = texts.map_or(0, |row| row.index(position, &tokens[..k]));
                positions.push(position);
                rows.push([*token, position as u32 | (text as u32) << 24]);
            }
        }
        let pieces: usize = sequences.iter().map(|sequence| sequence.lanes.pieces.len()).sum();
        let entries = ALIGNMENT * (SEQUENCES + pieces) as u64;
        if (rows.len() * 8) as u64 > self.buffers.rows.size()
            || entries > self.buffers.entries.size()
            || rows.is_empty()
        {
            return Err(Error::internal(format!("a step of {} rows cannot be run", rows.len())));
        }
        self.gpu.write(&self.buffers.rows, 0, bytemuck::cast_slice(&rows));
        self.place(positions.iter().copied());
        self.prepare(rows.len(), sequences);
        Ok(())
    }

    /// Writes the angles of rows at these positions.
    fn place(&mut self, positions: impl Iterator<Item = usize> + Clone) {
        for Rotation { rope, angles } in &self.buffers.ropes {
            let pairs = rope.frequencies.len();
            self.angles.clear();
            for position in positions.clone() {
                let at = self.angles.len();
                self.angles.resize(at + pairs, [0.0; 2]);
                let magnitude = rope.magnitude_at(position);
                rotary::angles(position, &rope.frequencies, magnitude, &mut self.angles[at..]);
            }
            self.gpu.write(angles, 0, bytemuck::cast_slice(&self.angles));
        }
    }

    fn prepare(&mut self, rows: usize, sequences: Vec<Sequence>) {
        self.tell(WHOLE, &(0..rows), 0, 0, 0..LAST);
        let mut entry = SEQUENCES;
        for Sequence { rows, start, turn, lanes: Lanes { pieces, .. } } in &sequences {
            let ends = pieces.iter().skip(1).map(|(_, from)| *from).chain([LAST]);
            for ((_, from), end) in pieces.iter().zip(ends) {
                self.tell(entry, rows, *start, *turn, *from..end);
                entry += 1;
            }
        }
        self.step = Some(Step { rows, sequences, waits: true, counts: false, head: None });
    }

    /// Has the step done as soon as the GPU can: true, or false if it has too much to do already. Its results are
    /// asked for next, with the same command buffer.
    pub fn advance(&mut self, caches: &mut [&mut Cache]) -> Result<bool> {
        let sequences = self.step.as_ref().map(|step| step.sequences.len());
        let Some(sequences) = sequences else { return Err(Error::internal("no step was begun")) };
        if caches.len() != sequences {
            return Err(Error::internal("a step goes on with other sequences than it was begun with"));
        }
        let holding = if self.plan.causal { caches.len() } else { 1 };
        for cache in caches.iter_mut().take(holding) {
            if !self.hold(cache)? {
                return Ok(false);
            }
        }
        if self.under_way.len() >= STEPS_UNDER_WAY {
            self.gpu.settle()?;
        }
        self.gpu.check()?;
        while self.under_way.front().is_some_and(|signal| signal.outcome().is_some()) {
            self.under_way.pop_front();
        }
        if self.under_way.len() >= STEPS_UNDER_WAY {
            return Ok(false);
        }
        if let Some(step) = &mut self.step {
            for (cache, sequence) in caches.iter_mut().zip(&step.sequences) {
                cache.advance(sequence.rows.len());
            }
            step.counts = true;
        }
        Ok(true)
    }

    /// Drops the step in progress, unless its caches count it, and results that are on their way.
    pub fn cancel(&mut self) {
        self.send();
        self.step = None;
        self.drop_results();
    }

    fn drop_results(&mut self) {
        self.saving = None;
        self.readback.drop_result();
        self.chosen_for = None;
        if let Some(chooser) = &mut self.chooser {
            chooser.drop_all();
        }
    }

    /// Encodes dispatches that follow one another, of which the first is number `k`; several only of those that are done
    /// piece by piece.
    fn encode(&self, pass: &mut wgpu::ComputePass, run: &[Dispatch], k: usize, step: &Step, one: bool) {
        if run[0].scope != Scope::Sequences {
            let now = run.iter().filter(|dispatch| dispatch.when.holds(step.rows, false));
            return now.for_each(|dispatch| dispatch.encode(&self.gpu, pass, None, WHOLE, step.rows));
        }
        let mut entry = SEQUENCES;
        for Sequence { rows, start, lanes: Lanes { latest, pieces }, .. } in &step.sequences {
            let skipped = if run[0].in_pieces { 0 } else { pieces.len() - 1 };
            for (at, (piece, _)) in pieces.iter().enumerate().skip(skipped) {
                for (k, dispatch) in (k..).zip(run) {
                    if dispatch.when.holds(step.rows, *start >= self.gpu.long()) {
                        let group = |lane| self.lanes[lane].group(one, k);
                        let group = group(piece).or_else(|| group(latest));
                        dispatch.encode(&self.gpu, pass, group, entry + at, rows.len());
                    }
                }
            }
            entry += pieces.len();
        }
    }

    /// Writes an entry of the step's parameters: rows, the first one's position, which half of a state is read, and the
    /// positions of the piece.
    fn tell(&self, entry: usize, rows: &Range<usize>, start: usize, turn: usize, piece: Range<usize>) {
        let words = [rows.start, rows.len(), start, turn, piece.start, piece.end].map(|value| value as u32);
        self.gpu.write(&self.buffers.entries, ALIGNMENT * entry as u64, bytemuck::cast_slice(&words));
    }
}

/// Bytes of what kernels are told of a row: its token and position.
pub const ROW_BYTES: u64 = 8;

/// Bytes of the entries of a step of so many rows: as many sequences, or fewer that have pieces.
pub fn entry_bytes(rows: usize) -> u64 {
    ALIGNMENT * (SEQUENCES + rows.max(GPU_LANES * MOST_PIECES)) as u64
}

/// Bytes of the ranges of rows that an encoder's means are of.
pub fn range_bytes(plan: &Plan) -> u64 {
    match plan.head {
        Head::Logits { .. } => 0,
        Head::Hidden { .. } | Head::Labels { .. } => 8 * step_rows(plan) as u64,
    }
}

/// Bytes of so many rows' angles.
pub fn angle_bytes(rows: usize, pairs: usize) -> u64 {
    8 * (rows * pairs) as u64
}

/// Bytes of what attentions leave from piece to piece.
pub fn total_bytes(plan: &Plan, rows: usize) -> u64 {
    let heads = |op: &Op| match *op {
        Op::Attend { heads, .. } => heads,
        _ => 0,
    };
    kernels::total_bytes(plan.ops.iter().map(heads).max().unwrap_or(0), rows)
}

/// Bytes of what workgroups leave that share a head's keys, as much as the largest attention takes.
pub fn share_bytes(plan: &Plan, layers: &[Layer]) -> u64 {
    let bytes = |op: &Op| match *op {
        Op::Attend { cache, heads, .. } => kernels::share_bytes(heads, layers[cache].dim),
        _ => 0,
    };
    plan.ops.iter().map(bytes).max().unwrap_or(0)
}
