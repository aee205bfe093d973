//! Weights on the GPU: a tensor's bytes go to a staging buffer as they arrive, and a shader puts them in their place.
//!
//! Of a matrix nothing stays in the heap but the beginning of a row. Vectors, which are small, are decoded by the
//! host. A table that is larger than what a kernel can see is split by rows.

use super::call::Call;
use super::device::Gpu;
use super::formats::{BLOCK, Format};
use super::kernels;
use super::trial::Trial;
use crate::error::{Code, Error, Result};
use crate::gguf::{TensorInfo, TensorType};
use crate::plan::{Plan, WeightId};
use crate::quant::Packer;
use std::collections::HashMap;
use std::rc::Rc;

/// Bytes that are staged at once, more only if two rows take more.
const STAGING: usize = 4 << 20;

/// A matrix on the GPU.
pub struct Matrix {
    pub format: &'static Format,
    pub rows: usize,
    pub cols: usize,
    pub parts: Vec<Part>,
}

/// Some consecutive rows of a matrix, an even number of them in all but the last part.
pub struct Part {
    pub first: usize,
    pub rows: usize,
    pub buffer: wgpu::Buffer,
}

impl Matrix {
    fn new(gpu: &Gpu, format: &'static Format, rows: usize, cols: usize) -> Result<Self> {
        let mut matrix = Matrix { format, rows, cols, parts: vec![] };
        let pair = 4 * format.words_of(2 * matrix.units()) as u64;
        let most = gpu.largest_table() / pair * 2;
        if most == 0 {
            return Err(Error::unsupported_model("a row of the tensor is larger than the GPU's buffers"));
        }
        let most = usize::try_from(most).unwrap_or(usize::MAX);
        for first in (0..rows).step_by(most) {
            let rows = most.min(rows - first);
            let words = format.words_of(rows * matrix.units());
            matrix.parts.push(Part { first, rows, buffer: gpu.buffer(4 * words as u64) });
        }
        gpu.check()?;
        Ok(matrix)
    }

    /// A copy of some rows: of a tensor that has the weights of several products.
    fn rows_from(&self, gpu: &Rc<Gpu>, first: usize, rows: usize) -> Result<Matrix> {
        if !first.is_multiple_of(2) {
            return Err(Error::unsupported_model("a part of the tensor begins in the middle of two rows"));
        }
        let copy = Matrix::new(gpu, self.format, rows, self.cols)?;
        gpu.submit(|encoder| {
            for (from, to) in self.parts.iter().flat_map(|from| copy.parts.iter().map(move |to| (from, to))) {
                let begin = from.first.max(first + to.first);
                let end = (from.first + from.rows).min(first + to.first + to.rows);
                if begin >= end {
                    continue;
                }
                let (source, target) = (begin - from.first, begin - first - to.first);
                let mut stream = |from_words: usize, to_words: usize, words: &dyn Fn(usize) -> usize| {
                    encoder.copy_buffer_to_buffer(
                        &from.buffer,
                        4 * (from_words + words(source)) as u64,
                        &to.buffer,
                        4 * (to_words + words(target)) as u64,
                        4 * words(end - begin) as u64,
                    );
                };
                stream(0, 0, &|rows| rows * self.units() * self.format.words);
                if self.format.odd.is_some() {
                    stream(self.odds(from), copy.odds(to), &|rows| (rows * self.units()).div_ceil(2));
                }
            }
        });
        Ok(copy)
    }

    /// Units of a row.
    fn units(&self) -> usize {
        self.cols.div_ceil(self.format.unit)
    }

    /// Blocks of 32 columns of a row.
    pub fn blocks(&self) -> usize {
        self.cols.div_ceil(BLOCK)
    }

    /// Where the odd u16s of a part begin, in words.
    pub fn odds(&self, part: &Part) -> usize {
        part.rows * self.units() * self.format.words
    }

    /// Bytes of `rows` rows.
    pub fn bytes_of(&self, rows: usize) -> u64 {
        4 * self.format.words_of(rows * self.units()) as u64
    }
}

/// Collects tensors while a file streams by.
pub struct Loading {
    gpu: Rc<Gpu>,
    staging: Option<wgpu::Buffer>,
    reserved: HashMap<String, Rows>,
    arriving: HashMap<String, Arriving>,
    arrived: HashMap<String, Arrived>,
}

enum Arriving {
    Matrix(Rows),
    Vector(Packer),
}

/// A matrix whose first `done` rows are in place.
struct Rows {
    matrix: Matrix,
    row_bytes: usize,
    done: usize,
    carry: Vec<u8>,
    /// The last byte that has come.
    last: u8,
}

enum Arrived {
    Matrix(Matrix),
    Vector(Vec<f32>),
}

