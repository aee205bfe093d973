//! out = epilogue(W·x), for one row or few: some threads per group of outputs, which share its blocks of 32 columns; a
//! thread makes the sums of all the group's outputs and of some rows of x, so that x is read once for the outputs and W
//! once for the rows. Then the threads' sums are folded. How many there are of all that is the [`Shape`]. Matrices that
//! read the same x share a dispatch, one range of workgroups after the other. x is normalized as it is read, and Σx² is
//! summed up beside the products, which costs no other dispatch.

use super::{Slot, THREADS, bind, function, unpackers};
use crate::gpu::call::Call;
use crate::gpu::device::Gpu;
use crate::gpu::weights::{Matrix, Part};
use crate::plan::Activation;
use std::fmt::Write;

/// How a workgroup shares its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Threads of a group of outputs, a power of two.
    pub lanes: usize,
    /// Outputs of a group: not more than its threads, if those are several.
    pub rows: usize,
    /// Rows of x.
    pub tokens: usize,
}

impl Shape {
    /// The shape for a matrix of `rows` outputs with `blocks` blocks each, in a step of one row or of many.
    fn of(gpu: &Gpu, rows: usize, blocks: usize, one: bool) -> Self {
        if gpu.is_software() {
            return if one { SOFTWARE } else { SOFTWARE_MANY };
        }
        let lanes = (1 << blocks.max(1).ilog2()).min(32);
        // Outputs that share the reads of x leave fewer workgroups.
        let wanted = if rows >= 2048 { 4 } else { 2 };
        Shape { lanes, rows: wanted.min(lanes), tokens: 1 }
    }

    /// Outputs of a workgroup.
    fn outputs(self) -> usize {
        THREADS / self.lanes * self.rows
    }
}

/// Processors have few threads, and pay for barriers.
const SOFTWARE: Shape = Shape { lanes: 1, rows: 4, tokens: 1 };
const SOFTWARE_MANY: Shape = Shape { lanes: 1, rows: 2, tokens: 8 };

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
pub fn products(gpu: &Gpu, input: &Input, all: &[Product], epilogue: Epilogue, one: bool) -> Call {
    let blocks = all[0].matrix.blocks();
    let most = all.iter().map(|product| product.part.rows).max().unwrap_or(0);
    let shape = Shape::of(gpu, most, blocks, one);
    let groups = |product: &Product| product.part.rows.div_ceil(shape.outputs());
    let mut vectors = Vectors::new(input);
    let (mut functions, mut branches) = (String::new(), String::new());
    for (k, product) in all.iter().enumerate() {
        let bias = product.bias.map(|bias| format!(" + vector({} + row)", vectors.push(bias, product.part)));
        let sum = format!("total{k}{}", bias.unwrap_or_default());
        let out = format!("out{k}[token * params.stride{k} + params.first{k} + row]");
        functions += &summing(shape, input, &[k], &epilogue.assign(&out, &sum));
        let call = format!("product{k}(token0, index, lane);");
        branches += &if k + 1 == all.len() {
            format!("  {call}\n")
        } else {
            format!(
                "  if (index < params.groups{k}) {{\n    {call}\n    return;\n  }}\n  index -= params.groups{k};\n"
            )
        };
    }
    let body = source(input, shape, 1, &functions, &branches);
    let body = unpackers(all.iter().map(|product| product.matrix)) + &epilogue.source() + &body;
    let mut call = Call::new("products", body, all.iter().map(groups).sum()).tiles(shape.tokens as u32);
    call = inputs(gpu, call, input, vectors, blocks);
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
    let rows = gate.parts[0].rows;
    let shape = Shape::of(gpu, rows, gate.blocks(), true);
    let assign = "out0[token * params.stride0 + row] = f(total0) * total1;";
    let functions = summing(shape, input, &[0, 1], assign);
    let body = source(input, shape, 2, &functions, "  product0(token0, index, lane);\n");
    let body = unpackers([gate, up]) + function(f) + &body;
    let call = Call::new("gated", body, rows.div_ceil(shape.outputs()));
    let mut call = inputs(gpu, call, input, Vectors::new(input), gate.blocks());
    for (k, matrix) in [gate, up].into_iter().enumerate() {
        call = bind(call, k, matrix, &matrix.parts[0]).weights(matrix.bytes_of(matrix.rows));
    }
    call.writes("out0", "f32", &out.buffer).param("rows0", rows).param("stride0", out.stride)
}

