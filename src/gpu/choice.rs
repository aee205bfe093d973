//! Tokens that the GPU chooses by itself: the next step needs them there, and the host only to show them.

use super::call::Dispatch;
use super::device::Gpu;
use super::kernels::{self, Choose, Slot};
use super::readback::{Readback, Signal};
use crate::error::Result;
use std::collections::VecDeque;
use std::rc::Rc;
use std::slice;

/// Choices that may be on their way at first: one is computed while the next is made ready.
const AHEAD: usize = 2;
/// And at most, where the host hears of what is done late.
const MOST_AHEAD: usize = 16;

/// How a token is drawn. Names and meanings are those of a generation's options.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Draw {
    /// 0 is no limit.
    pub top_k: u32,
    pub temperature: f32,
    pub top_p: f32,
    pub min_p: f32,
    pub seed: u32,
    /// The number of the token in the answer.
    pub step: u32,
    pub repeat_penalty: f32,
    pub frequency_penalty: f32,
    pub presence_penalty: f32,
    /// Whether there are biases or penalties.
    pub adjusts: bool,
}

impl Draw {
    /// Whether its tokens are too many to be ranked.
    fn is_wide(&self) -> bool {
        !(1..=kernels::MOST_RANKED).contains(&(self.top_k as usize))
    }

    fn words(&self, mask: Option<&[u32]>) -> [u32; 10] {
        let Draw { top_k, temperature, top_p, min_p, seed, step, .. } = *self;
        let [a, b, c] =
            [self.repeat_penalty, self.frequency_penalty, self.presence_penalty].map(f32::to_bits);
        let [temperature, top_p, min_p] = [temperature, top_p, min_p].map(f32::to_bits);
        let lowest = mask.and_then(lowest).unwrap_or(0);
        let flags = u32::from(self.adjusts) | u32::from(mask.is_some()) << 1 | lowest << 2;
        [top_k, temperature, top_p, min_p, seed, step, a, b, c, flags]
    }
}

/// The lowest token whose bit is set in a mask: bit `t % 32` of word `t / 32` is that of token `t`.
pub fn lowest(mask: &[u32]) -> Option<u32> {
    let word = mask.iter().position(|word| *word != 0)?;
    Some(32 * word as u32 + mask[word].trailing_zeros())
}

/// What a choice takes, and the choices that are on their way to the host.
pub struct Chooser {
    gpu: Rc<Gpu>,
    maxima: Dispatch,
    narrow: Dispatch,
    wide: [Dispatch; 2],
    /// Whether the next choice is such a one.
    is_wide: bool,
    vocabulary: usize,
    draw: wgpu::Buffer,
    adjustments: wgpu::Buffer,
    mask: wgpu::Buffer,
    tokens: wgpu::Buffer,
    readbacks: Vec<Readback>,
    /// Numbers of those that a choice is on its way in, the oldest first, and what it was submitted with.
    under_way: VecDeque<(usize, wgpu::SubmissionIndex)>,
    ahead: usize,
}

impl Chooser {
    /// Chooses from the first row of `logits` into the first of `tokens`.
    pub fn new(gpu: &Rc<Gpu>, logits: &Slot, tokens: &wgpu::Buffer, step: &wgpu::Buffer) -> Self {
        let draw = gpu.buffer(4 * Draw::default().words(None).len() as u64);
        let adjustments = gpu.buffer(8 * logits.width as u64);
        let mask = gpu.buffer(4 * logits.width.div_ceil(32) as u64);
        let maxima = gpu.buffer(4 * kernels::blocks(logits.width) as u64);
        let candidates = gpu.buffer(kernels::CANDIDATES_BYTES);
        let bins = gpu.buffer(kernels::BINS_BYTES);
        let buffers = Choose {
            logits,
            draw: &draw,
            adjustments: &adjustments,
            mask: &mask,
            maxima: &maxima,
            candidates: &candidates,
            bins: &bins,
            tokens,
        };
        Chooser {
            maxima: kernels::maxima(&buffers).compile(gpu, step),
            narrow: kernels::choose(&buffers).compile(gpu, step),
            wide: kernels::draw(&buffers).map(|call| call.compile(gpu, step)),
            is_wide: false,
            gpu: Rc::clone(gpu),
            vocabulary: logits.width,
            tokens: tokens.clone(),
            readbacks: (0..MOST_AHEAD).map(|_| Readback::new(gpu, 4)).collect(),
            under_way: VecDeque::new(),
            ahead: AHEAD,
            draw,
            adjustments,
            mask,
        }
    }

