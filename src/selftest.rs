//! A tiny model with made-up weights, on a GPU and on the CPU: a GPU whose answers are others than the CPU's is refused
//! before a model is fetched for it. Drivers that compile a shader wrongly say nothing of it.

use crate::cpu::{Activations, KvType};
use crate::error::{Code, Error, Result};
use crate::executor::{Draw, Executor, Loading};
use crate::gguf::{TensorInfo, TensorType};
use crate::gpu::Gpu;
use crate::plan::{self, Activation, Builder, Head, Op, Pairs, Plan, Rope, SlotId};
use std::rc::Rc;

/// Tokens that there are, and values of a token: four heads.
const ROWS: usize = 96;
const WIDTH: usize = HEADS * DIM;
const HEADS: usize = 4;
const DIM: usize = 16;
const EPSILON: f32 = 1e-5;

/// A prompt, a token after it, and on a card a prompt of more rows: few and many have kernels of their own.
const STEPS: [&[u32]; 3] =
    [&[17, 3, 80, 3, 55], &[42], &[7, 1, 90, 33, 60, 2, 71, 18, 44, 5, 29, 86, 13, 64, 38, 51, 77, 9]];

/// How far a value may be off, in parts of the largest: keys, values and activations are rounded, each side in its way.
const TOLERANCE: f32 = 0.05;

/// Refuses a GPU that computes something else than the CPU.
pub async fn check(gpu: &Rc<Gpu>) -> Result<()> {
    let card = !gpu.is_software();
    let (got, want) = (answers(Loading::gpu(gpu), card).await?, answers(Loading::cpu(), card).await?);
    compare(&got.values, &want.values)?;
    // Near-ties may be decided otherwise.
    let likely = |(token, logits): (&u32, &Vec<f32>)| {
        let best = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        logits.get(*token as usize).is_some_and(|logit| best - logit <= 2.0 * TOLERANCE * largest(logits))
    };
    match got.chosen.iter().zip(&want.last).all(likely) {
        true => Ok(()),
        false => Err(wrong("a token that it chooses is not the likeliest".to_owned())),
    }
}

fn wrong(what: String) -> Error {
    let message =
        format!("the GPU computes wrongly ({what}): update its driver, or load with device \"wasm\"");
    Error::new(Code::UnsupportedDevice, message)
}

fn largest(values: &[f32]) -> f32 {
    values.iter().fold(0.0, |most, value| most.max(value.abs()))
}

fn compare(got: &[f32], want: &[f32]) -> Result<()> {
    let most = TOLERANCE * largest(want);
    let near = |(got, want): (&f32, &f32)| (got - want).abs() <= most;
    match got.iter().zip(want).filter(|pair| !near(*pair)).count() {
        0 => Ok(()),
        count => Err(wrong(format!("{count} of {} values of a test are not the processor's", want.len()))),
    }
}

/// What the model answers.
#[derive(Default)]
struct Answers {
    /// States, or logits, of all rows.
    values: Vec<f32>,
    /// Logits of each step's last row.
    last: Vec<Vec<f32>>,
    /// The tokens that the GPU has chosen after these rows.
    chosen: Vec<u32>,
}

async fn answers(mut loading: Loading, card: bool) -> Result<Answers> {
    let tensors = [
        tensor("nibbles.weight", ROWS, WIDTH, TensorType::Q4_0),
        tensor("bytes.weight", ROWS, WIDTH, TensorType::Q8_0),
        tensor("other.weight", ROWS, WIDTH, TensorType::Q4_0),
        tensor("q.weight", WIDTH, WIDTH, TensorType::Q4_0),
        tensor("k.weight", WIDTH, WIDTH, TensorType::Q4_0),
        tensor("down.weight", WIDTH, ROWS, TensorType::Q4_0),
        tensor("norm.weight", 1, WIDTH, TensorType::F32),
        tensor("heads.weight", 1, DIM, TensorType::F32),
    ];
    for (k, tensor) in (1..).zip(&tensors) {
        loading.push(tensor, 0, &weights(tensor, k))?;
    }
    let plan = if card { layer(&tensors)? } else { elements(&tensors)? };
    let mut executor = loading.finish(plan, KvType::F16, Activations::Auto)?;
    let mut cache = executor.new_cache();
    let mut answers = Answers::default();
    for tokens in &STEPS[..if card { 3 } else { 2 }] {
        executor.begin(&mut [(&mut cache, *tokens)])?;
        while !executor.advance(&mut [&mut cache], &mut || false)? {
            wait(&executor).await;
        }
        answers.read(&mut executor, tokens.len()).await?;
    }
    Ok(answers)
}

