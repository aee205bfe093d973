//! What a model takes beside its weights: made before they have come, so that a GPU without the room says so soon, and
//! pipelines can be made meanwhile.

use super::choice::Chooser;
use super::device::Gpu;
use super::executor::{
    HEAD_ROWS, ROW_BYTES, angle_bytes, entry_bytes, range_bytes, share_bytes, step_rows, total_bytes,
};
use super::kernels::Slot;
use super::program::{Compiler, Rotation};
use super::readback::Readback;
use super::sequence::{Extent, Layer, state_bytes};
use super::weights::Weights;
use crate::cpu::KvType;
use crate::error::Result;
use crate::plan::{Head, Plan};
use std::rc::Rc;

/// What a plan's programs are bound to, but for the memory of sequences.
pub struct Buffers {
    pub slots: Vec<Slot>,
    /// Of an encoder means of states.
    pub logits: Slot,
    /// First row and end of what these are of.
    pub ranges: wgpu::Buffer,
    /// Until there are weights, their frequencies are yet to be divided by factors.
    pub ropes: Vec<Rotation>,
    /// Token and position of each row, and above the position the number of its text.
    pub rows: wgpu::Buffer,
    /// What workgroups leave that share a head's keys.
    pub shares: wgpu::Buffer,
    /// What attentions leave from piece to piece.
    pub totals: wgpu::Buffer,
    /// What kernels are told of a step: see `Executor::tell`.
    pub entries: wgpu::Buffer,
}

/// What is made for a plan.
pub struct Room {
    pub buffers: Buffers,
    pub readback: Readback,
    /// Of a model that has logits.
    pub chooser: Option<Chooser>,
    pub layers: Vec<Layer>,
    /// Bytes of all these.
    pub work: u64,
    /// The lanes of the first sequence.
    pub lanes: Vec<(Extent, Memory)>,
}

/// The memory of a lane: of layers and of states, as far as it has them.
pub type Memory = [Vec<Option<wgpu::Buffer>>; 2];

/// Makes the memory of a lane.
pub fn memory(gpu: &Gpu, layers: &[Layer], states: &[usize], extent: Extent) -> Memory {
    let state = |len: &usize| (extent == Extent::Latest).then(|| gpu.buffer(state_bytes(*len)));
    [
        layers.iter().map(|layer| layer.bytes_in(extent).map(|bytes| gpu.buffer(bytes))).collect(),
        states.iter().map(state).collect(),
    ]
}

/// Has slots be as wide as those of the plan.
pub fn widen(gpu: &Gpu, slots: &mut Vec<Slot>, plan: &Plan) {
    let kept = slots.iter().zip(&plan.slots).take_while(|(slot, width)| slot.width == **width).count();
    slots.truncate(kept);
    slots.extend(plan.slots[kept..].iter().map(|width| Slot::new(gpu, step_rows(plan), *width)));
}

impl Room {
    pub fn new(gpu: &Rc<Gpu>, plan: &Plan, kv_type: KvType) -> Result<Self> {
        let (most, before) = (step_rows(plan), gpu.counts().bytes);
        let (head_rows, vocabulary, read) = match plan.head {
            Head::Logits { weight, .. } => (HEAD_ROWS, plan.weight(weight).rows, HEAD_ROWS),
            Head::Hidden { x } | Head::Labels { x } => (most, plan.slot(x), most),
        };
        let mut slots = vec![];
        widen(gpu, &mut slots, plan);
        let logits = Slot::new(gpu, head_rows, vocabulary);
        let ranges = gpu.buffer(range_bytes(plan));
        let ropes = plan.ropes.iter().map(|rope| {
            let angles = gpu.buffer(angle_bytes(most, rope.frequencies.len()));
            Rotation { rope: rope.clone(), angles }
        });
        let ropes = ropes.collect();
        let layers: Vec<Layer> =
            plan.caches.iter().map(|cache| Layer::new(cache, kv_type, plan.context_length, most)).collect();
        let rows = gpu.buffer(ROW_BYTES * most as u64);
        let shares = gpu.buffer(if gpu.is_software() { 0 } else { share_bytes(plan, &layers) });
        let totals = gpu.buffer(total_bytes(plan, most));
        let entries = gpu.uniform(entry_bytes(most));
        let readback = Readback::new(gpu, 4 * (read * logits.stride) as u64);
        let chooser = match plan.head {
            Head::Logits { .. } => Some(Chooser::new(gpu, &logits, &rows, &entries)),
            Head::Hidden { .. } | Head::Labels { .. } => None,
        };
        let work = gpu.counts().bytes - before;
        let lane = |extent| (extent, memory(gpu, &layers, &plan.states, extent));
        let lanes = [Extent::Positions(plan.context_length), Extent::Latest].map(lane).into();
        gpu.check()?;
        let buffers = Buffers { slots, logits, ranges, ropes, rows, shares, totals, entries };
        Ok(Room { buffers, readback, chooser, layers, work, lanes })
    }

    /// Whether it is that of such a plan, but for slots that were added.
    pub fn suits(&self, plan: &Plan, kv_type: KvType) -> bool {
        let most = step_rows(plan);
        let layers = plan.caches.iter().map(|cache| Layer::new(cache, kv_type, plan.context_length, most));
        self.layers.iter().copied().eq(layers)
    }

    /// Says which pipelines the plan's programs have, with weights of these shapes.
    pub fn announce(&self, gpu: &Rc<Gpu>, plan: &Plan, weights: &Weights) -> Result<()> {
        let Room { buffers, layers, .. } = self;
        [true, false]
            .into_iter()
            .try_for_each(|one| Compiler { gpu, plan, weights, layers, buffers, one }.announce())
    }
}
