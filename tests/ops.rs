//! The kernels that are no products, against candle's operations in f32.

mod support;

use candle_core::{Device, Tensor};
use support::numbers::{largest_error, numbers};
use support::oracles::{self, ACTIVATIONS, tensor, values};
use wisplm::cpu::kernels::{elementwise, norm, rotary};
use wisplm::cpu::{Executor, Loading};
use wisplm::gguf::{TensorInfo, TensorType};
use wisplm::plan::{Builder, Factor, Head, Op, Pairs, Plan, Row};

/// Sums of some hundred f32 values in another order: some units in the last place.
const ROUNDING: f32 = 2e-6;

fn check(name: &str, got: &[f32], want: &[f32], tolerance: f32) {
    let error = largest_error(got, want);
    assert!(error <= tolerance, "{name}: off by {error}");
}

#[test]
fn norms_are_candles() {
    for width in [1, 3, 32, 80, 100, 576] {
        for eps in [1e-5, 1e-6, 1e-12] {
            let (weight, bias) = (numbers(width, 1), numbers(width, 2));
            for (scale, offset) in [(1.0, 0.0), (1e-3, 0.0), (30.0, 0.0), (1.0, 10.0)] {
                let x: Vec<f32> = numbers(width, 3).iter().map(|x| x * scale + offset).collect();
                let name = format!("{width} values, ε {eps}, scale {scale}, offset {offset}");

                let mut got = x.clone();
                norm::rms(&mut got, &weight, eps);
                let want = oracles::norm(&x, &weight, None, eps);
                check(&format!("RMS of {name}"), &got, &want, ROUNDING);

                let mut got = x.clone();
                norm::even(&mut got, 0.25, eps);
                let want = oracles::norm(&x, &vec![0.25; width], None, eps);
                check(&format!("even norm of {name}"), &got, &want, ROUNDING);

                // The mean of one value is that value: only rounding is left, which ε = 10⁻¹² magnifies.
                if width > 1 {
                    let mut got = x.clone();
                    norm::layer(&mut got, &weight, &bias, eps);
                    let want = oracles::norm(&x, &weight, Some(&bias), eps);
                    // An offset of 10 leaves x − mean with 20 bits, and both sides round the mean.
                    let tolerance = if offset == 0.0 { ROUNDING } else { 1e-5 };
                    check(&format!("layer norm of {name}"), &got, &want, tolerance);
                }
            }
        }
    }
}

/// Heads of `dim` values of which the first `rotated` turn, at positions from `start` on.
fn rotate(pairs: Pairs, dim: usize, rotated: usize, start: usize) {
    let (heads, rows, half) = (3, 5, rotated / 2);
    let frequencies: Vec<f32> = (0..half).map(|i| 10_000f32.powf(-2.0 * i as f32 / rotated as f32)).collect();
    let x = numbers(rows * heads * dim, 4);

    let mut got = x.clone();
    let mut angles = vec![[0.0; 2]; half];
    for (row, x) in got.chunks_exact_mut(heads * dim).enumerate() {
        rotary::angles(start + row, &frequencies, 1.0, &mut angles);
        rotary::rotate(x, dim, pairs, &angles);
    }

    let want = oracles::rotated(&x, [heads, dim], start, pairs, &frequencies);
    // The same sines, two products and a sum: half a unit in the last place each.
    check(&format!("{pairs:?}, {rotated} of {dim} from {start}"), &got, &want, 3e-7);
}

#[test]
fn rotary_embeddings_are_candles() {
    for pairs in [Pairs::Interleaved, Pairs::Halves] {
        for (dim, rotated) in [(32, 32), (64, 64), (80, 80), (256, 256), (64, 32), (80, 20), (6, 2)] {
            for start in [0, 1, 31, 1000, 131_000] {
                rotate(pairs, dim, rotated, start);
            }
        }
    }
}

#[test]
fn magnitudes_multiply_sines_and_cosines() {
    let (mut plain, mut scaled) = ([[0.0; 2]; 4], [[0.0; 2]; 4]);
    rotary::angles(77, &[1.0, 0.5, 0.25, 0.0], 1.0, &mut plain);
    rotary::angles(77, &[1.0, 0.5, 0.25, 0.0], 1.5, &mut scaled);
    assert_eq!(scaled, plain.map(|[cos, sin]| [cos * 1.5, sin * 1.5]));
    assert_eq!(plain[3], [1.0, 0.0]);
}

#[test]
fn activations_and_gates_are_candles() {
    // A length that four does not divide, over the range where the functions bend, and far beyond it.
    for (scale, n) in [(1.0, 257), (12.0, 1_001), (1e4, 31)] {
        let mut x: Vec<f32> = numbers(n, 5).iter().map(|x| x * scale).collect();
        x[0] = 0.0;
        let y = numbers(n, 6);
        for f in ACTIVATIONS {
            let want = oracles::activated(f, &x);
            let mut got = x.clone();
            elementwise::activate(f, &mut got);
            // One part in 10⁶ where eˣ is made here and in libm.
            check(&format!("{f:?} ±{scale}"), &got, &want, ROUNDING);
            let mut got = x.clone();
            elementwise::gate(f, &mut got, &y);
            let want: Vec<f32> = want.iter().zip(&y).map(|(x, y)| x * y).collect();
            check(&format!("gate {f:?} ±{scale}"), &got, &want, ROUNDING);
        }
    }
}

