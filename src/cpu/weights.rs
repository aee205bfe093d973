//! Weights on the CPU: packed as their bytes arrive.

use crate::error::{Code, Error, Result};
use crate::gguf::TensorInfo;
use crate::plan::{self, Plan, WeightId};
use crate::quant::{Matrix, PANEL, Packer};
use std::collections::HashMap;

/// Collects tensors while a file streams by.
#[derive(Default)]
pub struct Loading {
    packers: HashMap<String, Packer>,
    matrices: HashMap<String, Matrix>,
}

impl Loading {
    /// Refuses a tensor that cannot be packed, before its bytes have come.
    pub fn check(tensor: &TensorInfo) -> Result<()> {
        Self::bytes_of(tensor).map(drop)
    }

    /// Bytes that a tensor takes when it is packed, or plain as vectors are. Formats without kernels take two to three times
    /// those of the file.
    pub fn bytes_of(tensor: &TensorInfo) -> Result<u64> {
        let packer = packer(tensor).map_err(|error| error.tensor(&tensor.name))?;
        Ok(if tensor.rows() == 1 { 4 * tensor.cols() } else { packer.bytes() })
    }

    /// Takes the bytes of `tensor` from `offset` on; they come in order.
    pub fn push(&mut self, tensor: &TensorInfo, offset: u64, bytes: &[u8]) -> Result<()> {
        let blame = |error: Error| error.tensor(&tensor.name);
        if offset == 0 {
            let packer = packer(tensor).map_err(blame)?;
            self.packers.insert(tensor.name.clone(), packer);
        }
        let Some(packer) = self.packers.get_mut(&tensor.name) else {
            return Err(Error::internal("bytes of a tensor came before its beginning").tensor(&tensor.name));
        };
        packer.push(bytes).map_err(blame)?;
        if offset + bytes.len() as u64 == tensor.bytes
            && let Some(packer) = self.packers.remove(&tensor.name)
        {
            self.matrices.insert(tensor.name.clone(), packer.finish().map_err(blame)?);
        }
        Ok(())
    }

    /// The weights of `plan`; whatever else was collected is dropped.
    pub fn finish(self, plan: &Plan) -> Result<Weights> {
        let mut weights = Vec::with_capacity(plan.weights.len());
        for (weight, is_vector) in plan.weights.iter().zip(plan.vectors()) {
            let Some(matrix) = self.matrices.get(&weight.name) else {
                return Err(
                    Error::new(Code::InvalidModel, "the tensor's bytes did not arrive").tensor(&weight.name)
                );
            };
            weights.push(if is_vector {
                Weight::Vector(values(matrix, weight))
            } else {
                let part = matrix.part(weight.first, weight.rows);
                Weight::Matrix(part.ok_or_else(|| {
                    let message = format!("a part of the tensor begins in the middle of {PANEL} rows");
                    Error::unsupported_model(message).tensor(&weight.name)
                })?)
            });
        }
        Ok(Weights(weights))
    }
}

/// The plain values of a weight. Of several rows, its columns, one after the other: who reads a table as plain values
/// takes neighbouring rows together.
fn values(matrix: &Matrix, weight: &plan::Weight) -> Vec<f32> {
    let mut row = vec![0.0; matrix.cols()];
    if weight.rows == 1 {
        matrix.row(0, &mut row);
        return row[weight.first..weight.first + weight.cols].to_vec();
    }
    let mut values = vec![0.0; weight.rows * weight.cols];
    for index in 0..weight.rows {
        matrix.row(weight.first + index, &mut row);
        for (column, value) in row.iter().enumerate() {
            values[column * weight.rows + index] = *value;
        }
    }
    values
}

fn packer(tensor: &TensorInfo) -> Result<Packer> {
    let size = |n: u64| usize::try_from(n).map_err(|_| Error::invalid_model("the tensor is too large"));
    Packer::new(tensor.kind, size(tensor.rows())?, size(tensor.cols())?)
}

enum Weight {
    Matrix(Matrix),
    Vector(Vec<f32>),
}

/// The weights of a plan, in its order. What is read as plain values is kept as f32.
pub struct Weights(Vec<Weight>);

impl Weights {
    /// A packed matrix, or an error if the plan reads it as a vector.
    pub fn matrix(&self, id: WeightId) -> Result<&Matrix> {
        match &self.0[id.0] {
            Weight::Matrix(matrix) => Ok(matrix),
            Weight::Vector(_) => Err(Error::internal("a matrix was expected where the plan has a vector")),
        }
    }

    pub fn vector(&self, id: WeightId) -> Result<&[f32]> {
        match &self.0[id.0] {
            Weight::Vector(vector) => Ok(vector),
            Weight::Matrix(_) => Err(Error::internal("a vector was expected where the plan has a matrix")),
        }
    }

    /// Bytes that they occupy.
    pub fn bytes(&self) -> u64 {
        let bytes = |weight: &Weight| match weight {
            Weight::Matrix(matrix) => matrix.bytes(),
            Weight::Vector(vector) => 4 * vector.len() as u64,
        };
        self.0.iter().map(bytes).sum()
    }
}
