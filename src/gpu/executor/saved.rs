//! Sequences as bytes: how many positions were written; then, of each layer, what is stored of each head's keys and of its
//! values; then of each state the half that the last step has left.
//!
//! Where a position lies depends on the size of the context, so that belongs to the layout.

use super::{Cache, Executor, half_bytes};
use crate::bytes::{Reader, damaged};
use crate::cpu::KvType;
use crate::error::{Error, Result};
use crate::gpu::readback::Readback;
use crate::gpu::sequence::Layer;

impl Executor {
    /// What has to be the same where a sequence is restored.
    pub fn layout(&self) -> String {
        let kinds: Vec<_> = self.pool.layers.iter().map(|layer| layer.kv_type).take(1).collect();
        format!("gpu {kinds:?} {}", self.plan.context_length)
    }

    /// Appends what is stored of a sequence: true, or false as long as it is on its way.
    pub fn save(&mut self, cache: &Cache, out: &mut Vec<u8>) -> Result<bool> {
        if self.saving.is_none() {
            self.send();
            let parts = self.parts(cache);
            let bytes = parts.iter().map(|(_, _, len)| len).sum();
            let mut readback = Readback::new(&self.gpu, bytes);
            self.gpu.submit(|encoder| {
                let mut to = 0;
                for (buffer, at, len) in parts {
                    encoder.copy_buffer_to_buffer(buffer, at, &readback.buffer, to, len);
                    to += len;
                }
            });
            readback.begin(bytes);
            self.saving = Some(readback);
        }
        self.gpu.settle()?;
        let Some(readback) = &mut self.saving else { return Err(Error::internal("nothing is being saved")) };
        let written = (cache.written() as u32).to_le_bytes();
        let taken = readback.take(&self.gpu, |values| {
            out.extend(written);
            out.extend_from_slice(bytemuck::cast_slice(values));
        });
        if !matches!(taken, Ok(None)) {
            self.saving = None;
        }
        Ok(taken?.is_some())
    }

    /// A sequence of `len` tokens, as it was saved.
    pub fn restore(&mut self, len: usize, bytes: &[u8]) -> Result<Cache> {
        let mut reader = Reader::new(bytes);
        let written = reader.u32()? as usize;
        if len > written || written > self.plan.context_length {
            return Err(damaged());
        }
        let cache = self.new_cache().holding(len, written);
        if !cache.reaches(len) {
            return Err(damaged());
        }
        self.reach(cache.lane)?;
        for layer in &self.pool.layers {
            for (_, len) in layer.places(cache.stored(layer)) {
                check(layer, reader.take(len as usize)?)?;
            }
        }
        for len in &self.pool.states {
            if !reader.take(half_bytes(*len) as usize)?.as_chunks().0.iter().all(finite) {
                return Err(damaged());
            }
        }
        reader.end()?;
        let mut reader = Reader::new(&bytes[4..]);
        for (buffer, at, len) in self.parts(&cache) {
            self.gpu.write(buffer, at, reader.take(len as usize)?);
        }
        self.gpu.check().map(|()| cache)
    }

    /// Where it lies what is stored of a sequence: buffers, offsets and lengths in bytes.
    fn parts(&self, cache: &Cache) -> Vec<(&wgpu::Buffer, u64, u64)> {
        let lane = &self.lanes[&cache.lane];
        let mut parts = vec![];
        for (layer, buffer) in self.pool.layers.iter().zip(&lane.layers) {
            parts.extend(layer.places(cache.stored(layer)).map(|(at, len)| (buffer, at, len)));
        }
        for (len, buffer) in self.pool.states.iter().zip(&lane.states) {
            parts.push((buffer, cache.turn as u64 * half_bytes(*len), half_bytes(*len)));
        }
        parts
    }
}

/// Refuses numbers that are none.
fn check(layer: &Layer, bytes: &[u8]) -> Result<()> {
    let sound = match layer.kv_type {
        // No exponent of all ones.
        KvType::F16 => bytes.as_chunks::<2>().0.iter().all(|half| half[1] & 0x7c != 0x7c),
        KvType::Q8_0 => {
            let mut rows = bytes.chunks_exact(4 * layer.row());
            rows.all(|row| row[4 * layer.words()..].as_chunks().0.iter().all(finite))
        }
    };
    if sound { Ok(()) } else { Err(damaged()) }
}

fn finite(bytes: &[u8; 4]) -> bool {
    f32::from_le_bytes(*bytes).is_finite()
}
