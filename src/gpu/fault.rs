//! What went wrong on a device: commands fail long after they were given.

use super::device::Gpu;
use super::readback::Signal;
use crate::error::{Code, Error, Result};
use std::sync::{Arc, Mutex, PoisonError};

/// The first fault, until it is told: others follow from it.
#[derive(Clone, Default)]
pub struct Fault(Arc<Mutex<Option<Error>>>);

impl Fault {
    pub fn lost(&self, message: &str) {
        self.blame(Error::new(Code::DeviceLost, format!("the GPU was lost: {message}")));
    }

    /// Nothing that comes after a command that was refused can be trusted, so the device is as good as lost.
    pub fn refused(&self, error: wgpu::Error) {
        self.blame(match error {
            wgpu::Error::OutOfMemory { .. } => out_of_memory(),
            error => Error::new(Code::DeviceLost, format!("the GPU refused a command: {error}")),
        });
    }

    fn blame(&self, error: Error) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
    }

    /// A device whose memory did not suffice says so once. Then it is as good as lost: who knows what it lacks.
    pub fn check(&self) -> Result<()> {
        let mut fault = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(error) = fault.clone() else { return Ok(()) };
        if error.code == Code::OutOfMemory {
            *fault = Some(Error::new(Code::DeviceLost, "the GPU's memory did not suffice"));
        }
        Err(error)
    }
}

/// What a request is told whose buffers cannot be had.
pub fn out_of_memory() -> Error {
    Error::out_of_memory(
        "the GPU's memory does not suffice: close sessions, or choose a smaller model, format or contextLength",
    )
}

impl Gpu {
    /// Makes buffers, and what is bound to them or copied between them: if they cannot be had, that is no fault of the
    /// device. The signal says whether they could, which a browser is told some time later.
    pub(super) fn attempt<T>(&self, make: impl FnOnce() -> T) -> (T, Signal) {
        let memory = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        // What uses a buffer that could not be had is refused.
        let uses = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let made = make();
        let (uses, memory) = (uses.pop(), memory.pop());
        let signal = Signal::default();
        let ended = signal.clone();
        let outcome = async move {
            let (uses, memory) = (uses.await, memory.await);
            ended.end(uses.is_none() && memory.is_none());
        };
        #[cfg(target_arch = "wasm32")]
        wasm_bindgen_futures::spawn_local(outcome);
        // Natively it is known at once.
        #[cfg(not(target_arch = "wasm32"))]
        let _ = std::pin::pin!(outcome).poll(&mut std::task::Context::from_waker(std::task::Waker::noop()));
        (made, signal)
    }
}
