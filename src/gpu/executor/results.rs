//! What a step is asked for: states, logits, the next token. It is submitted with the first of them.

use super::{Executor, HEAD, HEAD_ROWS, LAST, Lanes, Sequence, Step};
use crate::error::{Error, Result};
use crate::gpu::call::Dispatch;
use crate::gpu::choice::{Chooser, Draw};
use crate::gpu::kernels::Slot;
use crate::gpu::sequence::Cache;
use crate::plan::Head;
use std::ops::Range;

/// What is wanted of a step.
pub(super) enum Wanted {
    Nothing,
    /// The states of some rows.
    States(Range<usize>),
    /// Means of the states of so many ranges of rows, of length 1 or as they are.
    Means {
        ranges: usize,
        normalize: bool,
    },
    /// The logits of some rows.
    Logits(Range<usize>),
    /// That the logits of a row be there.
    Head(usize),
    /// The token that follows a row.
    Choice(usize),
}

impl Wanted {
    fn rows(&self) -> Range<usize> {
        match self {
            Wanted::Nothing => 0..0,
            Wanted::Means { ranges, .. } => 0..*ranges,
            Wanted::States(rows) | Wanted::Logits(rows) => rows.clone(),
            Wanted::Head(row) | Wanted::Choice(row) => *row..*row + 1,
        }
    }
}

impl Executor {
    /// Has the GPU choose the token that follows row `row` of the last step, which is of one sequence. `adjustments`
    /// are, for each token, its bias and one more than how often it has occurred in the answer, or 0 if it has not
    /// occurred at all; without them those of the last choice hold, and count the tokens chosen. With a mask only tokens
    /// whose bit is set in it are chosen: bit `t % 32` of word `t / 32`. Answers false if too many choices that nobody
    /// waits for are still on their way.
    pub fn choose(
        &mut self,
        row: usize,
        draw: &Draw,
        adjustments: Option<&[[f32; 2]]>,
        mask: Option<&[u32]>,
    ) -> Result<bool> {
        let Some(Step { sequences, .. }) = &self.step else {
            return Err(Error::internal("no step was begun"));
        };
        let ([Sequence { lanes, .. }], Some(chooser)) = (sequences.as_slice(), &mut self.chooser) else {
            return Err(Error::internal("a choice that is not of one sequence of a decoder"));
        };
        let lane = lanes.latest;
        let Some(place) = chooser.free()? else { return Ok(false) };
        if let Some(adjustments) = adjustments {
            chooser.adjust(adjustments);
        }
        chooser.prepare(draw, mask);
        let copy = chooser.copy_to(place);
        let submitted = self.submit(&Wanted::Choice(row), copy)?;
        if let Some(chooser) = &mut self.chooser {
            chooser.read(place, submitted);
        }
        self.chosen_for = Some(lane);
        Ok(true)
    }

    /// Begins the step that takes the token chosen last, and has the next one chosen: true, or false if enough of them
    /// are under way. The sequence must be the one that the token was chosen for, with nothing begun since.
    pub fn follow(&mut self, cache: &mut Cache, draw: &Draw) -> Result<bool> {
        if self.chooser.as_ref().is_none_or(Chooser::is_full) || !self.take_chosen(cache)? {
            return Ok(false);
        }
        let begun = self.choose(0, draw, None, None)?;
        match begun {
            true => {
                cache.reserve(1);
                cache.advance(1);
            }
            false => self.step = None,
        }
        Ok(begun)
    }

    /// Begins the step that takes the token chosen last, for a choice that is yet to be asked for: true, or false if
    /// that has to wait until the token is known. The same holds of the sequence.
    pub fn go_on(&mut self, cache: &mut Cache) -> Result<bool> {
        let begun = self.take_chosen(cache)?;
        if begun {
            self.submit(&Wanted::Head(0), |_| {})?;
            cache.reserve(1);
            cache.advance(1);
        }
        Ok(begun)
    }

    /// Gets the step ready that takes the token chosen last. Answers false where that is not known yet and could not be
    /// taken back: states do not go back.
    fn take_chosen(&mut self, cache: &Cache) -> Result<bool> {
        if !self.is_chosen_for(cache) {
            return Err(Error::internal("a step follows a choice that was not made"));
        }
        let start = cache.len();
        if start >= self.plan.context_length {
            return Err(Error::internal("a step goes beyond the context"));
        }
        if !self.plan.states.is_empty() && self.chooser.as_ref().is_some_and(Chooser::is_busy) {
            return Ok(false);
        }
        self.gpu.write(&self.buffers.rows, 4, bytemuck::bytes_of(&(start as u32)));
        self.place([start].into_iter());
        self.prepare(1, vec![Sequence { rows: 0..1, start, turn: cache.turn, lanes: Lanes::of(cache) }]);
        Ok(true)
    }

    /// Whether the last choice was made for this sequence, and nothing was begun since.
    pub fn is_chosen_for(&self, cache: &Cache) -> bool {
        self.chosen_for == Some(cache.latest().number) && cache.owns_next()
    }

    /// The oldest choice that was not asked for yet, if it is here.
    pub fn chosen(&mut self) -> Result<Option<u32>> {
        self.gpu.check()?;
        let Some(chooser) = &mut self.chooser else { return Ok(None) };
        chooser.take()
    }

    /// Has the logits of row `row` of the last step be made, from which a token is to be chosen later.
    pub fn make_logits(&mut self, row: usize) -> Result<()> {
        self.submit(&Wanted::Head(row), |_| {}).map(drop)
    }

