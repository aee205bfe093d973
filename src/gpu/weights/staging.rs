//! Bytes of a matrix on their way: to a staging buffer, and from there to their place.

use super::Matrix;
use crate::error::{Error, Result};
use crate::gpu::call::{Call, TOLD_BYTES};
use crate::gpu::device::Gpu;
use crate::gpu::kernels;
use std::rc::Rc;

/// Bytes that are staged at once, more only if two rows take more.
const STAGING: usize = 4 << 20;

/// A matrix whose first `done` rows are in place.
pub struct Rows {
    pub matrix: Matrix,
    row_bytes: usize,
    done: usize,
    carry: Vec<u8>,
    /// The last byte that has come.
    last: u8,
}

impl Rows {
    pub fn new(matrix: Matrix, row_bytes: usize) -> Self {
        Rows { matrix, row_bytes, done: 0, carry: vec![], last: 0 }
    }

    /// Refuses values and scales that are no finite numbers.
    pub fn check(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        if !self.matrix.format.is_finite(offset, self.last, bytes) {
            let row = offset / self.row_bytes.max(1) as u64;
            let message =
                format!("a value or block scale is not a finite number, in row {row} or soon after");
            return Err(Error::invalid_model(message));
        }
        self.last = bytes.last().copied().unwrap_or(self.last);
        Ok(())
    }

    /// Puts the next bytes where they belong.
    pub fn push(&mut self, gpu: &Rc<Gpu>, staging: &mut Option<wgpu::Buffer>, mut bytes: &[u8]) {
        let capacity = STAGING.max((2 * self.row_bytes).next_multiple_of(4));
        while let Some(part) = self.matrix.parts.iter().find(|part| self.done < part.first + part.rows) {
            let left = part.first + part.rows - self.done;
            let room = (self.carry.len() + bytes.len()).min(capacity);
            // Two rows fill whole words, those of odd u16s too.
            let rows = if room / self.row_bytes >= left { left } else { room / self.row_bytes / 2 * 2 };
            if rows == 0 {
                self.carry.extend_from_slice(bytes);
                return;
            }
            let (now, later) = bytes.split_at(rows * self.row_bytes - self.carry.len());
            bytes = later;
            let staging = match staging {
                Some(buffer) if buffer.size() >= capacity as u64 => buffer,
                _ => staging.insert(gpu.buffer(capacity as u64)),
            };
            stage(gpu, staging, &mut self.carry, now);
            let first = self.done - part.first;
            run(gpu, kernels::repack(&self.matrix, part, first, rows, self.row_bytes, staging));
            self.done += rows;
        }
    }
}

/// Writes `carry`, which is emptied, and then `bytes`. Writes are of whole words; zeros fill the last.
fn stage(gpu: &Gpu, staging: &wgpu::Buffer, carry: &mut Vec<u8>, bytes: &[u8]) {
    let missing = carry.len().next_multiple_of(4) - carry.len();
    let (begin, bytes) = bytes.split_at(missing.min(bytes.len()));
    carry.extend_from_slice(begin);
    let (middle, end) = bytes.split_at(bytes.len() / 4 * 4);
    let whole = carry.len().next_multiple_of(4);
    carry.resize(whole, 0);
    gpu.write(staging, 0, carry);
    gpu.write(staging, whole as u64, middle);
    let mut last = [0; 4];
    last[..end.len()].copy_from_slice(end);
    gpu.write(staging, (whole + middle.len()) as u64, &last[..end.len().next_multiple_of(4)]);
    carry.clear();
}

/// Runs a kernel by itself.
fn run(gpu: &Rc<Gpu>, call: Call) {
    let step = gpu.uniform(TOLD_BYTES);
    let dispatch = call.compile(gpu, &step);
    gpu.submit(|encoder| {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        dispatch.encode(gpu, &mut pass, None, 0, 1);
    });
}
