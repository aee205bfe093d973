//! Weights on the GPU: a tensor's bytes go to a staging buffer as they arrive, and a shader puts them in their place.
//!
//! Of a matrix nothing stays in the heap but the beginning of a row. Vectors, which are small, are decoded by the
//! host. A table that is larger than what a kernel can see is split by rows.

use super::device::Gpu;
use super::formats::{BLOCK, Format};
use super::room::Room;
use super::trial::Trial;
use crate::cpu::{Activations, KvType};
use crate::error::{Code, Error, Result};
use crate::gguf::{TensorInfo, TensorType};
use crate::plan::{self, Plan, WeightId};
use crate::quant::Packer;
use staging::Rows;
use std::collections::HashMap;
use std::rc::Rc;

mod staging;

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
        let matrix = Matrix::in_parts(gpu, format, rows, cols, |bytes| gpu.buffer(bytes))?;
        gpu.check()?;
        Ok(matrix)
    }

    /// A matrix whose parts lie in buffers of so many bytes.
    fn in_parts(
        gpu: &Gpu,
        format: &'static Format,
        rows: usize,
        cols: usize,
        buffer: impl Fn(u64) -> wgpu::Buffer,
    ) -> Result<Self> {
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
            matrix.parts.push(Part { first, rows, buffer: buffer(4 * words as u64) });
        }
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
    room: Option<Box<Room>>,
    /// Tensors that are yet to begin, while pipelines are made beside them.
    ahead: usize,
    arriving: HashMap<String, Arriving>,
    arrived: HashMap<String, Arrived>,
}

enum Arriving {
    Matrix(Rows),
    Vector(Packer),
}

enum Arrived {
    Matrix(Matrix),
    Vector(Vec<f32>),
}

impl Loading {
    pub fn new(gpu: &Rc<Gpu>) -> Self {
        let gpu = Rc::clone(gpu);
        let (reserved, arriving, arrived) = Default::default();
        Loading { gpu, staging: None, reserved, room: None, ahead: 0, arriving, arrived }
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

    /// Makes room for a plan with weights in `tensors`, and says which pipelines it takes, before their bytes have come.
    pub fn prepare(
        &mut self,
        plan: &Plan,
        tensors: &[&TensorInfo],
        kv_type: KvType,
        activations: Activations,
    ) -> Result<()> {
        tensors.iter().try_for_each(|tensor| self.reserve(tensor))?;
        let room = Room::new(&self.gpu, plan, kv_type)?;
        room.announce(&self.gpu, plan, &Weights::outline(&self.gpu, plan, tensors, activations)?)?;
        self.room = Some(Box::new(room));
        let is_ahead = |tensor: &&&TensorInfo| {
            !self.arriving.contains_key(&tensor.name) && !self.arrived.contains_key(&tensor.name)
        };
        self.ahead = tensors.iter().filter(is_ahead).count();
        Ok(())
    }

    /// Makes some pipelines with each tensor that begins, the last ones with the last.
    fn make_some(&mut self) {
        let some = self.gpu.announced().div_ceil(self.ahead.max(1));
        for _ in 0..some {
            self.gpu.make_next();
        }
        self.ahead = self.ahead.saturating_sub(1);
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
            self.make_some();
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
        Ok(Rows::new(matrix, row_bytes))
    }

    /// The weights of `plan`, to be multiplied as exactly as this says; whatever else was collected is dropped.
    pub fn finish(mut self, plan: &Plan, activations: Activations) -> Result<Weights> {
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
        self.staging.iter().for_each(wgpu::Buffer::destroy);
        self.gpu.check()?;
        Ok(Weights { gpu: self.gpu, weights, activations, room: self.room })
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

/// The weights of a plan, in its order.
pub struct Weights {
    pub gpu: Rc<Gpu>,
    weights: Vec<Arrived>,
    /// How exactly activations are multiplied with them.
    pub activations: Activations,
    /// What was made for the plan beside them.
    pub room: Option<Box<Room>>,
}

impl Weights {
    /// Weights of the same shapes, without their bytes.
    fn outline(
        gpu: &Rc<Gpu>,
        plan: &Plan,
        tensors: &[&TensorInfo],
        activations: Activations,
    ) -> Result<Self> {
        let kinds: HashMap<&str, &TensorInfo> =
            tensors.iter().map(|tensor| (tensor.name.as_str(), *tensor)).collect();
        let nowhere = gpu.buffer(0);
        let outline = |(weight, is_vector): (&plan::Weight, bool)| {
            let kind = match kinds.get(weight.name.as_str()) {
                Some(tensor) if tensor.rows() > 1 => tensor.kind,
                _ if is_vector => return Ok(Arrived::Vector(vec![0.0; weight.cols])),
                _ => TensorType::F32,
            };
            let Some(format) = Format::of(kind) else {
                return Err(Error::internal("a format without kernels on the GPU was let pass"));
            };
            Matrix::in_parts(gpu, format, weight.rows, weight.cols, |_| nowhere.clone()).map(Arrived::Matrix)
        };
        let weights = plan.weights.iter().zip(plan.vectors()).map(outline).collect::<Result<_>>()?;
        Ok(Weights { gpu: Rc::clone(gpu), weights, activations, room: None })
    }

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
