//! Sequences as bytes: how many positions were written; then, of each layer, what is stored of each head's keys and of its
//! values; then of each state the half that the last step has left.
//!
//! Where a position lies depends on the size of the context, so that belongs to the layout.

use super::lanes::Lane;
use super::{Cache, Executor, half_bytes};
use crate::bytes::{Reader, damaged};
use crate::error::{Error, Result};
use crate::gpu::readback::{Readback, Signal};
use crate::gpu::sequence::Layer;

impl Executor {
    /// What has to be the same where a sequence is restored.
    pub fn layout(&self) -> String {
        let kinds: Vec<_> = self.pool.layers.iter().map(|layer| layer.kv_type).take(1).collect();
        format!("gpu blocks {kinds:?} {}", self.plan.context_length)
    }

    /// Appends what is stored of a sequence: true, or false as long as it is on its way.
    pub fn save(&mut self, cache: &Cache, out: &mut Vec<u8>) -> Result<bool> {
        if self.saving.is_none() {
            if !self.hold(cache)? {
                return Ok(false);
            }
            self.send();
            self.saving = Some(self.copied(cache));
        }
        self.gpu.settle()?;
        let Some((readback, made)) = &mut self.saving else {
            return Err(Error::internal("nothing is being saved"));
        };
        let taken = match made.outcome() {
            None => return Ok(false),
            Some(false) => Err(self.lacking()),
            Some(true) => readback.take(&self.gpu, |values| {
                out.extend((cache.written() as u32).to_le_bytes());
                out.extend_from_slice(bytemuck::cast_slice(values));
            }),
        };
        if !matches!(taken, Ok(None)) {
            self.saving = None;
        }
        Ok(taken?.is_some())
    }

    /// What is stored of a sequence, on its way to the host, and whether there was room for it.
    fn copied(&self, cache: &Cache) -> (Readback, Signal) {
        let parts = self.lanes.get(&cache.lane).map_or(vec![], |lane| self.parts(cache, lane));
        let bytes = parts.iter().map(|(_, _, len)| len).sum();
        self.gpu.attempt(|| {
            let mut readback = Readback::new(&self.gpu, bytes);
            self.gpu.submit(|encoder| {
                let mut to = 0;
                for (buffer, at, len) in parts {
                    encoder.copy_buffer_to_buffer(buffer, at, &readback.buffer, to, len);
                    to += len;
                }
            });
            readback.begin(bytes);
            readback
        })
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
        let mut outcome = Ok(());
        let made = self.fill(cache.lane, |executor, lane| {
            outcome = executor.parts(&cache, lane).into_iter().try_for_each(|(buffer, at, len)| {
                executor.gpu.write(buffer, at, reader.take(len as usize)?);
                Ok(())
            });
        });
        outcome?;
        match made.outcome() {
            Some(false) => Err(self.lacking()),
            _ => self.gpu.check().map(|()| cache),
        }
    }

    /// Where it lies what is stored of a sequence: buffers, offsets and lengths in bytes.
    fn parts<'a>(&self, cache: &Cache, lane: &'a Lane) -> Vec<(&'a wgpu::Buffer, u64, u64)> {
        let ([layers, states], mut parts) = (&lane.memory, vec![]);
        for (layer, buffer) in self.pool.layers.iter().zip(layers) {
            parts.extend(layer.places(cache.stored(layer)).map(|(at, len)| (buffer, at, len)));
        }
        for (len, buffer) in self.pool.states.iter().zip(states) {
            parts.push((buffer, cache.turn as u64 * half_bytes(*len), half_bytes(*len)));
        }
        parts
    }
}

/// Refuses scales that are no numbers.
fn check(layer: &Layer, bytes: &[u8]) -> Result<()> {
    let mut rows = bytes.chunks_exact(4 * layer.row());
    let sound = rows.all(|row| row[4 * layer.words()..].as_chunks().0.iter().all(finite));
    if sound { Ok(()) } else { Err(damaged()) }
}

fn finite(bytes: &[u8; 4]) -> bool {
    f32::from_le_bytes(*bytes).is_finite()
}
