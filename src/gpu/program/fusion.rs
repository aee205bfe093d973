//! Which ops become one dispatch: a table of patterns, the first that fits is taken.
//!
//! A pattern looks at the ops from some place on. It may leave out what it need not write, if nobody reads it later.

use super::Compiler;
use super::uses::is_dead;
use crate::error::Result;
use crate::gpu::call::Call;
use crate::gpu::kernels::{self, Epilogue, Fused, Input, Product};
use crate::gpu::weights::Matrix;
use crate::plan::{Norm, Op, RopeId, SlotId, WeightId};

/// Matrices of a dispatch: with x, vectors and their outputs they are the 8 bindings that every device has.
const MOST_PRODUCTS: usize = 3;

/// Ops that are fused, and their calls: one, or one for each kind of step.
type Found = Option<(usize, Vec<Call>)>;

struct Pattern {
    /// Whether it is only for steps with one row of each sequence.
    one: bool,
    find: fn(&Compiler, usize) -> Result<Found>,
}

static PATTERNS: &[Pattern] = &[
    Pattern { one: true, find: gated },
    Pattern { one: true, find: attention },
    Pattern { one: false, find: product_and_more },
    Pattern { one: true, find: products },
    Pattern { one: false, find: norm_and_add },
];

/// The fusion that begins with op `at`.
pub fn find(compiler: &Compiler, at: usize) -> Result<Found> {
    for pattern in PATTERNS.iter().filter(|pattern| compiler.one || !pattern.one) {
        if let Some(found) = (pattern.find)(compiler, at)? {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// What products from op `at` on multiply.
struct Source<'a> {
    input: Input<'a>,
    /// The slot that the plan has them read.
    slot: SlotId,
    /// The slot that is read.
    read: SlotId,
    /// The first product.
    at: usize,
}

/// An RMS norm of whole rows whose result is read by products, or a product.
fn source<'a>(compiler: &'a Compiler, at: usize) -> Result<Option<Source<'a>>> {
    Ok(match compiler.plan.ops.get(at) {
        Some(&Op::Norm { norm: Norm::Rms { weight }, eps, width, x, out })
            if x != out && width == compiler.plan.slot(x) && width == compiler.plan.slot(out) =>
        {
            let input = Input { x: compiler.slot(x), norm: Some((compiler.weights.vector(weight)?, eps)) };
            Some(Source { input, slot: out, read: x, at: at + 1 })
        }
        Some(&Op::MatMul { x, .. }) => {
            Some(Source { input: Input { x: compiler.slot(x), norm: None }, slot: x, read: x, at })
        }
        _ => None,
    })
}

impl Source<'_> {
    /// Whether the norm may be left out where its products end.
    fn may_go(&self, compiler: &Compiler, end: usize) -> bool {
        self.slot == self.read || is_dead(compiler.plan, self.slot, end)
    }
}

/// A product of `slot`: its matrix if that is in one part, its bias, and where it goes.
fn product_of<'a>(
    compiler: &'a Compiler,
    at: usize,
    slot: SlotId,
) -> Result<Option<(&'a Matrix, Option<WeightId>, SlotId)>> {
    let Some(&Op::MatMul { weight, bias, x, out }) = compiler.plan.ops.get(at) else { return Ok(None) };
    let matrix = compiler.weights.matrix(weight)?;
    Ok((x == slot && matrix.parts.len() == 1).then_some((matrix, bias, out)))
}

/// [norm] gate·x, up·x, f(gate)·up
fn gated(compiler: &Compiler, at: usize) -> Result<Found> {
    let Some(source) = source(compiler, at)? else { return Ok(None) };
    let end = source.at + 3;
    if let Some((gate, None, a)) = product_of(compiler, source.at, source.slot)?
        && let Some((up, None, b)) = product_of(compiler, source.at + 1, source.slot)?
        && let Some(&Op::Gate { f, x, y }) = compiler.plan.ops.get(source.at + 2)
        && (x, y) == (a, b)
        && a != b
        && source.read != a
        && is_dead(compiler.plan, b, end)
        && source.may_go(compiler, end)
    {
        let calls = kernels::gated(compiler.gpu, &source.input, f, [gate, up], compiler.slot(a));
        return Ok(Some((end - at, calls)));
    }
    Ok(None)
}

