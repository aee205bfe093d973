//! Keys and values to a sequence's memory: a thread per four values of a head's key and value.

use super::{Slot, THREADS};
use crate::gpu::call::{Call, Scope};
use crate::gpu::sequence::Layer;

/// Stores the rows of each sequence.
pub fn store(layer: &Layer, index: usize, k: &Slot, v: &Slot) -> Call {
    let body = [&layer.source(), PUT, &four_of("k"), &four_of("v"), wgsl!("store")].concat();
    Call::new("store", body, (layer.heads * layer.fours()).div_ceil(THREADS))
        .scope(Scope::Sequences)
        .reads("k", "f32", &k.buffer)
        .reads("v", "f32", &v.buffer)
        .layer(index, true)
        .param("heads", layer.heads)
        .param("k_stride", k.stride)
        .param("v_stride", v.stride)
}

/// WGSL that stores four values.
pub const PUT: &str = wgsl!("put");

/// WGSL that reads four values of a buffer, of heads that begin at `at`.
pub fn four_of(buffer: &str) -> String {
    four(buffer, &format!("{buffer}[at + known]"))
}

/// WGSL of fours named `name` of the values `value`, in terms of `at` and their number `known`.
pub fn four(name: &str, value: &str) -> String {
    wgsl!("four").replace('$', name).replace("@value", value)
}
