//! x_t[c] = Σ_j w[c, j]·x_{t−J+1+j}[c], in place: a thread per column, which takes the rows of a sequence in order and
//! keeps its last inputs in registers. Columns need nothing of each other.

use super::{Slot, THREADS, bind, unpackers};
use crate::gpu::call::{Call, Scope};
use crate::gpu::weights::Matrix;

/// Convolves the rows of each sequence, from state number `state` on. All taps of a column are one block.
pub fn convolve(state: usize, weight: &Matrix, x: &Slot) -> Call {
    let body = wgsl!("convolve").replace("$TAPS", &weight.cols.to_string());
    let call = Call::new("convolve", unpackers([weight]) + &body, x.width.div_ceil(THREADS));
    bind(call, 0, weight, &weight.parts[0])
        .whole_sequences()
        .scope(Scope::Sequences)
        .state(state)
        .writes("x", "f32", &x.buffer)
        .param("width", x.width)
        .param("stride", x.stride)
        .weights(weight.bytes_of(weight.rows))
}