impl Loading {
    pub fn new(gpu: &Rc<Gpu>) -> Self {
        let gpu = Rc::clone(gpu);
        let (reserved, arriving, arrived) = Default::default();
        Loading { gpu, staging: None, reserved, arriving, arrived }
    }

    /// Where the weights go.
    pub fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    /// Refuses a tensor for which there are no kernels, before its bytes have come.
    pub fn check(tensor: &TensorInfo) -> Result<()> {
        if tensor.rows() == 1 {
            return crate::cpu::Loading::check(tensor);
        }
        let known = format(tensor).map(drop).map_err(|error| error.tensor(&tensor.name));
        // Of what nothing computes with, the CPU's refusal says so.
        known.or_else(|error| crate::cpu::Loading::check(tensor).and(Err(error)))
    }

    /// Makes room for a tensor, before its bytes have come: where there is too little, that is known soon.
    pub fn reserve(&mut self, tensor: &TensorInfo) -> Result<()> {
        let name = &tensor.name;
        if tensor.rows() > 1 && !self.arriving.contains_key(name) && !self.arrived.contains_key(name) {
            let rows = self.rows(tensor).map_err(|error| error.tensor(name))?;
            self.reserved.insert(name.clone(), rows);
        }
        Ok(())
    }

    /// Takes the bytes of `tensor` from `offset` on; they come in order.
    pub fn push(&mut self, tensor: &TensorInfo, offset: u64, bytes: &[u8]) -> Result<()> {
        let blame = |error: Error| error.tensor(&tensor.name);
        if offset == 0 {
            let begun = self.begin(tensor).map_err(blame)?;
            self.arriving.insert(tensor.name.clone(), begun);
        }
        match self.arriving.get_mut(&tensor.name) {
            Some(Arriving::Vector(packer)) => packer.push(bytes).map_err(blame)?,
            Some(Arriving::Matrix(rows)) => {
                rows.check(offset, bytes).map_err(blame)?;
                rows.push(&self.gpu, &mut self.staging, bytes);
                self.gpu.check().map_err(blame)?;
            }
            None => {
                return Err(
                    Error::internal("bytes of a tensor came before its beginning").tensor(&tensor.name)
                );
            }
        }
        if offset + bytes.len() as u64 == tensor.bytes
            && let Some(arriving) = self.arriving.remove(&tensor.name)
        {
            self.arrived.insert(tensor.name.clone(), arriving.finish().map_err(blame)?);
        }
        Ok(())
    }

    /// Times shapes on the matrices that have come, if there is something to find out. Kernels take what was found from
    /// now on; it is also the answer, as JSON. A program's shapes are known. `now` tells milliseconds.
    pub async fn tune(&self, now: fn() -> f64) -> Result<Option<String>> {
        if self.gpu.is_software() {
            return Ok(None);
        }
        let mut matrices = vec![];
        for arrived in self.arrived.values() {
            if let Arrived::Matrix(matrix) = arrived
                && matrix.parts.len() == 1
            {
                matrices.push(matrix);
            }
        }
        let found = Trial { gpu: &self.gpu, matrices, now }.run().await?;
        Ok(found.then(|| self.gpu.tuning().to_json()))
    }

    fn begin(&mut self, tensor: &TensorInfo) -> Result<Arriving> {
        if tensor.rows() == 1 {
            return Ok(Arriving::Vector(Packer::new(tensor.kind, 1, size(tensor.cols())?)?));
        }
        let reserved = self.reserved.remove(&tensor.name);
        reserved.map_or_else(|| self.rows(tensor), Ok).map(Arriving::Matrix)
    }

    fn rows(&self, tensor: &TensorInfo) -> Result<Rows> {
        let (rows, cols) = (size(tensor.rows())?, size(tensor.cols())?);
        let matrix = Matrix::new(&self.gpu, format(tensor)?, rows, cols)?;
        let row_bytes = size(tensor.bytes)? / rows.max(1);
        Ok(Rows { matrix, row_bytes, done: 0, carry: vec![], last: 0 })
    }

