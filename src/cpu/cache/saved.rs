//! Keys, values and states as bytes, to be had again elsewhere.
//!
//! Of each layer the number of its first page that is still there; then of each page on from that, of each head, the
//! rows and scales of the tiles that hold positions. Last, of each state its values. All little-endian, as WebAssembly
//! has it. Bytes come from anywhere: none makes a code that attention's sums have no room for, or a number that is none.

use super::{Cache, KvType, PAGE, Page, Row, TILE};
use crate::bytes::{Reader, damaged};
use crate::error::Result;
use std::sync::Arc;

/// Largest codes; see [`super::Codes`].
const LARGEST_16: u16 = 8191;
const LARGEST_8: u8 = 127;

impl Cache {
    /// Appends what is stored.
    pub fn save(&self, out: &mut Vec<u8>) {
        for layer in &self.layers {
            let shape = layer.kv_type.shape(layer.cache.dim);
            let first = layer.pages.iter().take_while(|page| page.is_gone()).count();
            out.extend((first as u32).to_le_bytes());
            for (index, page) in layer.pages.iter().enumerate().take(self.len.div_ceil(PAGE)).skip(first) {
                let tiles = (self.len - index * PAGE).min(PAGE).div_ceil(TILE);
                for (head, tile) in places(layer.cache.heads, tiles) {
                    let (rows, scales) = page.share(head, tile, shape);
                    // SAFETY: pages are written by steps, and none is on.
                    let (rows, scales) =
                        unsafe { (rows.read(0..shape.rows()), scales.read(0..shape.scales())) };
                    out.extend_from_slice(bytemuck::cast_slice(rows));
                    out.extend_from_slice(bytemuck::cast_slice(scales));
                }
            }
        }
        for state in &self.states {
            out.extend_from_slice(bytemuck::cast_slice(state.last(self.turn)));
        }
    }

    /// Has this cache, an empty one, hold the `len` tokens whose keys, values and states were saved.
    pub fn restore(mut self, len: usize, bytes: &[u8]) -> Result<Self> {
        let mut reader = Reader::new(bytes);
        for layer in &mut self.layers {
            let (shape, heads) = (layer.kv_type.shape(layer.cache.dim), layer.cache.heads);
            let first = reader.u32()? as usize;
            if first > len.div_ceil(PAGE) {
                return Err(damaged());
            }
            layer.pages.resize_with(first, Arc::default);
            for index in first..len.div_ceil(PAGE) {
                let tiles = (len - index * PAGE).min(PAGE).div_ceil(TILE);
                let (row_bytes, scale_bytes) = (shape.rows() * size_of::<Row>(), shape.scales() * 4);
                // Memory is taken for what is there.
                let mut part = Reader::new(reader.take(heads * tiles * (row_bytes + scale_bytes))?);
                let mut page = Page::new(shape, heads)?;
                for (head, tile) in places(heads, tiles) {
                    let rows = &mut page.rows.values_mut()[shape.part(shape.rows(), head, tile)];
                    bytemuck::cast_slice_mut::<Row, u8>(rows).copy_from_slice(part.take(row_bytes)?);
                    let scales = &mut page.scales.values_mut()[shape.part(shape.scales(), head, tile)];
                    bytemuck::cast_slice_mut::<f32, u8>(scales).copy_from_slice(part.take(scale_bytes)?);
                    let scaled = scales.iter().all(|scale| scale.is_finite() && *scale >= 0.0);
                    if !scaled || !in_range(layer.kv_type, rows) {
                        return Err(damaged());
                    }
                }
                layer.pages.push(Arc::new(page));
            }
            if !layer.sees(len) {
                return Err(damaged());
            }
            layer.len = len;
        }
        for state in &mut self.states {
            let values = state.restore(self.turn)?;
            let bytes = reader.take(size_of_val(values))?;
            bytemuck::cast_slice_mut::<f32, u8>(values).copy_from_slice(bytes);
            if !values.iter().all(|value| value.is_finite()) {
                return Err(damaged());
            }
        }
        self.len = len;
        reader.end().map(|()| self)
    }
}

fn places(heads: usize, tiles: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..heads).flat_map(move |head| (0..tiles).map(move |tile| (head, tile)))
}

fn in_range(kv_type: KvType, rows: &[Row]) -> bool {
    match kv_type {
        KvType::F16 => {
            let codes: &[i16] = bytemuck::cast_slice(rows);
            codes.iter().all(|code| code.unsigned_abs() <= LARGEST_16)
        }
        KvType::Q8_0 => {
            let codes: &[i8] = bytemuck::cast_slice(rows);
            codes.iter().all(|code| code.unsigned_abs() <= LARGEST_8)
        }
    }
}
