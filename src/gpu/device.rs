//! The device: how it is found, what went wrong on it, and what it was asked to do.

use super::fault::Fault;
use super::features::Features;
use super::pipelines::Pipelines;
use super::tuning::Tuning;
use crate::error::{Code, Error, Result};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

/// Below this many keys the second dispatch costs more than the first one saves.
const LONG: usize = 1024;

/// What a device was asked to do, counted since it was opened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    pub dispatches: u64,
    pub passes: u64,
    pub submits: u64,
    pub bind_groups: u64,
    pub pipelines: u64,
    pub buffers: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Bytes written to buffers from the host.
    pub written: u64,
    /// Bytes read back to the host.
    pub read: u64,
    /// Bytes that sequences were copied.
    pub copied: u64,
    /// Bytes of weights that dispatches read.
    pub weights: u64,
}

/// An open device, shared by all that lies on it.
pub struct Gpu {
    pub(super) device: wgpu::Device,
    pub(super) queue: wgpu::Queue,
    info: wgpu::AdapterInfo,
    limits: wgpu::Limits,
    features: Cell<Features>,
    tuning: RefCell<Tuning>,
    largest_table: Cell<u64>,
    long: Cell<usize>,
    software: Cell<bool>,
    fault: Fault,
    /// Bytes that buffers may take from now on.
    room: Cell<u64>,
    counts: Cell<Counts>,
    pub(super) pipelines: Pipelines,
}

impl Gpu {
    /// Opens the fastest adapter that there is.
    pub async fn open() -> Result<Rc<Self>> {
        Self::open_with(false).await
    }

    /// The same where the caller knows that the device has subgroups: of a browser's, wgpu does not tell.
    pub async fn open_with(subgroups: bool) -> Result<Rc<Self>> {
        let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
        descriptor.backends = wgpu::Backends::VULKAN | wgpu::Backends::BROWSER_WEBGPU;
        let instance = wgpu::Instance::new(descriptor);
        let options = wgpu::RequestAdapterOptions {
            power_preference: wgpu::PowerPreference::HighPerformance,
            ..Default::default()
        };
        let adapter = instance.request_adapter(&options).await.map_err(|error| {
            unsupported(format!("no graphics adapter can be had through WebGPU or Vulkan: {error}"))
        })?;
        let has = adapter.limits();
        // The default limits are enough; where there are larger buffers, tables need not be split.
        let limits = wgpu::Limits {
            max_buffer_size: has.max_buffer_size,
            max_storage_buffer_binding_size: has.max_storage_buffer_binding_size,
            ..wgpu::Limits::default()
        };
        let wanted = adapter.features() & (wgpu::Features::SHADER_F16 | wgpu::Features::SUBGROUP);
        let descriptor = wgpu::DeviceDescriptor {
            required_features: wanted,
            required_limits: limits.clone(),
            ..Default::default()
        };
        let (device, queue) = adapter
            .request_device(&descriptor)
            .await
            .map_err(|error| unsupported(format!("the graphics adapter gives no device: {error}")))?;
        let fault = Fault::default();
        let (lost, refused) = (fault.clone(), fault.clone());
        device.set_device_lost_callback(move |_, message| lost.lost(&message));
        device.on_uncaptured_error(Arc::new(move |error| refused.refused(error)));
        let info = adapter.get_info();
        let grouped = subgroups || wanted.contains(wgpu::Features::SUBGROUP);
        let language = instance.wgsl_language_features();
        let features = Features {
            f16: wanted.contains(wgpu::Features::SHADER_F16),
            subgroup: if grouped { info.subgroup_min_size as usize } else { 0 },
            packed_dot: language.contains(wgpu::WgslLanguageFeatures::Packed4x8IntegerDotProduct),
        };
        let software = Cell::new(info.device_type == wgpu::DeviceType::Cpu);
        Ok(Rc::new(Gpu {
            device,
            queue,
            info,
            limits,
            features: Cell::new(features),
            tuning: RefCell::default(),
            largest_table: Cell::new(u64::MAX),
            long: Cell::new(LONG),
            software,
            fault,
            room: Cell::new(u64::MAX),
            counts: Cell::default(),
            pipelines: Pipelines::default(),
        }))
    }

    /// The adapter's name, as far as it tells.
    pub fn name(&self) -> String {
        let wgpu::AdapterInfo { name, driver, .. } = &self.info;
        let parts: Vec<&str> = [name, driver].into_iter().map(|part| part.trim()).collect();
        parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
    }

    /// Whether kernels take the shapes that suit a program on the processor, as they do where it is one.
    pub fn is_software(&self) -> bool {
        self.software.get()
    }

    /// Has kernels that come from now on take the shapes that suit a graphics card, whatever this is.
    pub fn shape_for_cards(&self) {
        self.software.set(false);
    }

    /// What kernels may use of what not every adapter has.
    pub fn features(&self) -> Features {
        self.features.get()
    }

