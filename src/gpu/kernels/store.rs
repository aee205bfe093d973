//! Keys and values to a sequence's memory, as f16s, two to a word: a thread per word of a head's key and value.

use super::{Slot, THREADS};
use crate::gpu::call::{Call, Scope};
use crate::gpu::sequence::Layer;

/// Stores the rows of each sequence.
pub fn store(layer: &Layer, index: usize, k: &Slot, v: &Slot) -> Call {
    Call::new("store", include_str!("store.wgsl"), (layer.heads * layer.words()).div_ceil(THREADS))
        .scope(Scope::Sequences)
        .reads("k", "f32", &k.buffer)
        .reads("v", "f32", &v.buffer)
        .layer(index, true)
        .param("heads", layer.heads)
        .param("dim", layer.dim)
        .param("words", layer.words())
        .param("capacity", layer.capacity)
        .param("k_stride", k.stride)
        .param("v_stride", v.stride)
}