    /// The weights of `plan`; whatever else was collected is dropped.
    pub fn finish(mut self, plan: &Plan) -> Result<Weights> {
        let mut weights = Vec::with_capacity(plan.weights.len());
        for (weight, is_vector) in plan.weights.iter().zip(plan.vectors()) {
            let blame = |error: Error| error.tensor(&weight.name);
            weights.push(match self.arrived.get(&weight.name) {
                None => {
                    return Err(blame(Error::new(Code::InvalidModel, "the tensor's bytes did not arrive")));
                }
                Some(Arrived::Vector(values)) if is_vector => {
                    Arrived::Vector(values[weight.first..weight.first + weight.cols].to_vec())
                }
                Some(Arrived::Vector(values)) => Arrived::Matrix(self.table(values)?),
                Some(Arrived::Matrix(whole)) if whole.rows > weight.rows => {
                    Arrived::Matrix(whole.rows_from(&self.gpu, weight.first, weight.rows).map_err(blame)?)
                }
                Some(Arrived::Matrix(_)) => match self.arrived.remove(&weight.name) {
                    Some(whole) => whole,
                    None => return Err(blame(Error::internal("a tensor was there and is not"))),
                },
            });
        }
        self.gpu.check()?;
        Ok(Weights { gpu: self.gpu, weights })
    }

    /// A matrix of one row.
    fn table(&self, values: &[f32]) -> Result<Matrix> {
        let Some(format) = Format::of(TensorType::F32) else {
            return Err(Error::internal("F32 has no kernels on the GPU"));
        };
        let matrix = Matrix::new(&self.gpu, format, 1, values.len())?;
        matrix.parts.iter().for_each(|part| self.gpu.write(&part.buffer, 0, bytemuck::cast_slice(values)));
        Ok(matrix)
    }
}

/// Bytes that a tensor takes: of a matrix those of whole units, of a vector its values in 32 bits.
pub fn bytes_of(tensor: &TensorInfo) -> u64 {
    match Format::of(tensor.kind) {
        _ if tensor.rows() == 1 => 4 * tensor.cols(),
        Some(format) => {
            let units = tensor.rows().saturating_mul(tensor.cols().div_ceil(format.unit as u64));
            let odd = format.odd.map_or(0, |_| units.div_ceil(2));
            units.saturating_mul(format.words as u64).saturating_add(odd).saturating_mul(4)
        }
        None => tensor.bytes,
    }
}

fn size(n: u64) -> Result<usize> {
    usize::try_from(n).map_err(|_| Error::invalid_model("the tensor is too large"))
}

fn format(tensor: &TensorInfo) -> Result<&'static Format> {
    Format::of(tensor.kind).ok_or_else(|| {
        Error::unsupported_model(format!(
            "block format {} is not supported on the GPU: load with device \"wasm\"",
            tensor.kind.name()
        ))
    })
}

impl Arriving {
    fn finish(self) -> Result<Arrived> {
        match self {
            Arriving::Matrix(rows) => Ok(Arrived::Matrix(rows.matrix)),
            Arriving::Vector(packer) => {
                let matrix = packer.finish()?;
                let mut values = vec![0.0; matrix.cols()];
                matrix.row(0, &mut values);
                Ok(Arrived::Vector(values))
            }
        }
    }
}

impl Rows {
    /// Refuses values and scales that are no finite numbers.
    fn check(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        if !self.matrix.format.is_finite(offset, self.last, bytes) {
            let row = offset / self.row_bytes.max(1) as u64;
            let message =
                format!("a value or block scale is not a finite number, in row {row} or soon after");
            return Err(Error::invalid_model(message));
        }
        self.last = bytes.last().copied().unwrap_or(self.last);
        Ok(())
    }

    fn push(&mut self, gpu: &Rc<Gpu>, staging: &mut Option<wgpu::Buffer>, mut bytes: &[u8]) {
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
    let step = gpu.uniform(16);
    let dispatch = call.compile(gpu, &step);
    gpu.submit(|encoder| {
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor::default());
        dispatch.encode(gpu, &mut pass, None, 0, 1);
    });
}

/// The weights of a plan, in its order.
pub struct Weights {
    pub gpu: Rc<Gpu>,
    weights: Vec<Arrived>,
}

impl Weights {
    /// A matrix, or an error if the plan reads it as a vector.
    pub fn matrix(&self, id: WeightId) -> Result<&Matrix> {
        match &self.weights[id.0] {
            Arrived::Matrix(matrix) => Ok(matrix),
            Arrived::Vector(_) => Err(Error::internal("a matrix was expected where the plan has a vector")),
        }
    }

    pub fn vector(&self, id: WeightId) -> Result<&[f32]> {
        match &self.weights[id.0] {
            Arrived::Vector(vector) => Ok(vector),
            Arrived::Matrix(_) => Err(Error::internal("a vector was expected where the plan has a matrix")),
        }
    }

    /// Bytes that they occupy.
    pub fn bytes(&self) -> u64 {
        let bytes = |weight: &Arrived| match weight {
            Arrived::Matrix(matrix) => matrix.parts.iter().map(|part| part.buffer.size()).sum(),
            Arrived::Vector(vector) => vector.len() as u64 * 4,
        };
        self.weights.iter().map(bytes).sum()
    }
}
