//! From logits to a token, as `runtime::Sampler` does it: bias and penalties, temperature, the k first, top-p, min-p, a
//! draw. Two dispatches: a thread per block of 32 logits for the blocks' maxima, all over the device, since they read
//! the whole vocabulary; then one workgroup for the choice, which reads the maxima and few blocks.

use super::{Slot, THREADS};
use crate::gpu::call::{Call, Scope};

/// The most first tokens that a draw can be among.
pub const MOST: usize = 64;
/// Logits of a block.
const SPAN: usize = 32;

/// The buffers of a choice.
pub struct Choose<'a> {
    /// Their first row is chosen from.
    pub logits: &'a Slot,
    /// Parameters of the draw.
    pub draw: &'a wgpu::Buffer,
    /// Of each token its bias, and how often it has occurred.
    pub adjustments: &'a wgpu::Buffer,
    /// A bit for each token: whether it may be chosen, where the draw says that there is a mask.
    pub mask: &'a wgpu::Buffer,
    /// Of each block its largest value.
    pub maxima: &'a wgpu::Buffer,
    /// Tokens that may be among the first: as workgroup memory they would take SwiftShader's compiler a second.
    pub candidates: &'a wgpu::Buffer,
    /// Token and position of each row of the next step, of which the first gets the token.
    pub tokens: &'a wgpu::Buffer,
}

/// Bytes of the candidates of a choice.
pub const CANDIDATES_BYTES: u64 = 4 * (MOST * SPAN) as u64;

/// Blocks of a vocabulary, filled up to whole workgroups.
pub fn blocks(vocabulary: usize) -> usize {
    vocabulary.div_ceil(SPAN * THREADS) * THREADS
}

pub fn choose(buffers: &Choose) -> [Call; 2] {
    let Choose { logits, draw, adjustments, mask, maxima, candidates, tokens } = buffers;
    let (vocabulary, blocks) = (logits.width, blocks(logits.width));
    let shared = format!("const SPAN = {SPAN}u;\n");
    let body = |text: &str| [&shared, include_str!("choice.wgsl"), text].concat();
    let call = |label, text, groups| {
        Call::new(label, text, groups)
            .scope(Scope::Head)
            .reads("draw", "Draw", draw)
            .reads("mask", "u32", mask)
            .writes("adjustments", "vec2<f32>", adjustments)
            .writes("logits", "f32", &logits.buffer)
            .writes("maxima", "u32", maxima)
            .param("vocabulary", vocabulary)
            .param("blocks", blocks)
    };
    let choose = include_str!("choose.wgsl").replace("$MOST", &MOST.to_string());
    [
        call("maxima", body(include_str!("maxima.wgsl")), blocks / THREADS),
        call("choose", body(&choose), 1)
            .writes("candidates", "u32", candidates)
            .writes("tokens", "u32", tokens),
    ]
}
