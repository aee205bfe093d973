//! out = epilogue(W·x), for one row or few: LANES threads per output, each with every LANES-th block of 32 columns,
//! their sums folded. Several outputs share a workgroup, so that rows of few blocks keep all threads busy. Matrices
//! that read the same x share a dispatch, one range of workgroups after the other; x is normalized as it is read,
//! for which each workgroup sums up the squares itself: that takes less than another dispatch.

use super::{FOLD, Slot, THREADS, bind, function, unpackers};
use crate::gpu::call::Call;
use crate::gpu::device::Gpu;
use crate::gpu::weights::{Matrix, Part};
use crate::plan::Activation;

/// What is multiplied.
pub struct Input<'a> {
    pub x: &'a Slot,
    /// Weight and ε of an RMS norm that x passes first.
    pub norm: Option<(&'a [f32], f32)>,
}

/// What becomes of a sum.
#[derive(Clone, Copy)]
pub enum Epilogue {
    Store,
    /// out += sum
    Add,
    /// f(sum)
    Activate(Activation),
    /// cap·tanh(sum/cap)
    Softcap(f32),
}

/// One matrix, or a part of it, and where its products go.
pub struct Product<'a> {
    pub matrix: &'a Matrix,
    pub part: &'a Part,
    pub bias: Option<&'a [f32]>,
    pub out: &'a Slot,
}

impl Epilogue {
    /// WGSL of the functions it needs.
    pub fn source(self) -> String {
        match self {
            Epilogue::Activate(f) => function(f).to_owned(),
            Epilogue::Softcap(cap) => format!(
                "fn f(x: f32) -> f32 {{\n  return {cap:?} * tanh(clamp(x / {cap:?}, -10.0, 10.0));\n}}\n"
            ),
            _ => String::new(),
        }
    }

    /// WGSL of an assignment of `sum` to `out`.
    pub fn assign(self, out: &str, sum: &str) -> String {
        match self {
            Epilogue::Store => format!("{out} = {sum};"),
            Epilogue::Add => format!("{out} += {sum};"),
            Epilogue::Activate(_) | Epilogue::Softcap(_) => format!("{out} = f({sum});"),
        }
    }
}

/// Up to three products of the same x.
pub fn products(gpu: &Gpu, input: &Input, all: &[Product], epilogue: Epilogue) -> Call {
    let lanes = lanes(all[0].matrix);
    let per_group = THREADS / lanes;
    let groups = |product: &Product| product.part.rows.div_ceil(per_group);
    let mut vectors = Vectors::new(input);
    let (mut functions, mut branches) = (String::new(), String::new());
    for (k, product) in all.iter().enumerate() {
        let bias = product.bias.map(|bias| format!(" + vector({} + row)", vectors.push(bias, product.part)));
        let sum = format!("total{}", bias.unwrap_or_default());
        let out = format!("out{k}[token * params.stride{k} + params.first{k} + row]");
        let text = include_str!("product.wgsl");
        functions += &text.replace("@assign@", &epilogue.assign(&out, &sum)).replace("$", &k.to_string());
        let last = k + 1 == all.len();
        let branch = format!("product{k}(token, base, index, lane, factor);");
        branches += &if last {
            format!("  {branch}\n")
        } else {
            format!(
                "  if (index < params.groups{k}) {{\n    {branch}\n    return;\n  }}\n  index -= params.groups{k};\n"
            )
        };
    }
    let body = source(input, lanes, &epilogue.source(), &functions, &branches, all.iter().map(|p| p.matrix));
    let mut call = Call::new("products", body, all.iter().map(groups).sum());
    call = inputs(gpu, call, input, vectors, all[0].matrix);
    for (k, product) in all.iter().enumerate() {
        call = bind(call, k, product.matrix, product.part)
            .writes(format!("out{k}"), "f32", &product.out.buffer)
            .param(format!("rows{k}"), product.part.rows)
            .param(format!("groups{k}"), groups(product))
            .param(format!("stride{k}"), product.out.stride)
            .param(format!("first{k}"), product.part.first)
            .weights(product.matrix.bytes_of(product.part.rows));
    }
    call
}