/// [norm] up to three products of the same x
fn products(compiler: &Compiler, at: usize) -> Result<Found> {
    let Some(source) = source(compiler, at)? else { return Ok(None) };
    let mut all: Vec<Product> = Vec::new();
    let mut outs = vec![source.slot, source.read];
    while all.len() < MOST_PRODUCTS
        && let Some((matrix, bias, out)) = product_of(compiler, source.at + all.len(), source.slot)?
        && !outs.contains(&out)
    {
        let bias = bias.map(|bias| compiler.weights.vector(bias)).transpose()?;
        all.push(Product { matrix, part: &matrix.parts[0], bias, out: compiler.slot(out) });
        outs.push(out);
    }
    let end = source.at + all.len();
    if all.is_empty() || !source.may_go(compiler, end) {
        return Ok(None);
    }
    Ok(Some((end - at, kernels::products(compiler.gpu, &source.input, &all, Epilogue::Store))))
}

/// A product that is added to something, or activated
fn product_and_more(compiler: &Compiler, at: usize) -> Result<Found> {
    let ops = &compiler.plan.ops;
    let Some(op @ &Op::MatMul { x, out, .. }) = ops.get(at) else { return Ok(None) };
    let (to, epilogue) = match ops.get(at + 1) {
        Some(&Op::Add { x: to, y }) if y == out && to != x && is_dead(compiler.plan, y, at + 2) => {
            (to, Epilogue::Add)
        }
        Some(&Op::Activate { f, x: activated }) if activated == out => (out, Epilogue::Activate(f)),
        _ => return Ok(None),
    };
    Ok(Some((2, compiler.product(op, compiler.slot(x), compiler.slot(to), epilogue)?)))
}

/// A norm whose result is added to something
fn norm_and_add(compiler: &Compiler, at: usize) -> Result<Found> {
    let ops = &compiler.plan.ops;
    if let Some(&Op::Norm { norm: Norm::Rms { weight }, eps, x, out, .. }) = ops.get(at)
        && let Some(&Op::Add { x: to, y }) = ops.get(at + 1)
        && y == out
        && to != x
        && to != out
        && is_dead(compiler.plan, out, at + 2)
    {
        let weight = compiler.weights.vector(weight)?;
        let call = kernels::norm(weight, None, eps, compiler.slot(x), compiler.slot(to), true);
        return Ok(Some((2, vec![call])));
    }
    Ok(None)
}

/// [norm q, norm k] [rotate q, rotate k] store, attend
fn attention(compiler: &Compiler, at: usize) -> Result<Found> {
    let ops = &compiler.plan.ops;
    // From what stands before backwards: the store names the keys.
    let Some(stored) = (at..ops.len().min(at + 5)).find(|at| matches!(ops[*at], Op::Store { .. })) else {
        return Ok(None);
    };
    let (&Op::Store { cache, k, v }, Some(attend @ &Op::Attend { cache: read, q, .. })) =
        (&ops[stored], ops.get(stored + 1))
    else {
        return Ok(None);
    };
    let dim = compiler.layers[cache].dim;
    let mut before = at;
    let norm = |at: usize, slot| match ops[at] {
        Op::Norm { norm: Norm::Rms { weight }, eps, width, x, out }
            if (x, out, width) == (slot, slot, dim) =>
        {
            Some((weight, eps))
        }
        _ => None,
    };
    let norms = norm(before, q).zip(norm(before + 1, k));
    before += if norms.is_some() { 2 } else { 0 };
    let rotate = |at: usize, slot| match ops[at] {
        Op::Rotate { rope, dim: length, x } if (x, length) == (slot, dim) => Some(rope),
        _ => None,
    };
    let rotations = rotate(before, q).zip(rotate(before + 1, k));
    before += if rotations.is_some() { 2 } else { 0 };
    let end = stored + 2;
    let same = |(a, b): (RopeId, RopeId)| a == b;
    if before != stored
        || cache != read
        || !compiler.plan.causal
        || !rotations.is_none_or(same)
        || !norms.is_none_or(|((_, a), (_, b))| a == b)
        || ![q, k].into_iter().all(|slot| is_dead(compiler.plan, slot, end))
    {
        return Ok(None);
    }
    let norms = match norms {
        Some(((a, eps), (b, _))) => Some(([compiler.weights.vector(a)?, compiler.weights.vector(b)?], eps)),
        None => None,
    };
    let rotation = rotations.map(|(rope, _)| {
        let rotation = &compiler.buffers.ropes[rope.0];
        (compiler.plan.ropes[rope.0].pairs, rotation.rope.frequencies.len(), &rotation.angles)
    });
    let fused = Fused { k: compiler.slot(k), v: compiler.slot(v), norms, rotation };
    let calls =
        kernels::attend_fused(compiler.gpu, &compiler.attention(attend)?, &fused, &compiler.buffers.shares);
    Ok(Some((end - at, calls)))
}
