//! out = epilogue(W·x), for one row or few: some threads per group of outputs, which share its blocks of 32 columns; a
//! thread makes the sums of all the group's outputs and of some rows of x, so that x is read once for the outputs and W
//! once for the rows. Then the threads' sums are folded. How many there are of all that is the [`Shape`]. Matrices that
//! read the same x share a dispatch, one range of workgroups after the other. x is normalized as it is read, and Σx² is
//! summed up beside the products, which costs no other dispatch.

use super::looped::looped;
use super::{Slot, THREADS, bind, function, unpackers};
use crate::gpu::call::{Call, Constants, FEW, When};
use crate::gpu::device::Gpu;
use crate::gpu::features::Extension;
use crate::gpu::weights::{Matrix, Part};
use crate::plan::Activation;
use std::fmt::Write;
use std::rc::Rc;

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
    /// The shape for steps of one row with a matrix of these outputs, of `blocks` blocks each.
    fn of(gpu: &Gpu, matrix: &Matrix, rows: usize) -> Self {
        if gpu.is_software() {
            return SOFTWARE;
        }
        let most = 1 << matrix.blocks().max(1).ilog2();
        // Outputs that share the reads of x leave fewer workgroups.
        let shape = gpu.tuning().shape(matrix.format.kind.name());
        let shape = shape.unwrap_or(Shape { lanes: 32, rows: if rows >= 2048 { 4 } else { 2 }, tokens: 1 });
        let lanes = shape.lanes.min(most);
        Shape { lanes, rows: shape.rows.min(lanes), tokens: 1 }
    }

    /// The same threads, each with several rows of x: what is read of the matrix once is used for all of them.
    fn with_tokens(self, tokens: usize, sums: usize) -> Self {
        // Weights of two outputs and a row of x are as much as registers hold.
        Shape { tokens, rows: self.rows.min(2 / sums), ..self }
    }

    /// Whether kernels can have it.
    pub fn is_legal(&self) -> bool {
        let Shape { lanes, rows, .. } = *self;
        lanes.is_power_of_two()
            && lanes <= THREADS
            && (1..=4).contains(&rows)
            && (rows <= lanes || lanes == 1)
    }

    /// Outputs of a workgroup.
    fn outputs(self) -> usize {
        THREADS / self.lanes * self.rows
    }

    /// Whether threads hand their sums to each other, in place of writing them to memory.
    fn exchanges(self, gpu: &Gpu) -> bool {
        self.lanes > 1 && self.lanes <= gpu.features().subgroup
    }
}

/// Processors have few threads, and pay for barriers. What is read of x and unpacked of W is used often: with two outputs and
/// eight rows SmolLM2 reads a prompt half as fast.
const SOFTWARE: Shape = Shape { lanes: 1, rows: 4, tokens: 1 };
const SOFTWARE_MANY: Shape = Shape { lanes: 1, rows: 4, tokens: 32 };

/// Rows of the steps for which there are shapes between one row and tiles: first, last, which is also how many of them a
/// thread has.
const FEW_ROWS: [(usize, usize); 3] = [(2, 4), (5, 8), (9, FEW)];

/// Calls for one row, for few, and for so many that there is no other shape for them.
fn of_steps(gpu: &Gpu, one: Shape, sums: usize, call: impl Fn(Shape) -> Call) -> Vec<Call> {
    if gpu.is_software() {
        return vec![call(one)];
    }
    let few = FEW_ROWS.map(|(first, last)| call(one.with_tokens(last, sums)).when(When::Rows(first, last)));
    let ends = [
        call(one).when(When::Rows(0, 1)),
        call(one.with_tokens(8, sums)).when(When::Rows(FEW + 1, usize::MAX)),
    ];
    few.into_iter().chain(ends).collect()
}

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

/// Up to three products of the same x, for steps with one row of each sequence.
pub fn products(gpu: &Gpu, input: &Input, all: &[Product], epilogue: Epilogue) -> Vec<Call> {
    let most = all.iter().map(|product| product.part.rows).max().unwrap_or(0);
    let vectors = Vectors::new(input, all);
    of_steps(gpu, Shape::of(gpu, all[0].matrix, most), 1, |shape| {
        summed(gpu, shape, input, all, &vectors, epilogue)
    })
}

