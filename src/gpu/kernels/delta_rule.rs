//! S *= decay; δ = rate·(v − Sᵀk); S += k·δᵀ; out = Sᵀq, row after row of a sequence: a thread per column of a head's
//! S, 64 of which share the row's q and k. Columns need nothing of each other, rows all that came before.

use super::{Slot, THREADS};
use crate::gpu::call::{Call, Constants, Scope};

/// The slots of the rule.
pub struct DeltaRule<'a> {
    pub q: &'a Slot,
    pub k: &'a Slot,
    pub v: &'a Slot,
    pub decay: &'a Slot,
    pub rate: &'a Slot,
    pub out: &'a Slot,
}

/// Takes the rows of each sequence through heads of `dim` values, from state number `state` on.
pub fn delta_rule(state: usize, dim: usize, a: &[f32], slots: &DeltaRule) -> Call {
    let DeltaRule { q, k, v, decay, rate, out } = slots;
    let numbers = Constants::new(a.to_vec());
    let body = wgsl!("delta_rule").replace("$DIM", &dim.to_string());
    Call::new("delta rule", body, out.width / dim * dim.div_ceil(THREADS))
        .whole_sequences()
        .scope(Scope::Sequences)
        .reads("q", "f32", &q.buffer)
        .reads("k", "f32", &k.buffer)
        .reads("v", "f32", &v.buffer)
        .reads("decay", "f32", &decay.buffer)
        .reads("rate", "f32", &rate.buffer)
        .reads_all("a", "f32", &numbers)
        .state(state)
        .writes("out", "f32", &out.buffer)
        .param("key_heads", q.width / dim)
        .param("len", out.width * dim)
        .param("key_stride", q.stride)
        .param("stride", out.stride)
        .param("number_stride", rate.stride)
}