/// Tensors in F32, `rows` × `cols` numbers each.
fn weights(plan: &Plan) -> (Loading, Vec<Tensor>) {
    let mut loading = Loading::default();
    let mut tensors = Vec::new();
    for (index, weight) in plan.weights.iter().enumerate() {
        let values = numbers(weight.rows * weight.cols, 7 + index as u32);
        let info = info(&weight.name, weight.rows, weight.cols);
        loading.push(&info, 0, bytemuck::cast_slice(&values)).unwrap();
        tensors.push(tensor(&values, &[weight.rows, weight.cols]));
    }
    (loading, tensors)
}

fn info(name: &str, rows: usize, cols: usize) -> TensorInfo {
    let (dims, bytes) = (vec![cols as u64, rows as u64], (rows * cols * 4) as u64);
    TensorInfo { name: name.into(), dims, kind: TensorType::F32, offset: 0, bytes }
}

/// Runs a plan over `tokens` after `before`, and answers the executor.
fn run_plan(plan: Plan, loading: Loading, before: &[u32], tokens: &[u32]) -> Executor {
    let weights = loading.finish(&plan).unwrap();
    let mut executor = Executor::new(plan, weights).unwrap();
    let mut cache = executor.new_cache();
    for tokens in [before, tokens] {
        executor.begin(&mut [(&mut cache, tokens)]).unwrap();
        assert!(executor.advance(&mut [&mut cache], &mut || false).unwrap());
    }
    executor
}

fn rows(table: &Tensor, rows: &[u32]) -> Tensor {
    table.index_select(&Tensor::new(rows, &Device::Cpu).unwrap(), 0).unwrap()
}

#[test]
fn embeddings_and_tables_are_looked_up() {
    // A width that no vector divides.
    let width = 70;
    let infos = [info("tokens", 50, width), info("positions", 20, width), info("types", 2, width)];
    let mut b = Builder::new(&infos);
    let x = b.slot(width);
    let table = b.matrix("tokens", 50, width).unwrap();
    b.push(Op::Embed { table, scale: 3.0, out: x });
    let table = b.matrix("positions", 20, width).unwrap();
    b.push(Op::AddRow { table, row: Row::Position, x });
    let table = b.matrix("types", 2, width).unwrap();
    b.push(Op::AddRow { table, row: Row::Fixed(1), x });
    let plan = b.finish(Head::Hidden { x }, 20, true);
    let (loading, tables) = weights(&plan);
    let tokens = [49, 0, 7, 7, 31];
    let mut executor = run_plan(plan, loading, &[1, 2, 3], &tokens);
    let want = (rows(&tables[0], &tokens) * 3.0).unwrap();
    let want = (want + rows(&tables[1], &[3, 4, 5, 6, 7])).unwrap();
    let want = values(&(want + rows(&tables[2], &[1; 5])).unwrap());
    for (row, want) in want.chunks_exact(width).enumerate() {
        assert_eq!(executor.hidden(row), want, "row {row}");
    }
}

/// Runs that have more than one part, and one that is its own whole.
#[test]
fn parts_are_copied_and_scaled() {
    for (width, run, first, part) in [(60, 20, 5, 7), (60, 60, 33, 27), (60, 4, 2, 2), (60, 60, 0, 60)] {
        let infos = [info("tokens", 50, width), info("by", 1, 1)];
        let mut b = Builder::new(&infos);
        let (x, out) = (b.slot(width), b.slot(width / run * part));
        let table = b.matrix("tokens", 50, width).unwrap();
        b.push(Op::Embed { table, scale: 1.0, out: x });
        b.push(Op::Part { x, run, first, out });
        let by = b.vector("by", 1).unwrap();
        b.push(Op::Scale { by: Factor::Weight(by), x: out });
        let plan = b.finish(Head::Hidden { x: out }, 20, true);
        let (loading, tables) = weights(&plan);
        let (by, tokens) = (values(&tables[1])[0], [49, 0, 7]);
        let mut executor = run_plan(plan, loading, &[1], &tokens);
        for (row, values) in values(&rows(&tables[0], &tokens)).chunks_exact(width).enumerate() {
            let want: Vec<f32> =
                values.chunks_exact(run).flat_map(|run| &run[first..first + part]).map(|x| x * by).collect();
            assert_eq!(executor.hidden(row), want, "row {row}: {part} of {run} from {first}");
        }
    }
}

#[test]
fn logits_are_capped() {
    let infos = [info("tokens", 50, 64), info("output", 33, 64)];
    for cap in [None, Some(0.5_f32), Some(30.0)] {
        let mut b = Builder::new(&infos);
        let x = b.slot(64);
        let table = b.matrix("tokens", 50, 64).unwrap();
        b.push(Op::Embed { table, scale: 1.0, out: x });
        let weight = b.matrix("output", 33, 64).unwrap();
        let plan = b.finish(Head::Logits { weight, x, softcap: cap }, 20, true);
        let (loading, tables) = weights(&plan);
        let mut executor = run_plan(plan, loading, &[1], &[2, 3]);
        let mut got = Vec::new();
        executor.logits(1..2, &mut got).unwrap();
        let mut want = rows(&tables[0], &[3]).matmul(&tables[1].t().unwrap()).unwrap();
        if let Some(cap) = cap {
            want = ((want / f64::from(cap)).unwrap().tanh().unwrap() * f64::from(cap)).unwrap();
            assert!(got.iter().all(|logit| logit.abs() <= cap));
        }
        check(&format!("logits capped at {cap:?}"), &got, &values(&want), ROUNDING);
    }
}
