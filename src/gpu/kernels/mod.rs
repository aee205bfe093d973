//! The kernels: one per file, each with its formula, its grid and the reason for it.

mod attend;
mod attend_tiled;
mod choose;
mod convolve;
mod delta_rule;
mod elementwise;
mod embed;
mod looped;
mod matmul;
mod norm;
mod part;
mod pool;
mod products;
mod repack;
mod rotate;
mod store;

pub use attend::{Attend, Fused, attend, attend_fused, share_bytes, total_bytes};
pub use attend_tiled::attend_tiled;
pub use choose::{BINS_BYTES, CANDIDATES_BYTES, Choose, MOST as MOST_RANKED, blocks, choose, draw, maxima};
pub use convolve::convolve;
pub use delta_rule::{DeltaRule, delta_rule};
pub use elementwise::{activate, add, gate, scale};
pub use embed::{add_row, embed};
pub use matmul::{Tile, matmul, tiled};
pub use norm::norm;
pub use part::part;
pub use pool::pool;
pub use products::{Epilogue, Input, Product, Shape, gated, products, tried};
pub use repack::repack;
pub use rotate::rotate;
pub use store::{PUT, four, four_of, store};

use super::call::Call;
use super::device::Gpu;
use super::formats::{BLOCK, COMMON};
use super::weights::{Matrix, Part};
use crate::plan::Activation;

/// Threads of a workgroup.
pub const THREADS: usize = 64;

/// Activations: rows of `stride` f32 values, of which the last may be filling.
#[derive(Clone)]
pub struct Slot {
    pub buffer: wgpu::Buffer,
    pub width: usize,
    pub stride: usize,
}

impl Slot {
    /// A slot for `rows` rows.
    pub fn new(gpu: &Gpu, rows: usize, width: usize) -> Self {
        let stride = width.next_multiple_of(BLOCK);
        Slot { buffer: gpu.buffer(Slot::bytes(rows, width)), width, stride }
    }

    /// What it takes: its rows are filled up to whole blocks.
    pub fn bytes(rows: usize, width: usize) -> u64 {
        4 * rows as u64 * width.next_multiple_of(BLOCK) as u64
    }

    /// Vectors of four in a row.
    pub fn fours(&self) -> usize {
        self.stride / 4
    }
}

/// The part of the source that unpacks matrices 0, 1, …
fn unpackers<'a>(matrices: impl IntoIterator<Item = &'a Matrix>) -> String {
    let unpack = |(k, matrix): (usize, &Matrix)| matrix.format.wgsl(k);
    let all: String = matrices.into_iter().enumerate().map(unpack).collect();
    COMMON.to_owned() + &all
}

/// Binds a part of a matrix as number `k`.
fn bind(call: Call, k: usize, matrix: &Matrix, part: &Part) -> Call {
    call.reads(format!("w{k}"), "u32", &part.buffer).param(format!("odd{k}"), matrix.odds(part))
}

/// WGSL of an activation function `f`.
fn function(f: Activation) -> &'static str {
    match f {
        Activation::Silu => wgsl!("silu"),
        Activation::Sigmoid => wgsl!("sigmoid"),
        Activation::GeluTanh => wgsl!("gelu_tanh"),
        Activation::GeluErf => wgsl!("gelu_erf"),
        Activation::Tanh => wgsl!("tanh"),
    }
}

/// WGSL of a sum over all threads of a workgroup.
fn fold(threads: usize) -> String {
    let run = 1 << threads.ilog2().div_ceil(2);
    wgsl!("fold").replace("$THREADS", &threads.to_string()).replace("$RUN", &run.to_string())
}
