//! The memory of a cache: a page of positions of one layer.

use super::codes::{Row, Shape};
use crate::cpu::shared::{Parts, Shared};
use crate::error::{Error, Result};

/// Positions per page. One head's share is to be long enough that reading it is limited by bandwidth, not by finding
/// the next: on virtual machines, 8 KB here and there came at 4 GB/s where one stream comes at 27.
pub const PAGE: usize = 256;
/// Positions whose probabilities are computed together.
pub const TILE: usize = 64;

/// For each head, for each tile, keys and then values: rows of codes, and for each block the scales of the positions.
/// Empty where the positions have left the window.
#[derive(Default)]
pub struct Page {
    pub rows: Shared<Row>,
    pub scales: Shared<f32>,
}

/// Keys or values of one head in a tile.
#[derive(Clone, Copy)]
pub struct Half<'a> {
    /// [`Shape::words`] rows for each eight positions, or dimensions.
    pub rows: &'a [Row],
    /// For each block.
    pub scales: &'a [[f32; TILE]],
}

impl Page {
    pub fn new(shape: Shape, heads: usize) -> Result<Self> {
        let shares = heads * (PAGE / TILE);
        let mut page = Page::default();
        if page.rows.resize(shares * shape.rows(), Row::default())
            && page.scales.resize(shares * shape.scales(), 0.0)
        {
            return Ok(page);
        }
        Err(Error::out_of_memory(
            "the key/value cache does not fit into memory: choose a smaller contextLength",
        ))
    }

    /// The same in other memory.
    pub fn copy(&self, shape: Shape, heads: usize) -> Result<Self> {
        let mut page = Page::new(shape, heads)?;
        // SAFETY: pages are written by steps, and none is on: nobody asks for room then.
        unsafe {
            page.rows.values_mut().copy_from_slice(self.rows.parts().read(0..self.rows.len()));
            page.scales.values_mut().copy_from_slice(self.scales.parts().read(0..self.scales.len()));
        }
        Ok(page)
    }

    /// Whether it has left the window.
    pub fn is_gone(&self) -> bool {
        self.rows.len() == 0
    }

    pub fn bytes(&self) -> usize {
        self.rows.len() * size_of::<Row>() + self.scales.len() * size_of::<f32>()
    }

    /// Rows and scales of one head in a tile: of its keys, then of its values.
    pub fn share(&self, head: usize, tile: usize, shape: Shape) -> (Parts<'_, Row>, Parts<'_, f32>) {
        let (rows, scales) = (shape.part(shape.rows(), head, tile), shape.part(shape.scales(), head, tile));
        (self.rows.parts().slice(rows), self.scales.parts().slice(scales))
    }

    /// Keys and values of one head in a tile.
    pub fn tile(&self, head: usize, tile: usize, shape: Shape) -> [Half<'_>; 2] {
        let (rows, scales) = self.share(head, tile, shape);
        // SAFETY: a layer is read after a barrier that all threads pass when they have stored.
        let (rows, scales) = unsafe { (rows.read(0..shape.rows()), scales.read(0..shape.scales())) };
        let (keys, values) = rows.split_at(shape.key_rows());
        let (key_scales, value_scales) = scales.as_chunks().0.split_at(shape.blocks);
        [Half { rows: keys, scales: key_scales }, Half { rows: values, scales: value_scales }]
    }
}
