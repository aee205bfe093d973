//! Waiting for the GPU: what is submitted is done some time later, and a [`Signal`] says when.

use super::device::Gpu;
use crate::error::{Code, Error, Result};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

/// Ends when a piece of work is done, or has failed.
#[derive(Clone, Default)]
pub struct Signal(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    outcome: Option<bool>,
    waker: Option<Waker>,
}

impl Signal {
    pub(super) fn end(&self, success: bool) {
        let waker = {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            state.outcome = Some(success);
            state.waker.take()
        };
        waker.into_iter().for_each(Waker::wake);
    }

    /// Whether it succeeded, once it has ended.
    pub(super) fn outcome(&self) -> Option<bool> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).outcome
    }
}

impl Gpu {
    /// What ends when all is done that was given so far.
    pub(super) fn done(&self) -> Signal {
        let signal = Signal::default();
        let done = signal.clone();
        self.queue.on_submitted_work_done(move || done.end(true));
        signal
    }
}

impl Future for Signal {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context) -> Poll<()> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if state.outcome.is_some() {
            return Poll::Ready(());
        }
        state.waker = Some(context.waker().clone());
        Poll::Pending
    }
}

/// A buffer that results are copied to and read from, one at a time.
pub struct Readback {
    pub buffer: wgpu::Buffer,
    state: Option<Reading>,
}

struct Reading {
    bytes: u64,
    signal: Signal,
    /// Nobody wants it any more.
    dropped: bool,
}

impl Readback {
    pub fn new(gpu: &Gpu, bytes: u64) -> Self {
        Readback { buffer: gpu.readable(bytes), state: None }
    }

    /// What to wait for.
    pub fn signal(&self) -> Option<&Signal> {
        self.state.as_ref().map(|reading| &reading.signal)
    }

    /// Whether a result is on its way to the one who asks.
    pub fn is_under_way(&self) -> bool {
        self.state.as_ref().is_some_and(|reading| !reading.dropped)
    }

    /// Forgets the result that is on its way.
    pub fn drop_result(&mut self) {
        if let Some(reading) = &mut self.state {
            reading.dropped = true;
        }
    }

    /// Whether the buffer can take another result. One that was dropped still has to arrive.
    pub fn is_free(&mut self) -> bool {
        if self.state.as_ref().is_some_and(|reading| reading.dropped && reading.signal.outcome().is_some()) {
            self.buffer.unmap();
            self.state = None;
        }
        self.state.is_none()
    }

    /// Begins to read the first `bytes` bytes, once what was submitted is done.
    pub fn begin(&mut self, bytes: u64) {
        let signal = Signal::default();
        let ended = signal.clone();
        self.buffer.map_async(wgpu::MapMode::Read, ..bytes, move |outcome| ended.end(outcome.is_ok()));
        self.state = Some(Reading { bytes, signal, dropped: false });
    }

    /// The result, if it has arrived.
    pub fn take<T>(&mut self, gpu: &Gpu, read: impl FnOnce(&[f32]) -> T) -> Result<Option<T>> {
        let Some(Reading { bytes, signal, .. }) = &self.state else {
            return Err(Error::internal("nothing was asked for that could be read"));
        };
        let Some(success) = signal.outcome() else { return Ok(None) };
        let bytes = *bytes;
        self.state = None;
        gpu.check()?;
        if !success {
            return Err(Error::new(Code::DeviceLost, "the GPU gave no result"));
        }
        gpu.count(|counts| counts.read += bytes);
        // The buffer is mapped until it is unmapped below, unless the device is lost, which it says only later.
        let view = self.buffer.get_mapped_range(..bytes);
        let view = view.map_err(|_| Error::new(Code::DeviceLost, "the GPU's result is gone"))?;
        let answer = read(bytemuck::cast_slice(&view));
        drop(view);
        self.buffer.unmap();
        Ok(Some(answer))
    }
}
