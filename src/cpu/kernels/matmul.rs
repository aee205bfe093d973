//! Product of a packed matrix with rows of activations.
//!
//! out[t][r] = Σ_k w[r][k]·x[t][k]. Shape: panel by panel (8 outputs). One row or two read the packed panel; more have it
//! unpacked once and take it in tiles of four, so that a panel is read from memory once and stays in the first cache
//! while the rows pass.

use super::{Product, Unpacked, WIDE, elementwise, product_of};
use crate::cpu::activations::{Quantized, TILE};
use crate::error::{Error, Result};
use crate::quant::{BLOCK, Matrix, PANEL, Panel};
use std::ops::Range;

/// The products of some panels of `matrix` with some rows of activations, given as f32 (padded with zeros) and as
/// `quantized`. `put` gets them as (row, first output, up to 8 outputs). A product's bits do not depend on what else is
/// computed with it.
pub fn multiply(
    matrix: &Matrix,
    panels: Range<usize>,
    rows: Range<usize>,
    x: &[f32],
    quantized: &Quantized,
    unpacked: &mut Unpacked,
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
        let mut values = [[0.0; PANEL]; TILE];
        if let Product::Int8 { one, .. } = product
            && quantized.alone().is_some()
        {
            for (n, term) in quantized.terms().enumerate() {
                let alone = term.alone().into_iter().flatten().enumerate();
                for (row, blocks) in alone.take(rows.end).skip(rows.start) {
                    sum(n, std::array::from_mut(&mut values[row]), |[out]| one(panel, blocks, out));
                }
            }
            for row in rows.clone() {
                put(row, first, &values[row][..outputs]);
            }
            continue;
        }
        let mut widened = None;
        match product {
            Product::Int8 { unpack, .. } => unpack(panel, unpacked),
            Product::Float { widen: Some(widen), .. } if rows.len() >= 2 * TILE => {
                widen(panel, &mut unpacked.wide);
                widened = Some(Panel { codes: bytemuck::cast_slice(&unpacked.wide), scales: &[] });
            }
            Product::Float { .. } => {}
        }
        for index in rows.start / TILE..rows.end.div_ceil(TILE) {
            let taken = rows.start.max(index * TILE)..rows.end.min((index + 1) * TILE);
            match product {
                Product::Int8 { tile, .. } => {
                    for (n, term) in quantized.terms().enumerate() {
                        sum(n, &mut values, |out| tile(unpacked, term.tile(index), out));
                    }
                }
                Product::Float { tile, .. } if taken.len() == TILE => {
                    let rows = std::array::from_fn(|t| float(index * TILE + t));
                    match widened {
                        Some(wide) => WIDE(wide, &rows, &mut values),
                        None => tile(panel, &rows, &mut values),
                    }
                }
                Product::Float { one, .. } => {
                    for row in taken.clone() {
                        one(panel, &[float(row)], std::array::from_mut(&mut values[row % TILE]));
                    }
                }
            }
            for row in taken {
                put(row, first, &values[row % TILE][..outputs]);
            }
        }
    }
    Ok(())
}

/// Has `product` write the first term of `sums`, or adds a later one.
fn sum<const ROWS: usize>(
    term: usize,
    sums: &mut [[f32; PANEL]; ROWS],
    product: impl FnOnce(&mut [[f32; PANEL]; ROWS]),
) {
    if term == 0 {
        return product(sums);
    }
    let mut more = [[0.0; PANEL]; ROWS];
    product(&mut more);
    elementwise::add(sums.as_flattened_mut(), more.as_flattened());
}