    /// Has kernels that come from now on use nothing else, as if the device had no more.
    pub fn use_only(&self, features: Features) {
        self.features.set(self.features.get().and(features));
    }

    /// The shapes that were found to be the fastest.
    pub fn tuning(&self) -> Tuning {
        self.tuning.borrow().clone()
    }

    /// Has kernels that come from now on take these shapes, where they can.
    pub fn tune(&self, tuning: Tuning) {
        *self.tuning.borrow_mut() = tuning;
    }

    /// What it was asked to do so far.
    pub fn counts(&self) -> Counts {
        self.counts.get()
    }

    pub(super) fn count(&self, change: impl FnOnce(&mut Counts)) {
        let mut counts = self.counts.get();
        change(&mut counts);
        self.counts.set(counts);
    }

    /// What went wrong since it was opened.
    pub fn check(&self) -> Result<()> {
        self.fault.check()
    }

    /// The most bytes that a kernel can see of one buffer.
    pub(super) fn largest_binding(&self) -> u64 {
        self.limits.max_storage_buffer_binding_size.min(self.limits.max_buffer_size)
    }

    /// The most bytes of a table in one buffer. Kernels count in 32 bits.
    pub(super) fn largest_table(&self) -> u64 {
        self.largest_binding().min(u64::from(u32::MAX)).min(self.largest_table.get())
    }

    /// Has tables that come from now on be split where they are larger than this, as a smaller device would.
    pub fn split_tables(&self, bytes: u64) {
        self.largest_table.set(bytes);
    }

    /// Keys of a sequence from which on several workgroups share those of a head.
    pub(super) fn long(&self) -> usize {
        self.long.get()
    }

    /// Has keys be shared so from this many on.
    pub fn share_keys(&self, from: usize) {
        self.long.set(from);
    }

    /// Has buffers that come from now on fail where they are more than `bytes` bytes in all, as on a smaller device.
    pub fn leave_room(&self, bytes: u64) {
        self.room.set(bytes);
    }

    /// A buffer of zeros for kernels, of at least `bytes` bytes.
    pub(super) fn buffer(&self, bytes: u64) -> wgpu::Buffer {
        use wgpu::BufferUsages as Usage;
        self.allocate(bytes, Usage::STORAGE | Usage::COPY_DST | Usage::COPY_SRC)
    }

    /// A buffer for small parameters.
    pub(super) fn uniform(&self, bytes: u64) -> wgpu::Buffer {
        self.allocate(bytes, wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST)
    }

    /// A buffer that the host can read.
    pub(super) fn readable(&self, bytes: u64) -> wgpu::Buffer {
        self.allocate(bytes, wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST)
    }

    fn allocate(&self, bytes: u64, usage: wgpu::BufferUsages) -> wgpu::Buffer {
        let size = bytes.max(16).next_multiple_of(16);
        self.count(|counts| {
            counts.buffers += 1;
            counts.bytes += size;
        });
        let room = self.room.get().checked_sub(size);
        self.room.set(room.unwrap_or(0));
        // No device has a buffer of that size.
        let size = room.map_or(!15, |_| size);
        self.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size,
            usage,
            mapped_at_creation: false,
        })
    }

    /// Has a buffer hold `bytes`, of which there are a multiple of four, from `offset` on before the next submit.
    pub(super) fn write(&self, buffer: &wgpu::Buffer, offset: u64, bytes: &[u8]) {
        self.count(|counts| counts.written += bytes.len() as u64);
        self.queue.write_buffer(buffer, offset, bytes);
    }

    /// Submits what `encode` puts into a command buffer.
    pub(super) fn submit(&self, encode: impl FnOnce(&mut wgpu::CommandEncoder)) -> wgpu::SubmissionIndex {
        let mut encoder = self.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encode(&mut encoder);
        self.count(|counts| counts.submits += 1);
        self.queue.submit([encoder.finish()])
    }

    /// Waits for all work natively. In a browser work goes on by itself, and this does nothing.
    pub(super) fn settle(&self) -> Result<()> {
        self.wait(wgpu::PollType::wait_indefinitely())
    }

    /// The same for what was submitted up to `index`.
    pub(super) fn settle_until(&self, index: wgpu::SubmissionIndex) -> Result<()> {
        self.wait(wgpu::PollType::Wait { submission_index: Some(index), timeout: None })
    }

    fn wait(&self, poll: wgpu::PollType) -> Result<()> {
        let waited = self.device.poll(poll);
        self.check()?;
        waited.map_err(|error| Error::internal(format!("waiting for the GPU failed: {error}")))?;
        Ok(())
    }
}

/// What lies on the GPU goes at once, not when JavaScript's garbage is collected.
impl Drop for Gpu {
    fn drop(&mut self) {
        self.device.destroy();
    }
}

fn unsupported(message: String) -> Error {
    Error::new(Code::UnsupportedDevice, message)
}