/// One product in the shape that suits prompts on a processor.
pub fn many(gpu: &Gpu, x: &Slot, product: &Product, epilogue: Epilogue) -> Call {
    let (input, all) = (Input { x, norm: None }, std::slice::from_ref(product));
    summed(gpu, SOFTWARE_MANY, &input, all, &Vectors::new(&input, all), epilogue)
}

/// One product for each number of rows that counts as few. A single one has a program of its own.
pub fn few(gpu: &Gpu, x: &Slot, product: &Product, epilogue: Epilogue) -> Vec<Call> {
    let (input, all) = (Input { x, norm: None }, std::slice::from_ref(product));
    let (one, vectors) = (Shape::of(gpu, product.matrix, product.part.rows), Vectors::new(&input, all));
    let call = |(first, last)| {
        let shape = one.with_tokens(last, 1);
        summed(gpu, shape, &input, all, &vectors, epilogue).when(When::Rows(first, last))
    };
    FEW_ROWS.map(call).into()
}

/// One product with one row, in a shape that is tried.
pub fn tried(gpu: &Gpu, shape: Shape, x: &Slot, product: &Product) -> Call {
    let shape = Shape { lanes: shape.lanes.min(1 << product.matrix.blocks().max(1).ilog2()), ..shape };
    let shape = Shape { rows: shape.rows.min(shape.lanes), ..shape };
    let (input, all) = (Input { x, norm: None }, std::slice::from_ref(product));
    summed(gpu, shape, &input, all, &Vectors::new(&input, all), Epilogue::Store)
}