/// WGSL of a function `product`k that makes the sums `total` of matrices `ks`, of which k is the first, and does
/// `assign` with them for each `row` of its own and each `token`.
fn summing(shape: Shape, input: &Input, ks: &[usize], assign: &str) -> String {
    let Shape { lanes, rows, tokens } = shape;
    let (k, normed) = (ks[0], input.norm.is_some());
    let mut text = String::new();
    let mut line = |arguments: std::fmt::Arguments| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{arguments}");
    };
    line(format_args!("fn product{k}(token0: u32, group: u32, lane: u32) {{"));
    line(format_args!("  let own = lane % LANES;"));
    line(format_args!("  let row0 = (group * {}u + lane / LANES) * {rows}u;", THREADS / lanes));
    (0..tokens)
        .for_each(|t| line(format_args!("  let base{t} = base_of(token0 + {t}u);\n  var squares{t} = 0.0;")));
    for r in 0..rows {
        line(format_args!("  let at{r} = min(row0 + {r}u, params.rows{k} - 1u) * params.blocks;"));
        for (k, t) in each(ks, tokens) {
            line(format_args!("  var sum{k}_{r}_{t} = 0.0;"));
        }
    }
    line(format_args!("  for (var b = own; b < params.blocks; b += LANES) {{"));
    // For one row of x it is better to hold that than the weights.
    let unpacked =
        |k: usize, r: usize| if tokens == 1 { format!("unpack{k}(at{r} + b)") } else { format!("w{k}_{r}") };
    for (k, r) in each(ks, rows).filter(|_| tokens > 1) {
        line(format_args!("    let w{k}_{r} = unpack{k}(at{r} + b);"));
    }
    for t in 0..tokens {
        match normed {
            true => {
                line(format_args!(
                    "    let read{t} = input(base{t}, b);\n    let x{t} = normed(read{t}, b);"
                ));
                line(format_args!("    squares{t} += times(read{t}, read{t});"));
            }
            false => line(format_args!("    let x{t} = input(base{t}, b);")),
        }
        for (k, r) in each(ks, rows) {
            line(format_args!("    sum{k}_{r}_{t} += times({}, x{t});", unpacked(k, r)));
        }
    }
    line(format_args!("  }}"));
    let factor = |squares: String| if normed { format!(" * factor({squares})") } else { String::new() };
    if lanes == 1 {
        for (t, r) in (0..tokens).flat_map(|t| (0..rows).map(move |r| (t, r))) {
            line(format_args!("  if (row0 + {r}u < params.rows{k} && token0 + {t}u < now.rows) {{"));
            line(format_args!("    let row = row0 + {r}u;\n    let token = token0 + {t}u;"));
            for k in ks {
                line(format_args!("    let total{k} = sum{k}_{r}_{t}{};", factor(format!("squares{t}"))));
            }
            line(format_args!("    {assign}\n  }}"));
        }
    } else {
        // The n-th thread of a group has the n-th output.
        for t in 0..tokens {
            line(format_args!("  partial[{}u + lane] = squares{t};", THREADS * t));
            for (m, (k, r)) in each(ks, rows).enumerate() {
                let at = THREADS * (tokens + t * rows * ks.len() + m);
                line(format_args!("  partial[{at}u + lane] = sum{k}_{r}_{t};"));
            }
        }
        line(format_args!("  workgroupBarrier();\n  let row = row0 + own;\n  let first = lane - own;"));
        for t in 0..tokens {
            line(format_args!("  if (own < {rows}u && row < params.rows{k} && token0 + {t}u < now.rows) {{"));
            line(format_args!("    let token = token0 + {t}u;"));
            for (m, k) in ks.iter().enumerate() {
                let at = tokens + (t * ks.len() + m) * rows;
                let factor = factor(format!("folded({t}u, first)"));
                line(format_args!("    let total{k} = folded({at}u + own, first){factor};"));
            }
            line(format_args!("    {assign}\n  }}"));
        }
    }
    line(format_args!("}}"));
    text
}

/// Every matrix with every one of `n` numbers.
fn each(ks: &[usize], n: usize) -> impl Iterator<Item = (usize, usize)> {
    ks.iter().flat_map(move |k| (0..n).map(move |n| (*k, n)))
}

/// The source of a kernel whose functions sum up `sums` products at once.
fn source(input: &Input, shape: Shape, sums: usize, functions: &str, branches: &str) -> String {
    let partials = if shape.lanes == 1 { 1 } else { THREADS * (sums * shape.rows + 1) * shape.tokens };
    include_str!("products.wgsl")
        .replace("$LANES", &shape.lanes.to_string())
        .replace("$TOKENS", &shape.tokens.to_string())
        .replace("$PARTIALS", &partials.to_string())
        .replace("$normed", if input.norm.is_some() { include_str!("normed_block.wgsl") } else { "" })
        .replace("$functions", functions)
        .replace("$branches", branches)
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

fn inputs(gpu: &Gpu, mut call: Call, input: &Input, Vectors(mut values): Vectors, blocks: usize) -> Call {
    values.resize(values.len().next_multiple_of(4).max(4), 0.0);
    let vectors = gpu.buffer(4 * values.len() as u64);
    gpu.write(&vectors, 0, bytemuck::cast_slice(&values));
    call = call
        .reads("x", "vec4<f32>", &input.x.buffer)
        .reads("vectors", "vec4<f32>", &vectors)
        .param("blocks", blocks)
        .param("x_stride", input.x.fours());
    if let Some((weight, eps)) = input.norm {
        call = call.number("width", weight.len() as f32).number("eps", eps);
    }
    call
}
