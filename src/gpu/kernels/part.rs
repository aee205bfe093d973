//! out = of each run of values of x, some from one on: a thread per value of the result.

use super::{Slot, THREADS};
use crate::gpu::call::Call;

/// Takes, of each run of `run` values, as many as fill `out`, from the one numbered `first` on.
pub fn part(x: &Slot, run: usize, first: usize, out: &Slot) -> Call {
    Call::new("part", wgsl!("part"), out.width.div_ceil(THREADS))
        .reads("x", "f32", &x.buffer)
        .writes("out", "f32", &out.buffer)
        .param("run", run)
        .param("first", first)
        .param("part", out.width / (x.width / run))
        .param("width", out.width)
        .param("x_stride", x.stride)
        .param("out_stride", out.stride)
}
