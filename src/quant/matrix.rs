//! A packed weight matrix, and the packer that fills it as a tensor's bytes arrive.

use super::candle::{DECODED, Decoded};
use super::{Format, PANEL, Packing, Q8_0, packing_of};
use crate::error::{Error, Result};
use crate::gguf::TensorType;
use std::borrow::Cow;
use std::sync::Arc;

/// Codes of one allocation, about: small enough that a header's promise costs nothing before its bytes come,
/// large enough that the allocator does not show.
const SEGMENT_BYTES: usize = 256 * 1024;
/// More columns than any model has. A panel is the least that is allocated, so this bounds what a header alone
/// can ask for.
const MAX_COLS: usize = 1 << 20;

/// `rows` × `cols` weights in panels of [`PANEL`] rows; the last panel is filled up with zeros. Parts of a matrix share
/// its memory.
pub struct Matrix {
    rows: usize,
    cols: usize,
    packing: &'static Packing,
    /// Where its panels begin in the segments.
    first_panel: usize,
    panels_per_segment: usize,
    segments: Arc<Vec<Segment>>,
}

/// Whole panels. `u128` gives the streams the alignment of a vector.
struct Segment {
    codes: Vec<u128>,
    scales: Vec<u128>,
}

/// The streams of one panel.
#[derive(Clone, Copy)]
pub struct Panel<'a> {
    pub codes: &'a [u8],
    pub scales: &'a [u8],
}

impl Matrix {
    fn new(packing: &'static Packing, rows: usize, cols: usize) -> Self {
        let panel = cols.div_ceil(packing.unit) * packing.code_bytes;
        let panels_per_segment = (SEGMENT_BYTES / panel.max(1)).max(1);
        Matrix { rows, cols, packing, first_panel: 0, panels_per_segment, segments: Arc::default() }
    }

    /// The rows `first..first + rows`; `None` if they do not begin with a panel, or are not all there.
    pub fn part(&self, first: usize, rows: usize) -> Option<Matrix> {
        let there = first.is_multiple_of(PANEL) && first.checked_add(rows)? <= self.rows;
        there.then(|| Matrix {
            rows,
            first_panel: self.first_panel + first / PANEL,
            segments: self.segments.clone(),
            ..*self
        })
    }

    /// Outputs: the length of a product with this matrix.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Inputs.
    pub fn cols(&self) -> usize {
        self.cols
    }

    /// The format it is packed in.
    pub fn packing(&self) -> &'static Packing {
        self.packing
    }

    pub fn panels(&self) -> usize {
        self.rows.div_ceil(PANEL)
    }

    /// Bytes that it occupies.
    pub fn bytes(&self) -> u64 {
        let unit = self.packing.code_bytes + self.packing.scale_bytes;
        [self.panels(), self.units(), unit].into_iter().map(|count| count as u64).product()
    }

    fn units(&self) -> usize {
        self.cols.div_ceil(self.packing.unit)
    }

    /// The streams of panel `index`: rows `8·index` and on.
    pub fn panel(&self, index: usize) -> Panel<'_> {
        let index = self.first_panel + index;
        let segment = &self.segments[index / self.panels_per_segment];
        let place = index % self.panels_per_segment;
        let (codes, scales) =
            (self.units() * self.packing.code_bytes, self.units() * self.packing.scale_bytes);
        Panel {
            codes: &bytemuck::cast_slice(&segment.codes)[place * codes..(place + 1) * codes],
            scales: &bytemuck::cast_slice(&segment.scales)[place * scales..(place + 1) * scales],
        }
    }

    /// Writes the weights of one row, as f32, to the first `cols` values of `out`.
    pub fn row(&self, row: usize, out: &mut [f32]) {
        let packing = self.packing;
        let panel = self.panel(row / PANEL);
        let out = &mut out[..self.cols];
        for (u, out) in out.chunks_mut(packing.unit).enumerate() {
            let codes = &panel.codes[u * packing.code_bytes..(u + 1) * packing.code_bytes];
            let scales = &panel.scales[u * packing.scale_bytes..(u + 1) * packing.scale_bytes];
            (packing.unpack)(codes, scales, row % PANEL, out);
        }
    }

    /// Makes room for the next panel, number `panel`: its streams, all zero. What was reserved for a segment is
    /// cleared only now, when it is in the cache for the packing that follows.
    fn grow(&mut self, panel: usize) -> Result<(&mut [u8], &mut [u8])> {
        let units = self.units();
        let (codes, scales) = (units * self.packing.code_bytes / 16, units * self.packing.scale_bytes / 16);
        let panels = self.panels_per_segment.min(self.panels() - panel);
        let Some(segments) = Arc::get_mut(&mut self.segments) else {
            return Err(Error::internal("a matrix grows that is shared"));
        };
        if panel.is_multiple_of(self.panels_per_segment) {
            segments.push(Segment { codes: reserved(panels * codes)?, scales: reserved(panels * scales)? });
        }
        let Some(segment) = segments.last_mut() else {
            return Err(Error::internal("a panel came before the first"));
        };
        Ok((extended(&mut segment.codes, codes), extended(&mut segment.scales, scales)))
    }
}