impl Answers {
    /// Reads what a step has left of its rows.
    async fn read(&mut self, executor: &mut Executor, rows: usize) -> Result<()> {
        let mut values = Vec::new();
        if let Head::Hidden { .. } = executor.plan().head {
            while !executor.hidden(0..rows, &mut values)? {
                wait(executor).await;
            }
            self.values.append(&mut values);
            return Ok(());
        }
        let most = executor.head_rows();
        for first in (0..rows).step_by(most) {
            while !executor.logits(first..rows.min(first + most), &mut values)? {
                wait(executor).await;
            }
            self.values.extend_from_slice(&values);
        }
        self.last.push(self.values[self.values.len() - ROWS..].to_vec());
        let greedy = Draw { top_k: 1, temperature: 1.0, top_p: 1.0, repeat_penalty: 1.0, ..Draw::default() };
        if executor.choose(rows - 1, &greedy, None, None)? {
            self.chosen.push(loop {
                match executor.chosen()? {
                    Some(token) => break token,
                    None => wait(executor).await,
                }
            });
        }
        Ok(())
    }
}

async fn wait(executor: &Executor) {
    if let Some(signal) = executor.waiting() {
        signal.await;
    }
}

/// What a program is asked, to which a layer's kernels would take seconds to compile: tables of two formats, a norm,
/// attention and a gate. That is unpacking, sums over a workgroup, exponentials and f16s.
fn elements(tensors: &[TensorInfo]) -> Result<Plan> {
    let mut b = Builder::new(tensors);
    let cache = b.cache(plan::Cache { heads: HEADS, dim: DIM, window: None });
    let [x, h, y, out] = [WIDTH; 4].map(|width| b.slot(width));
    embed(&mut b, "nibbles.weight", x)?;
    embed(&mut b, "bytes.weight", y)?;
    b.rms_norm("norm", WIDTH, EPSILON, x, h)?;
    b.push(Op::Store { cache, k: h, v: y });
    b.push(Op::Attend { cache, heads: HEADS, scale: 0.25, softcap: None, q: h, out });
    b.push(Op::Gate { f: Activation::Silu, x: h, y: out });
    b.push(Op::Add { x: h, y });
    Ok(b.finish(Head::Hidden { x: h }, 32, true))
}

/// A layer as models have it, and a head: a step of one row is made of the fused kernels then, others of tiles and of
/// those in between. All products are of one format: others would take as much time to compile.
fn layer(tensors: &[TensorInfo]) -> Result<Plan> {
    let mut b = Builder::new(tensors);
    let cache = b.cache(plan::Cache { heads: HEADS, dim: DIM, window: None });
    let [x, h, q, k, v] = [WIDTH; 5].map(|width| b.slot(width));
    let [gate, up] = [ROWS; 2].map(|width| b.slot(width));
    let frequencies = (0..DIM / 2).map(|pair| 0.3f32.powi(pair as i32)).collect();
    let rope =
        b.rope(Rope { pairs: Pairs::Halves, frequencies, factors: None, magnitude: 1.0, temperature: None });
    embed(&mut b, "bytes.weight", x)?;
    b.rms_norm("norm", WIDTH, EPSILON, x, h)?;
    for (name, out) in [("q", q), ("k", k), ("q", v)] {
        b.linear(name, h, out)?;
    }
    for slot in [q, k] {
        b.rms_norm("heads", DIM, EPSILON, slot, slot)?;
    }
    for slot in [q, k] {
        b.push(Op::Rotate { rope, dim: DIM, x: slot });
    }
    b.push(Op::Store { cache, k, v });
    b.push(Op::Attend { cache, heads: HEADS, scale: 0.25, softcap: None, q, out: h });
    b.linear("k", h, v)?;
    b.push(Op::Add { x, y: v });
    b.rms_norm("norm", WIDTH, EPSILON, x, h)?;
    b.linear("nibbles", h, gate)?;
    b.linear("other", h, up)?;
    b.push(Op::Gate { f: Activation::Silu, x: gate, y: up });
    b.linear("down", gate, v)?;
    b.push(Op::Add { x, y: v });
    b.rms_norm("norm", WIDTH, EPSILON, x, h)?;
    let weight = b.matrix("nibbles.weight", ROWS, WIDTH)?;
    Ok(b.finish(Head::Logits { weight, x: h, softcap: None }, 32, true))
}

fn embed(b: &mut Builder, name: &str, out: SlotId) -> Result<()> {
    let table = b.matrix(name, ROWS, WIDTH)?;
    b.push(Op::Embed { table, scale: 1.0, out });
    Ok(())
}

fn tensor(name: &str, rows: usize, cols: usize, kind: TensorType) -> TensorInfo {
    let dims = vec![cols as u64, rows as u64];
    let bytes = (rows * cols) as u64 / kind.block_len() * kind.block_bytes();
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
