//! (a, b) → (a·cos θ − b·sin θ, a·sin θ + b·cos θ) for each pair of each head: a thread per pair. Sines and cosines come
//! from the host, which has f64 for angles: at position 10⁵ an f32 angle is off by 10⁻².

use super::{Slot, THREADS};
use crate::gpu::call::Call;
use crate::plan::Pairs;

/// Rotates each head of `dim` values by the `pairs` angles that `angles` has for each row.
pub fn rotate(x: &Slot, dim: usize, kind: Pairs, pairs: usize, angles: &wgpu::Buffer) -> Call {
    let (first, second) = match kind {
        Pairs::Interleaved => ("2u * pair", "2u * pair + 1u"),
        Pairs::Halves => ("pair", "pair + params.pairs"),
    };
    let body = wgsl!("rotate").replace("$first", first).replace("$second", second);
    let heads = x.width / dim;
    Call::new("rotate", body, (heads * pairs).div_ceil(THREADS))
        .reads("angles", "vec2<f32>", angles)
        .writes("x", "f32", &x.buffer)
        .param("heads", heads)
        .param("dim", dim)
        .param("pairs", pairs)
        .param("stride", x.stride)
}