    /// The logits of some rows of the last step, one row of the vocabulary's length after the other: true when they
    /// are there, false as long as they are on their way. Nothing else is done between.
    pub fn logits(&mut self, rows: Range<usize>, out: &mut Vec<f32>) -> Result<bool> {
        let Head::Logits { .. } = self.plan.head else {
            return Err(Error::unsupported_model(
                "this model is an encoder: it has no head to generate or score with",
            ));
        };
        if rows.len() > HEAD_ROWS {
            return Err(Error::internal(format!("logits of {} rows at once", rows.len())));
        }
        let source = self.buffers.logits.clone();
        self.result(&source, 0, Wanted::Logits(rows), out)
    }

    /// The hidden states of some rows of the last step, in the same way.
    pub fn hidden(&mut self, rows: Range<usize>, out: &mut Vec<f32>) -> Result<bool> {
        let source = self.buffers.slots[self.plan.head.slot().0].clone();
        self.result(&source, rows.start, Wanted::States(rows), out)
    }

    /// Of each range of rows of the last step the mean of its states, in the same way; `normalize` gives it the length 1.
    pub fn means(&mut self, ranges: &[Range<usize>], normalize: bool, out: &mut Vec<f32>) -> Result<bool> {
        let rows = self.step.as_ref().map_or(0, |step| step.rows);
        if ranges.len() > rows || ranges.iter().any(|range| range.is_empty() || range.end > rows) {
            return Err(Error::internal("means of rows that a step does not have"));
        }
        if !self.readback.is_under_way() {
            let words: Vec<[u32; 2]> =
                ranges.iter().map(|range| [range.start as u32, range.end as u32]).collect();
            self.gpu.write(&self.buffers.ranges, 0, bytemuck::cast_slice(&words));
        }
        let source = self.buffers.logits.clone();
        self.result(&source, 0, Wanted::Means { ranges: ranges.len(), normalize }, out)
    }

    /// Has results made, and reads them from row `first` of `source` on.
    fn result(&mut self, source: &Slot, first: usize, wanted: Wanted, out: &mut Vec<f32>) -> Result<bool> {
        if !self.readback.is_under_way() {
            if !self.readback.is_free() {
                self.gpu.settle()?;
                if !self.readback.is_free() {
                    return Ok(false);
                }
            }
            let bytes = 4 * (wanted.rows().len() * source.stride) as u64;
            if bytes > self.readback.buffer.size() {
                return Err(Error::internal("more results are asked for than can be read at once"));
            }
            let (at, target) = (4 * (first * source.stride) as u64, self.readback.buffer.clone());
            self.submit(&wanted, |encoder| {
                encoder.copy_buffer_to_buffer(&source.buffer, at, &target, 0, bytes)
            })?;
            self.readback.begin(bytes);
        }
        self.gpu.settle()?;
        let (width, stride) = (source.width, source.stride);
        let taken = self.readback.take(&self.gpu, |values| {
            out.clear();
            values.chunks_exact(stride).for_each(|row| out.extend_from_slice(&row[..width]));
        })?;
        Ok(taken.is_some())
    }

    /// Submits the step that waits, if its caches count it, with nothing after it.
    pub(super) fn send(&mut self) {
        if self.step.as_ref().is_some_and(|step| step.waits && step.counts)
            && self.submit(&Wanted::Nothing, |_| {}).is_ok()
        {
            self.under_way.push_back(self.gpu.done());
        }
    }

    /// Submits, as one command buffer with one pass, the step if it waits and what is wanted of its rows, then what
    /// `copy` adds.
    fn submit(
        &mut self,
        wanted: &Wanted,
        copy: impl FnOnce(&mut wgpu::CommandEncoder),
    ) -> Result<wgpu::SubmissionIndex> {
        let Some(step) = &self.step else { return Err(Error::internal("no step was begun")) };
        let rows = wanted.rows();
        let there = rows.len() == 1 && step.head == Some(rows.start);
        if !rows.is_empty() && !there {
            let normalizes = matches!(wanted, Wanted::Means { normalize: true, .. });
            self.tell(HEAD, &rows, 0, usize::from(normalizes), 0..LAST);
        }
        let one = step.sequences.iter().all(|sequence| sequence.rows.len() == 1);
        let program = if one { &self.one } else { &self.many };
        // A head of few rows is cheaper one by one.
        let head = if rows.len() == 1 { &self.one } else { &self.many };
        let head: [&[Dispatch]; 2] = if there { [&[], &[]] } else { [&head.states, &head.head] };
        let choice = self.chooser.as_ref().map_or([&[][..]; 2], Chooser::dispatches);
        let after: Vec<&[Dispatch]> = match wanted {
            Wanted::Nothing => vec![],
            Wanted::States(_) => vec![&self.many.states],
            Wanted::Means { .. } => vec![&self.many.head],
            Wanted::Logits(_) | Wanted::Head(_) => head.to_vec(),
            Wanted::Choice(_) => [head, choice].concat(),
        };
        let submitted = self.gpu.submit(|encoder| {
            {
                let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
                self.gpu.count(|counts| counts.passes += 1);
                if step.waits {
                    let mut k = 0;
                    for run in program.layers.chunk_by(|a, b| a.in_pieces && b.in_pieces) {
                        self.encode(&mut pass, run, k, step, one);
                        k += run.len();
                    }
                }
                for dispatch in
                    after.into_iter().flatten().filter(|dispatch| dispatch.when.holds(rows.len(), false))
                {
                    dispatch.encode(&self.gpu, &mut pass, None, HEAD, rows.len());
                }
            }
            copy(encoder);
        });
        if let Some(step) = &mut self.step {
            step.waits = false;
            step.head = match wanted {
                Wanted::Logits(_) | Wanted::Head(_) if rows.len() == 1 => Some(rows.start),
                // A choice changes the logits that it was made of.
                _ => None,
            };
        }
        self.gpu.check().map(|()| submitted)
    }
}
