//! out = Σ x / n over the n rows of a range, and out / max(|out|, 10⁻¹²) where that is asked for: a workgroup per range,
//! since the length needs all columns. Its threads lie side by side on the columns, and each sums up its own row by row,
//! in the order of the host.

use super::{Slot, fold};
use crate::gpu::call::{Call, Scope};

/// As many threads as every device has: few ranges are many columns each.
const THREADS: usize = 256;

/// Means of rows of `x`: first row and end of each range are in `ranges`, and its mean becomes its row of `out`.
pub fn pool(x: &Slot, ranges: &wgpu::Buffer, out: &Slot) -> Call {
    Call::new("pool", fold(THREADS) + wgsl!("pool"), 1)
        .scope(Scope::Head)
        .reads("x", "f32", &x.buffer)
        .reads("ranges", "vec2<u32>", ranges)
        .writes("out", "f32", &out.buffer)
        .param("width", x.width)
        .param("x_stride", x.stride)
        .param("out_stride", out.stride)
}