fn summed(
    gpu: &Gpu,
    shape: Shape,
    input: &Input,
    all: &[Product],
    vectors: &Vectors,
    epilogue: Epilogue,
) -> Call {
    let blocks = all[0].matrix.blocks();
    let exchanges = shape.exchanges(gpu);
    let groups = |product: &Product| product.part.rows.div_ceil(shape.outputs());
    let (mut functions, mut branches) = (String::new(), String::new());
    for (k, product) in all.iter().enumerate() {
        let bias = product.bias.map(|_| format!(" + vector({}u + row)", vectors.biases[k]));
        let sum = format!("total{k}{}", bias.unwrap_or_default());
        let out = format!("out{k}[token * params.stride{k} + params.first{k} + row]");
        functions += &summing(shape, exchanges, input, &[k], &epilogue.assign(&out, &sum));
        let call = format!("product{k}(token0, index, lane);");
        branches += &if k + 1 == all.len() {
            format!("  {call}\n")
        } else {
            format!(
                "  if (index < params.groups{k}) {{\n    {call}\n    return;\n  }}\n  index -= params.groups{k};\n"
            )
        };
    }
    let body = source(input, shape, exchanges, 1, &functions, &branches);
    let body = unpackers(all.iter().map(|product| product.matrix)) + &epilogue.source() + &body;
    let mut call = Call::new("products", body, all.iter().map(groups).sum()).tiles(shape.tokens as u32);
    call = inputs(call, input, vectors, blocks);
    if exchanges {
        call = call.uses(Extension::Subgroups);
    }
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
pub fn gated(gpu: &Gpu, input: &Input, f: Activation, pair: [&Matrix; 2], out: &Slot) -> Vec<Call> {
    let vectors = Vectors::new(input, &[]);
    of_steps(gpu, Shape::of(gpu, pair[0], pair[0].rows), 2, |shape| {
        both(gpu, shape, input, &vectors, f, pair, out)
    })
}

fn both(
    gpu: &Gpu,
    shape: Shape,
    input: &Input,
    vectors: &Vectors,
    f: Activation,
    [gate, up]: [&Matrix; 2],
    out: &Slot,
) -> Call {
    let rows = gate.parts[0].rows;
    let exchanges = shape.exchanges(gpu);
    let assign = "out0[token * params.stride0 + row] = f(total0) * total1;";
    let functions = summing(shape, exchanges, input, &[0, 1], assign);
    let body = source(input, shape, exchanges, 2, &functions, "  product0(token0, index, lane);\n");
    let body = unpackers([gate, up]) + function(f) + &body;
    let call = Call::new("gated", body, rows.div_ceil(shape.outputs())).tiles(shape.tokens as u32);
    let mut call = inputs(call, input, vectors, gate.blocks());
    if exchanges {
        call = call.uses(Extension::Subgroups);
    }
    for (k, matrix) in [gate, up].into_iter().enumerate() {
        call = bind(call, k, matrix, &matrix.parts[0]).weights(matrix.bytes_of(matrix.rows));
    }
    call.writes("out0", "f32", &out.buffer).param("rows0", rows).param("stride0", out.stride)
}

/// WGSL of a function `product`k that makes the sums `total` of matrices `ks`, of which k is the first, and does
/// `assign` with them for each `row` of its own and each `token`.
fn summing(shape: Shape, exchanges: bool, input: &Input, ks: &[usize], assign: &str) -> String {
    let Shape { lanes, rows, tokens } = shape;
    if lanes == 1 {
        return looped(shape, input, ks, assign);
    }
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
        // Rows that are not there cost nothing: all threads know of them.
        let guarded = t > 0;
        if guarded {
            line(format_args!("    if (token0 + {t}u < now.rows) {{"));
        }
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
        if guarded {
            line(format_args!("    }}"));
        }
    }
    line(format_args!("  }}"));
    if exchanges {
        // All threads of a group have all its sums then; the n-th writes the n-th output.
        for t in (0..tokens).filter(|_| normed) {
            line(format_args!("  let factor{t} = factor(together(squares{t}));"));
        }
        for (t, r) in (0..tokens).flat_map(|t| (0..rows).map(move |r| (t, r))) {
            for k in ks {
                let factor = if normed { format!(" * factor{t}") } else { String::new() };
                line(format_args!("  let all{k}_{r}_{t} = together(sum{k}_{r}_{t}){factor};"));
            }
            line(format_args!(
                "  if (own == {r}u && row0 + {r}u < params.rows{k} && token0 + {t}u < now.rows) {{"
            ));
            line(format_args!("    let row = row0 + {r}u;\n    let token = token0 + {t}u;"));
            for k in ks {
                line(format_args!("    let total{k} = all{k}_{r}_{t};"));
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
                let factor = if normed { format!(" * factor(folded({t}u, first))") } else { String::new() };
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
fn source(
    input: &Input,
    shape: Shape,
    exchanges: bool,
    sums: usize,
    functions: &str,
    branches: &str,
) -> String {
    let folds = shape.lanes > 1 && !exchanges;
    let partials = if folds { THREADS * (sums * shape.rows + 1) * shape.tokens } else { 0 };
    let fold = match folds {
        true => wgsl!("products_fold").replace("$PARTIALS", &partials.to_string()),
        false => together(shape.lanes),
    };
    wgsl!("products")
        .replace("$LANES", &shape.lanes.to_string())
        .replace("$TOKENS", &shape.tokens.to_string())
        .replace("$fold", &fold)
        .replace("$normed", if input.norm.is_some() { wgsl!("normed_block") } else { "" })
        .replace("$functions", functions)
        .replace("$branches", branches)
}

/// WGSL of a sum over `lanes` neighbouring threads, which exchange it.
pub fn together(lanes: usize) -> String {
    let add = |k| format!("  sum += subgroupShuffleXor(sum, {}u);\n", 1 << k);
    let adds: String = (0..lanes.ilog2()).map(add).collect();
    format!("fn together(value: f32) -> f32 {{\n  var sum = value;\n{adds}  return sum;\n}}\n")
}

/// Norm weights and biases, in one buffer: bindings are few.
struct Vectors {
    values: Rc<Constants>,
    /// Where each product's bias begins.
    biases: Vec<usize>,
}

impl Vectors {
    fn new(input: &Input, all: &[Product]) -> Self {
        let mut values = input.norm.map_or(vec![], |(weight, _)| weight.to_vec());
        values.resize(values.len().next_multiple_of(32), 0.0);
        let mut biases = vec![];
        for Product { part, bias, .. } in all {
            biases.push(values.len());
            values.extend(bias.iter().flat_map(|bias| &bias[part.first..part.first + part.rows]));
        }
        values.resize(values.len().next_multiple_of(4).max(4), 0.0);
        Vectors { values: Constants::new(values), biases }
    }
}

fn inputs(mut call: Call, input: &Input, vectors: &Vectors, blocks: usize) -> Call {
    call = call
        .reads("x", "vec4<f32>", &input.x.buffer)
        .reads_all("vectors", "vec4<f32>", &vectors.values)
        .param("blocks", blocks)
        .param("x_stride", input.x.fours());
    if let Some((weight, eps)) = input.norm {
        call = call.number("width", weight.len() as f32).number("eps", eps);
    }
    call
}