    /// Bytes of what it takes for a vocabulary.
    pub fn bytes(vocabulary: usize) -> u64 {
        let words = 2 * vocabulary + kernels::blocks(vocabulary) + vocabulary.div_ceil(32);
        4 * words as u64 + kernels::CANDIDATES_BYTES + kernels::BINS_BYTES
    }

    /// Whether so many choices are under way as should be.
    pub fn is_full(&self) -> bool {
        self.under_way.len() >= self.ahead
    }

    /// Whether a choice is under way.
    pub fn is_busy(&self) -> bool {
        !self.under_way.is_empty()
    }

    /// Has the next choice made so, among the tokens of `mask` if there is one. What a mask does not name is not allowed.
    pub fn prepare(&mut self, draw: &Draw, mask: Option<&[u32]>) {
        self.is_wide = draw.is_wide();
        self.gpu.write(&self.draw, 0, bytemuck::cast_slice(&draw.words(mask)));
        if let Some(mask) = mask {
            let mut words = mask.to_vec();
            words.resize(self.vocabulary.div_ceil(32), 0);
            self.gpu.write(&self.mask, 0, bytemuck::cast_slice(&words));
        }
    }

    /// What makes the choice.
    pub fn dispatches(&self) -> [&[Dispatch]; 2] {
        let choice = if self.is_wide { &self.wide[..] } else { slice::from_ref(&self.narrow) };
        [slice::from_ref(&self.maxima), choice]
    }

    /// Sets biases, and for tokens that have occurred one more than how often they have in the answer.
    pub fn adjust(&self, adjustments: &[[f32; 2]]) {
        self.gpu.write(&self.adjustments, 0, bytemuck::cast_slice(adjustments));
    }

    /// A place that the host can read a token from, if there is one: those of dropped choices are free when they came.
    pub fn free(&mut self) -> Result<Option<usize>> {
        let free = self.readbacks.iter_mut().position(Readback::is_free);
        if free.is_none() {
            self.gpu.settle()?;
        }
        Ok(free.or_else(|| self.readbacks.iter_mut().position(Readback::is_free)))
    }

    /// What copies the token that was chosen to a free place.
    pub fn copy_to(&self, place: usize) -> impl FnOnce(&mut wgpu::CommandEncoder) + use<> {
        let (from, to) = (self.tokens.clone(), self.readbacks[place].buffer.clone());
        move |encoder| encoder.copy_buffer_to_buffer(&from, 0, &to, 0, 4)
    }

    /// Reads what was copied, now that it is submitted.
    pub fn read(&mut self, place: usize, submitted: wgpu::SubmissionIndex) {
        self.readbacks[place].begin(4);
        self.under_way.push_back((place, submitted));
    }

    /// What ends when the oldest choice is here.
    pub fn signal(&self) -> Option<&Signal> {
        self.under_way.front().and_then(|(place, _)| self.readbacks[*place].signal())
    }

    /// The oldest choice, if it is here.
    pub fn take(&mut self) -> Result<Option<u32>> {
        let Some((place, submitted)) = self.under_way.front().cloned() else { return Ok(None) };
        let ended =
            |place: usize| self.readbacks[place].signal().is_none_or(|signal| signal.outcome().is_some());
        if !ended(place) {
            self.gpu.settle_until(submitted)?;
        }
        if !ended(place) {
            return Ok(None);
        }
        // All is done that it was given: while the host was waiting for word, the GPU had nothing to do.
        if self.under_way.len() >= self.ahead && self.under_way.iter().all(|(place, _)| ended(*place)) {
            self.ahead = (self.ahead * 2).min(MOST_AHEAD);
        }
        self.under_way.pop_front();
        self.readbacks[place].take(&self.gpu, |words| words.first().map_or(0, |word| word.to_bits()))
    }

    /// Forgets the choices that are on their way.
    pub fn drop_all(&mut self) {
        for (place, _) in self.under_way.drain(..) {
            self.readbacks[place].drop_result();
        }
    }
}
