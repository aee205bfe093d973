//! out = x / √(mean(x²) + ε) · w, or (x − mean) / √(var(x) + ε) · w + b, of each run of values: a workgroup per run,
//! since a run's sum is needed before its first value. Also out += …, for norms that stand before a residual.

use super::{Slot, THREADS, fold};
use crate::gpu::call::{Call, Constants};

/// Normalizes runs as long as `weight`; with a bias, by mean and variance. `adds` to `out` in place of writing it.
pub fn norm(weight: &[f32], bias: Option<&[f32]>, eps: f32, x: &Slot, out: &Slot, adds: bool) -> Call {
    let in_place = x.buffer == out.buffer;
    let vectors = Constants::new([weight, bias.unwrap_or(&[])].concat());
    let body = wgsl!("norm")
        .replace("$x", if in_place { "out" } else { "x" })
        .replace("$mean", if bias.is_some() { "fold(sum, lane) / width" } else { "0.0" })
        .replace("$bias", if bias.is_some() { " + vectors[params.width + i]" } else { "" })
        .replace("$=", if adds { "+=" } else { "=" });
    let mut call = Call::new("norm", fold(THREADS) + &body, x.width / weight.len().max(1));
    if !in_place {
        call = call.reads("x", "f32", &x.buffer);
    }
    call.reads_all("vectors", "f32", &vectors)
        .writes("out", "f32", &out.buffer)
        .param("width", weight.len())
        .param("x_stride", x.stride)
        .param("out_stride", out.stride)
        .number("eps", eps)
}
