//! Keys and values to a sequence's memory: a thread per word of a head's key and value.

use super::{Slot, THREADS};
use crate::gpu::call::{Call, Scope};
use crate::gpu::sequence::Layer;

/// Stores the rows of each sequence.
pub fn store(layer: &Layer, index: usize, k: &Slot, v: &Slot) -> Call {
    let body = [&layer.source(), &word_of("k"), &word_of("v"), PUT, include_str!("store.wgsl")].concat();
    Call::new("store", body, (layer.heads * layer.words()).div_ceil(THREADS))
        .scope(Scope::Sequences)
        .reads("k", "f32", &k.buffer)
        .reads("v", "f32", &v.buffer)
        .layer(index, true)
        .param("heads", layer.heads)
        .param("capacity", layer.capacity)
        .param("k_stride", k.stride)
        .param("v_stride", v.stride)
}

/// WGSL that stores a word.
pub const PUT: &str = include_str!("put.wgsl");

/// WGSL that reads words of a buffer, of heads that begin at `at`.
pub fn word_of(buffer: &str) -> String {
    word(buffer, &format!("{buffer}[at + known]"))
}

/// WGSL of words named `name` of the values `value`, in terms of `at` and their number `known`.
pub fn word(name: &str, value: &str) -> String {
    include_str!("word.wgsl").replace('$', name).replace("@value", value)
}
