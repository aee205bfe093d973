//! Product of a packed matrix with rows of activations.
//!
//! out[t][r] = Σ_k w[r][k]·x[t][k]. Shape: panel by panel (8 outputs), each against all rows in tiles of four, so
//! that a panel is read from memory once and stays in the first cache while the rows pass.

use super::{Product, TILE, product_of};
use crate::cpu::activations::Quantized;
use crate::error::{Error, Result};
use crate::quant::{BLOCK, Matrix, PANEL};
use std::ops::Range;

/// A thread's own buffer.
#[derive(Default)]
pub struct Unpacked;

/// out[t] = matrix · x[t] for some rows, given as f32 (padded with zeros) and as `quantized`, and some panels of the
/// matrix. `put` gets the outputs of a panel for one row: the row, the first output, and the outputs.
pub fn multiply(
    matrix: &Matrix,
    panels: Range<usize>,
    rows: Range<usize>,
    x: &[f32],
    quantized: &Quantized,
    _scratch: &mut Unpacked,
    mut put: impl FnMut(usize, usize, &[f32]),
) -> Result<()> {
    let Some(product) = product_of(matrix.packing().kind) else {
        return Err(Error::internal("a packed format has no product"));
    };
    let x_stride = matrix.cols().next_multiple_of(BLOCK);
    let float = |row: usize| &x[row * x_stride..(row + 1) * x_stride];
    for index in panels {
        let panel = matrix.panel(index);
        let first = index * PANEL;
        let outputs = PANEL.min(matrix.rows() - first);
        let tiles = rows.end - rows.len() % TILE;
        for row in (rows.start..tiles).step_by(TILE) {
            let mut values = [[0.0; PANEL]; TILE];
            match product {
                Product::Int8 { tile, .. } => {
                    tile(panel, &std::array::from_fn(|t| quantized.row(row + t)), &mut values);
                }
                Product::Float { tile, .. } => {
                    tile(panel, &std::array::from_fn(|t| float(row + t)), &mut values)
                }
            }
            values.iter().enumerate().for_each(|(t, values)| put(row + t, first, &values[..outputs]));
        }
        for row in tiles..rows.end {
            let mut values = [[0.0; PANEL]; 1];
            match product {
                Product::Int8 { one, .. } => one(panel, &[quantized.row(row)], &mut values),
                Product::Float { one, .. } => one(panel, &[float(row)], &mut values),
            }
            put(row, first, &values[0][..outputs]);
        }
    }
    Ok(())
}
