//! From logits to a token, as `runtime::Sampler` does it: bias and penalties, temperature, the k first, top-p, min-p, a
//! draw. First a thread per block of 32 logits for the blocks' maxima, all over the device, since they read the whole
//! vocabulary. Then, where k is at most 64, one workgroup for the choice, which reads the maxima and few blocks; else
//! tallies of all tokens by probability, all over the device again, and one workgroup that draws by them.

use super::{Slot, THREADS};
use crate::gpu::call::{Call, Scope};

/// The most first tokens that are ranked; of more there are tallies.
pub const MOST: usize = 64;
/// Of each kind of tally: of all tokens, and of those of a bin.
const BINS: usize = 4096;
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
    /// How many tokens there are in each bin, and what they weigh. Those of all tokens are zero between choices.
    pub bins: &'a wgpu::Buffer,
    /// Token and position of each row of the next step, of which the first gets the token.
    pub tokens: &'a wgpu::Buffer,
}

/// Bytes of the candidates of a choice.
pub const CANDIDATES_BYTES: u64 = 4 * (MOST * SPAN) as u64;
/// Bytes of the bins of a choice: a count, and two words of weight.
pub const BINS_BYTES: u64 = 4 * (2 * 3 * BINS) as u64;

/// Blocks of a vocabulary, filled up to whole workgroups.
pub fn blocks(vocabulary: usize) -> usize {
    vocabulary.div_ceil(SPAN * THREADS) * THREADS
}

/// Adjusts the logits, and finds the blocks' maxima.
pub fn maxima(buffers: &Choose) -> Call {
    call(buffers, "maxima", &[wgsl!("maxima")], blocks(buffers.logits.width) / THREADS)
}

/// Chooses by them, among at most [`MOST`] tokens.
pub fn choose(buffers: &Choose) -> Call {
    call(buffers, "choose", &[wgsl!("pick"), wgsl!("choose")], 1)
        .writes("candidates", "u32", buffers.candidates)
        .writes("tokens", "u32", buffers.tokens)
}

/// Chooses by them, among any number.
pub fn draw(buffers: &Choose) -> [Call; 2] {
    let call = |label, texts: &[&str], groups| {
        call(buffers, label, &[&[wgsl!("grade")], texts].concat(), groups)
            .writes("bins", "atomic<u32>", buffers.bins)
            .rare()
    };
    [
        call("weigh", &[wgsl!("weigh")], blocks(buffers.logits.width) / THREADS),
        call("draw", &[wgsl!("pick"), wgsl!("draw")], 1).writes("tokens", "u32", buffers.tokens),
    ]
}

fn call(buffers: &Choose, label: &'static str, texts: &[&str], groups: usize) -> Call {
    let Choose { logits, draw, adjustments, mask, maxima, .. } = buffers;
    let shared = format!("const SPAN = {SPAN}u;\nconst MOST = {MOST}u;\nconst BINS = {BINS}u;\n");
    let body = [&[shared.as_str(), wgsl!("choice")], texts].concat().concat();
    Call::new(label, body, groups)
        .scope(Scope::Head)
        .reads("draw", "Draw", draw)
        .reads("mask", "u32", mask)
        .writes("adjustments", "vec2<f32>", adjustments)
        .writes("logits", "f32", &logits.buffer)
        .writes("maxima", "u32", maxima)
        .param("vocabulary", logits.width)
        .param("blocks", blocks(logits.width))
}