/// out = f(gate·x) · (up·x): both sums of an output in the same threads.
pub fn gated(gpu: &Gpu, input: &Input, f: Activation, [gate, up]: [&Matrix; 2], out: &Slot) -> Call {
    let lanes = lanes(gate);
    let part = &gate.parts[0];
    let branches = "  gated(token, base, index, lane, factor);\n";
    let functions = include_str!("gated.wgsl");
    let body = source(input, lanes, function(f), functions, branches, [gate, up]);
    let call = Call::new("gated", body, part.rows.div_ceil(THREADS / lanes));
    let mut call = inputs(gpu, call, input, Vectors::new(input), gate);
    for (k, matrix) in [gate, up].into_iter().enumerate() {
        call = bind(call, k, matrix, &matrix.parts[0]).weights(matrix.bytes_of(matrix.rows));
    }
    call.writes("out0", "f32", &out.buffer).param("rows0", part.rows).param("stride0", out.stride)
}

/// Threads of an output: a power of two, not more than its blocks.
fn lanes(matrix: &Matrix) -> usize {
    let blocks = matrix.blocks().max(1);
    (1 << blocks.ilog2()).min(32)
}

fn source<'a>(
    input: &Input,
    lanes: usize,
    function: &str,
    functions: &str,
    branches: &str,
    matrices: impl IntoIterator<Item = &'a Matrix>,
) -> String {
    let (factor, times) = match input.norm {
        Some(_) => {
            ("1.0 / sqrt(squares(base, lane) / params.width + params.eps)", " * vectors[b * 8u + $ku]")
        }
        None => ("1.0", ""),
    };
    let mut shell = include_str!("products.wgsl").replace("$LANES", &lanes.to_string());
    for k in 0..8 {
        shell =
            shell.replace(&format!("$x{k}"), &format!("x[at + {k}u]{}", times.replace("$k", &k.to_string())));
    }
    let squares = if input.norm.is_some() { include_str!("squares.wgsl") } else { "" };
    let shell = shell.replace("$factor", factor).replace("$branches", branches);
    let (shared, main) = shell.split_once("@compute").unwrap_or((&shell, ""));
    [&unpackers(matrices), FOLD, function, squares, shared, functions, "@compute", main].concat()
}

/// Norm weights and biases, in one buffer: bindings are few.
struct Vectors(Vec<f32>);

impl Vectors {
    fn new(input: &Input) -> Self {
        let mut values = input.norm.map_or(vec![], |(weight, _)| weight.to_vec());
        values.resize(values.len().next_multiple_of(32), 0.0);
        Vectors(values)
    }

    /// Where a part's share of a bias begins.
    fn push(&mut self, bias: &[f32], part: &Part) -> String {
        let at = self.0.len();
        self.0.extend_from_slice(&bias[part.first..part.first + part.rows]);
        format!("{at}u")
    }
}

fn inputs(gpu: &Gpu, mut call: Call, input: &Input, Vectors(mut values): Vectors, matrix: &Matrix) -> Call {
    values.resize(values.len().next_multiple_of(4).max(4), 0.0);
    let vectors = gpu.buffer(4 * values.len() as u64);
    gpu.write(&vectors, 0, bytemuck::cast_slice(&values));
    call = call
        .reads("x", "vec4<f32>", &input.x.buffer)
        .reads("vectors", "vec4<f32>", &vectors)
        .param("blocks", matrix.blocks())
        .param("x_stride", input.x.fours());
    if let Some((weight, eps)) = input.norm {
        call = call.param("fours", input.x.fours()).number("width", weight.len() as f32).number("eps", eps);
    }
    call
}
