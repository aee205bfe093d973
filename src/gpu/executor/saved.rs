//! Sequences as bytes: how many positions were written; then, of each layer, what is stored of each head's keys and of its
//! values; then of each state the half that the last step has left.
//!
//! Where a position lies depends on the size of the context, so that belongs to the layout.

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
            if !self.ready(cache)? {
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
        let parts = self.parts(cache);
        let bytes = parts.iter().map(|part| part.len).sum();
        self.gpu.attempt(|| {
            let mut readback = Readback::new(&self.gpu, bytes);
            self.gpu.submit(|encoder| {
                let mut to = 0;
                for Part { lane, of, at, len } in parts {
                    if let Some(buffer) = self.lanes.get(&lane).and_then(|lane| lane.buffer(of)) {
                        encoder.copy_buffer_to_buffer(buffer, at, &readback.buffer, to, len);
                    }
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
        let mut cache = self.new_cache();
        self.claim(&mut cache);
        let cache = cache.holding(len, written);
        if !cache.reaches(len) {
            return Err(damaged());
        }
        let parts = self.parts(&cache);
        for Part { of, len, .. } in &parts {
            let bytes = reader.take(*len as usize)?;
            let sound = match *of {
                [0, layer] => is_sound(&self.pool.layers[layer], bytes),
                _ => bytes.as_chunks().0.iter().all(finite),
            };
            if !sound {
                return Err(damaged());
            }
        }
        reader.end()?;
        for lane in cache.lanes() {
            let mut reader = Reader::new(&bytes[4..]);
            let mut outcome = Ok(());
            let made = self.fill(lane, |executor, bound| {
                outcome = parts.iter().try_for_each(|part| {
                    let bytes = reader.take(part.len as usize)?;
                    if let Some(buffer) = bound.buffer(part.of).filter(|_| part.lane == lane.number) {
                        executor.gpu.write(buffer, part.at, bytes);
                    }
                    Ok(())
                });
            });
            outcome?;
            if made.outcome() == Some(false) {
                return Err(self.lacking());
            }
        }
        self.gpu.check().map(|()| cache)
    }

    /// Where it lies what is stored of a sequence.
    fn parts(&self, cache: &Cache) -> Vec<Part> {
        let mut parts = vec![];
        for (index, layer) in self.pool.layers.iter().enumerate() {
            let stored = cache.stored(layer);
            for head in 0..2 * layer.heads {
                parts.extend(stored.iter().map(|&(lane, capacity, len)| {
                    let (at, len) = layer.place(head, capacity, len);
                    Part { lane, of: [0, index], at, len }
                }));
            }
        }
        for (index, len) in self.pool.states.iter().enumerate() {
            let (at, len) = (cache.turn as u64 * half_bytes(*len), half_bytes(*len));
            parts.push(Part { lane: cache.latest().number, of: [1, index], at, len });
        }
        parts.retain(|part| part.len > 0);
        parts
    }
}

/// A piece of what is stored: of layer (0) or state (1) so-and-so in a lane, an offset and a length in bytes.
struct Part {
    lane: usize,
    of: [usize; 2],
    at: u64,
    len: u64,
}

/// Whether scales are numbers.
fn is_sound(layer: &Layer, bytes: &[u8]) -> bool {
    let mut rows = bytes.chunks_exact(4 * layer.row());
    rows.all(|row| row[4 * layer.words()..].as_chunks().0.iter().all(finite))
}

fn finite(bytes: &[u8; 4]) -> bool {
    f32::from_le_bytes(*bytes).is_finite()
}
