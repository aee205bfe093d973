//! A packed weight matrix, and the packer that fills it as a tensor's bytes arrive.

use super::candle::{DECODED, Decoded};
use super::{BLOCK, Format, PANEL, Packing, Q8_0, packing_of};
use crate::error::{Error, Result};
use crate::gguf::TensorType;

/// Codes of one allocation, about: small enough that a header's promise costs nothing before its bytes come,
/// large enough that the allocator does not show.
const SEGMENT_BYTES: usize = 256 * 1024;
/// More columns than any model has. A panel is the least that is allocated, so this bounds what a header alone
/// can ask for.
const MAX_COLS: usize = 1 << 20;

/// `rows` × `cols` weights in panels of [`PANEL`] rows; the last panel is filled up with zeros.
pub struct Matrix {
    rows: usize,
    cols: usize,
    packing: &'static Packing,
    panels_per_segment: usize,
    segments: Vec<Segment>,
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
        Matrix { rows, cols, packing, panels_per_segment, segments: Vec::new() }
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
    pub fn bytes(&self) -> usize {
        self.segments.iter().map(|segment| (segment.codes.len() + segment.scales.len()) * 16).sum()
    }

    fn units(&self) -> usize {
        self.cols.div_ceil(self.packing.unit)
    }

    /// The streams of panel `index`: rows `8·index` and on.
    pub fn panel(&self, index: usize) -> Panel<'_> {
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

    /// Makes room for the panels up to that of `row`.
    fn grow_to(&mut self, row: usize) -> Result<()> {
        let wanted = row / PANEL / self.panels_per_segment + 1;
        while self.segments.len() < wanted {
            let panels =
                self.panels_per_segment.min(self.panels() - self.segments.len() * self.panels_per_segment);
            let codes = zeroed(panels * self.units() * self.packing.code_bytes)?;
            let scales = zeroed(panels * self.units() * self.packing.scale_bytes)?;
            self.segments.push(Segment { codes, scales });
        }
        Ok(())
    }

    fn put(&mut self, row: usize, unit: usize, bytes: &[u8]) -> bool {
        let (code_bytes, scale_bytes) = (self.packing.code_bytes, self.packing.scale_bytes);
        let place = row / PANEL % self.panels_per_segment * self.units() + unit;
        let segment = &mut self.segments[row / PANEL / self.panels_per_segment];
        let codes: &mut [u8] = bytemuck::cast_slice_mut(&mut segment.codes);
        let scales: &mut [u8] = bytemuck::cast_slice_mut(&mut segment.scales);
        let codes = &mut codes[place * code_bytes..(place + 1) * code_bytes];
        let scales = &mut scales[place * scale_bytes..(place + 1) * scale_bytes];
        (self.packing.pack)(bytes, row % PANEL, codes, scales)
    }
}

fn zeroed(bytes: usize) -> Result<Vec<u128>> {
    let mut memory = Vec::new();
    let len = bytes.div_ceil(16);
    memory.try_reserve_exact(len).map_err(|_| {
        Error::out_of_memory("the model's weights do not fit into memory: choose a smaller model or format")
    })?;
    memory.resize(len, 0);
    Ok(memory)
}

/// Fills a [`Matrix`] from a tensor's bytes, in chunks of any size.
pub struct Packer {
    matrix: Matrix,
    source: Source,
    /// Bytes of a unit that a chunk's end cut in two.
    carry: Vec<u8>,
    row: usize,
    unit: usize,
}

/// How a unit of the file becomes units of the matrix.
enum Source {
    Direct,
    Decoded { format: &'static Decoded, q8_0: Vec<u8> },
}

impl Packer {
    /// A packer for `rows` × `cols` weights of type `kind`. Refuses types without a kernel or a decoder.
    pub fn new(kind: TensorType, rows: usize, cols: usize) -> Result<Self> {
        let (packing, source, unit) = if let Some(packing) = packing_of(kind) {
            // Floats may have rows of any length: their units are only our way of counting.
            let unit = if packing.scale_bytes == 0 { 1 } else { packing.unit };
            (packing, Source::Direct, unit)
        } else if let Some(format) = DECODED.iter().find(|format| format.kind == kind)
            && let Some(packing) = packing_of(Q8_0::KIND)
        {
            (packing, Source::Decoded { format, q8_0: Vec::new() }, format.unit)
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
        Ok(Packer { matrix: Matrix::new(packing, rows, cols), source, carry: Vec::new(), row: 0, unit: 0 })
    }

    /// Bytes of the next unit in the file. The last unit of a row of floats may be shorter.
    fn next_bytes(&self) -> usize {
        match &self.source {
            Source::Decoded { format, .. } => format.file_bytes,
            Source::Direct => {
                let packing = self.matrix.packing;
                let columns = packing.unit.min(self.matrix.cols - self.unit * packing.unit);
                packing.file_bytes * columns / packing.unit
            }
        }
    }

    /// Takes the next bytes of the tensor.
    pub fn push(&mut self, mut bytes: &[u8]) -> Result<()> {
        if !self.carry.is_empty() {
            let missing = self.next_bytes() - self.carry.len();
            let (head, rest) = bytes.split_at(missing.min(bytes.len()));
            self.carry.extend_from_slice(head);
            bytes = rest;
            if head.len() < missing {
                return Ok(());
            }
            let unit = std::mem::take(&mut self.carry);
            self.pack(&unit)?;
            self.carry = unit;
            self.carry.clear();
        }
        loop {
            if self.row == self.matrix.rows && !bytes.is_empty() {
                return Err(Error::invalid_model("a tensor has more bytes than its shape and type allow"));
            }
            if bytes.is_empty() {
                return Ok(());
            }
            let next = self.next_bytes();
            if bytes.len() < next {
                self.carry.extend_from_slice(bytes);
                return Ok(());
            }
            let (unit, rest) = bytes.split_at(next);
            self.pack(unit)?;
            bytes = rest;
        }
    }

    fn pack(&mut self, unit: &[u8]) -> Result<()> {
        if self.unit == 0 {
            self.matrix.grow_to(self.row)?;
        }
        let finite = match &mut self.source {
            Source::Direct => {
                self.unit += 1;
                let full = self.matrix.packing.file_bytes;
                if unit.len() == full {
                    self.matrix.put(self.row, self.unit - 1, unit)
                } else {
                    let mut padded = [0; BLOCK * 4];
                    padded[..unit.len()].copy_from_slice(unit);
                    self.matrix.put(self.row, self.unit - 1, &padded[..full])
                }
            }
            Source::Decoded { format, q8_0 } => {
                let finite = format.to_q8_0(unit, q8_0);
                for unit in q8_0.chunks_exact(Q8_0::FILE_BYTES) {
                    self.matrix.put(self.row, self.unit, unit);
                    self.unit += 1;
                }
                finite
            }
        };
        if !finite {
            let message = format!("a value or block scale is not a finite number, in row {}", self.row);
            return Err(Error::invalid_model(message));
        }
        if self.unit == self.matrix.units() {
            self.unit = 0;
            self.row += 1;
        }
        Ok(())
    }

    /// The matrix, once all of its bytes have come.
    pub fn finish(self) -> Result<Matrix> {
        if self.row < self.matrix.rows {
            return Err(Error::invalid_model(format!("{} of {} rows arrived", self.row, self.matrix.rows)));
        }
        Ok(self.matrix)
    }
}