fn reserved(vectors: usize) -> Result<Vec<u128>> {
    let mut memory = Vec::new();
    memory.try_reserve_exact(vectors).map_err(|_| out_of_memory())?;
    Ok(memory)
}

fn out_of_memory() -> Error {
    Error::out_of_memory("the model's weights do not fit into memory: choose a smaller model or format")
}

/// Adds zeros, and returns them.
fn extended(memory: &mut Vec<u128>, vectors: usize) -> &mut [u8] {
    let start = memory.len();
    memory.resize(start + vectors, 0);
    bytemuck::cast_slice_mut(&mut memory[start..])
}

/// Fills a [`Matrix`] from a tensor's bytes, in chunks of any size, a panel at a time.
pub struct Packer {
    matrix: Matrix,
    decoded: Option<&'static Decoded>,
    /// Bytes of a panel that a chunk's end cut in two.
    carry: Vec<u8>,
    /// Panels that are packed.
    panels: usize,
}

impl Packer {
    /// A packer for `rows` × `cols` weights of type `kind`. Refuses types without a kernel or a decoder.
    pub fn new(kind: TensorType, rows: usize, cols: usize) -> Result<Self> {
        let (packing, decoded, unit) = if let Some(packing) = packing_of(kind) {
            // Floats may have rows of any length: their units are only our way of counting.
            let unit = if packing.scale_bytes == 0 { 1 } else { packing.unit };
            (packing, None, unit)
        } else if let Some(format) = DECODED.iter().find(|format| format.kind == kind)
            && let Some(packing) = packing_of(Q8_0::KIND)
        {
            (packing, Some(format), format.unit)
        } else {
            let message = format!("block format {} has no kernel in this version", kind.name());
            return Err(Error::unsupported_model(message));
        };
        if rows == 0 || cols == 0 || cols > MAX_COLS || !cols.is_multiple_of(unit) {
            return Err(Error::invalid_model(format!(
                "{rows} × {cols} weights cannot be of type {}",
                kind.name()
            )));
        }
        let matrix = Matrix::new(packing, rows, cols);
        Ok(Packer { matrix, decoded, carry: Vec::new(), panels: 0 })
    }

    /// Bytes that the matrix will occupy.
    pub fn bytes(&self) -> u64 {
        self.matrix.bytes()
    }

    /// Bytes of a row in the file.
    fn row_bytes(&self) -> usize {
        let (unit, bytes) = match self.decoded {
            Some(format) => (format.unit, format.file_bytes),
            None => (self.matrix.packing.unit, self.matrix.packing.file_bytes),
        };
        self.matrix.cols * bytes / unit
    }

    /// Rows of the next panel that the file has.
    fn next_rows(&self) -> usize {
        PANEL.min(self.matrix.rows - self.panels * PANEL)
    }

    /// Takes the next bytes of the tensor.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let panel = self.next_rows() * self.row_bytes();
            if panel == 0 {
                return Err(Error::invalid_model("a tensor has more bytes than its shape and type allow"));
            }
            if self.carry.is_empty() && bytes.len() >= panel {
                let (rows, rest) = bytes.split_at(panel);
                self.pack(rows)?;
                bytes = rest;
                continue;
            }
            let missing = panel - self.carry.len();
            let (head, rest) = bytes.split_at(missing.min(bytes.len()));
            self.carry.try_reserve(head.len()).map_err(|_| out_of_memory())?;
            self.carry.extend_from_slice(head);
            bytes = rest;
            if head.len() == missing {
                let rows = std::mem::take(&mut self.carry);
                self.pack(&rows)?;
                self.carry = rows;
                self.carry.clear();
            }
        }
        Ok(())
    }

    /// Packs the next panel, given the bytes of those of its rows that the file has.
    fn pack(&mut self, rows: &[u8]) -> Result<()> {
        let count = self.next_rows();
        let first = self.panels * PANEL;
        let finite = |finite: bool| match finite {
            true => Ok(()),
            false => Err(Error::invalid_model(format!(
                "a value or block scale is not a finite number, in rows {first} to {}",
                first + count - 1
            ))),
        };
        let rows = match self.decoded {
            None => Cow::Borrowed(rows),
            Some(format) => {
                let mut q8_0 = Vec::new();
                for block in rows.chunks_exact(format.file_bytes) {
                    finite(format.to_q8_0(block, &mut q8_0))?;
                }
                Cow::Owned(q8_0)
            }
        };
        let pack = self.matrix.packing.pack;
        let (codes, scales) = self.matrix.grow(self.panels)?;
        finite(if count == PANEL {
            pack(&rows, codes, scales)
        } else {
            // Zeros give codes and scales of zero.
            let mut padded = rows.into_owned();
            padded.resize(padded.len() / count * PANEL, 0);
            pack(&padded, codes, scales)
        })?;
        self.panels += 1;
        Ok(())
    }

    /// The matrix, once all of its bytes have come.
    pub fn finish(self) -> Result<Matrix> {
        if self.panels < self.matrix.panels() {
            let message = format!("{} of {} panels of rows arrived", self.panels, self.matrix.panels());
            return Err(Error::invalid_model(message));
        }
        Ok(self.matrix)
    }
}
