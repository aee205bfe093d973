//! A tiny model with made-up weights, on a GPU and on the CPU: a GPU whose answers are others than the CPU's is refused
//! before a model is fetched for it. Drivers that compile a shader wrongly say nothing of it.

use crate::cpu::KvType;
use crate::error::{Code, Error, Result};
use crate::executor::{Executor, Loading};
use crate::gguf::{TensorInfo, TensorType};
use crate::gpu::Gpu;
use crate::plan::{Activation, Builder, Cache, Head, Op, Plan};
use std::rc::Rc;

/// Rows of the tables, and their columns: four heads.
const ROWS: usize = 96;
const WIDTH: usize = HEADS * DIM;
const HEADS: usize = 4;
const DIM: usize = 16;
const EPSILON: f32 = 1e-5;

/// A prompt, a token after it, and on a card a prompt of more rows: few and many have kernels of their own.
const STEPS: [&[u32]; 3] =
    [&[17, 3, 80, 3, 55], &[42], &[7, 1, 90, 33, 60, 2, 71, 18, 44, 5, 29, 86, 13, 64, 38, 51, 77, 9]];

/// How far a value may be off, in parts of the largest: keys and values are rounded on both sides.
const TOLERANCE: f32 = 0.05;

/// Refuses a GPU that computes something else than the CPU.
pub async fn check(gpu: &Rc<Gpu>) -> Result<()> {
    let products = !gpu.is_software();
    compare(&states(Loading::gpu(gpu), products).await?, &states(Loading::cpu(), products).await?)
}

fn compare(got: &[f32], want: &[f32]) -> Result<()> {
    let largest = want.iter().fold(0.0f32, |most, value| most.max(value.abs()));
    let near = |(got, want): (&f32, &f32)| (got - want).abs() <= TOLERANCE * largest;
    match got.iter().zip(want).filter(|pair| !near(*pair)).count() {
        0 => Ok(()),
        wrong => Err(Error::new(
            Code::UnsupportedDevice,
            format!(
                "the GPU computes wrongly ({wrong} of {} values of a test are not the processor's): \
                 update its driver, or load with device \"wasm\"",
                want.len()
            ),
        )),
    }
}

/// What the model answers.
async fn states(mut loading: Loading, products: bool) -> Result<Vec<f32>> {
    let tensors = [
        tensor("nibbles.weight", ROWS, TensorType::Q4_0),
        tensor("bytes.weight", ROWS, TensorType::Q8_0),
        tensor("norm.weight", 1, TensorType::F32),
    ];
    for (k, tensor) in (1..).zip(&tensors) {
        loading.push(tensor, 0, &weights(tensor, k))?;
    }
    let mut executor = loading.finish(plan(&tensors, products)?, KvType::F16)?;
    let mut cache = executor.new_cache();
    let (mut all, mut states) = (Vec::new(), Vec::new());
    for tokens in &STEPS[..if products { 3 } else { 2 }] {
        executor.begin(&mut [(&mut cache, *tokens)])?;
        while !executor.advance(&mut [&mut cache], &mut || false)? {
            wait(&executor).await;
        }
        while !executor.hidden(0..tokens.len(), &mut states)? {
            wait(&executor).await;
        }
        all.append(&mut states);
    }
    Ok(all)
}

async fn wait(executor: &Executor) {
    if let Some(signal) = executor.waiting() {
        signal.await;
    }
}

/// Tables of two formats, a norm, attention and a gate: unpacking, sums over a workgroup, exponentials and f16s. With
/// `products`, a product too: a program would take seconds to compile its kernels, and they are made of the same.
fn plan(tensors: &[TensorInfo], products: bool) -> Result<Plan> {
    let mut b = Builder::new(tensors);
    let cache = b.cache(Cache { heads: HEADS, dim: DIM, window: None });
    let [x, h, y, out] = [WIDTH; 4].map(|width| b.slot(width));
    for (name, out) in [("nibbles.weight", x), ("bytes.weight", y)] {
        let table = b.matrix(name, ROWS, WIDTH)?;
        b.push(Op::Embed { table, scale: 1.0, out });
    }
    b.rms_norm("norm", WIDTH, EPSILON, x, h)?;
    b.push(Op::Store { cache, k: h, v: y });
    b.push(Op::Attend { cache, heads: HEADS, scale: 0.25, softcap: None, q: h, out });
    b.push(Op::Gate { f: Activation::Silu, x: h, y: out });
    b.push(Op::Add { x: h, y });
    if !products {
        return Ok(b.finish(Head::Hidden { x: h }, 32, true));
    }
    let (weight, out) = (b.matrix("nibbles.weight", ROWS, WIDTH)?, b.slot(ROWS));
    b.push(Op::MatMul { weight, bias: None, x: h, out });
    Ok(b.finish(Head::Hidden { x: out }, 32, true))
}

fn tensor(name: &str, rows: usize, kind: TensorType) -> TensorInfo {
    let dims = vec![WIDTH as u64, rows as u64];
    let bytes = (rows * WIDTH) as u64 / kind.block_len() * kind.block_bytes();
    TensorInfo { name: name.into(), dims, kind, offset: 0, bytes }
}

/// Blocks of any codes, always the same, with a scale that makes the weights about as large as a model's.
fn weights(tensor: &TensorInfo, seed: u32) -> Vec<u8> {
    let scale = match tensor.kind {
        TensorType::Q4_0 => 0.2,
        TensorType::Q8_0 => 0.01,
        _ => {
            return (0..tensor.elements()).flat_map(|k| (0.8 + 0.1 * (k % 5) as f32).to_le_bytes()).collect();
        }
    };
    let mut state = seed;
    let mut code = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    let mut bytes: Vec<u8> = (0..tensor.bytes).map(|_| code()).collect();
    for block in bytes.chunks_exact_mut(tensor.kind.block_bytes() as usize) {
        block[..2].copy_from_slice(&half::f16::from_f32(scale).to_le_bytes());
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn roundings_pass_and_faults_do_not() {
        let want = [1.0, -20.0, 0.0, 7.0];
        assert!(compare(&[1.3, -19.8, 0.2, 7.4], &want).is_ok());
        for wrong in [[1.0, -20.0, 0.0, 9.0], [1.0, 20.0, 0.0, 7.0], [0.0; 4], [1.0, -20.0, f32::NAN, 7.0]] {
            assert_eq!(compare(&wrong, &want).unwrap_err().code, Code::UnsupportedDevice, "{wrong:?}");
        }
    }
}
