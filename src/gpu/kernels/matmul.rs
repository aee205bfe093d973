//! out = epilogue(W·x) for many rows of x: a workgroup per 64 outputs × 32 rows, 32 columns at a time. The weights'
//! blocks are unpacked into workgroup memory once for all 32 rows; each thread then sums up 4 outputs × 8 rows in
//! registers, 32 products of vectors for 12 loads.
//!
//! The tile has three forms. The narrow ones hold both sides in parts of their block's largest value, so that 16-bit
//! floats neither overflow nor get lost, and bytes use their whole range; 16 products are summed up narrow, and these
//! sums in 32 bits.

use super::products::{few, many};
use super::{Epilogue, Product, Slot, bind, unpackers};
use crate::cpu::Activations;
use crate::gpu::call::{Call, Constants, When};
use crate::gpu::device::Gpu;
use crate::gpu::features::{Extension, Features};
use crate::gpu::formats::Format;
use serde::{Deserialize, Serialize};

/// Outputs of a workgroup.
const OUTPUTS: usize = 64;
/// Rows of a workgroup.
const ROWS: u32 = 32;

/// A form of the tile, by what it multiplies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tile {
    /// 32-bit floats.
    Plain,
    /// 16-bit floats. Twice the rate where there are any, at an error that decides between near-ties only.
    Half,
    /// Bytes. Taken only if a trial finds it much faster: its error is that of the CPU's products.
    Packed,
}

/// What is put into the text that the narrow forms share.
struct Narrow {
    extension: Option<Extension>,
    /// Type of four columns, and of the sums of four rows.
    four: &'static str,
    sums: &'static str,
    /// Four columns `values`, none of which is larger than 1.
    encode: &'static str,
    dot: &'static str,
    /// What sums are larger by than those of the columns.
    range: &'static str,
}

const HALF: Narrow = Narrow {
    extension: Some(Extension::F16),
    four: "vec4<f16>",
    sums: "vec4<f16>",
    encode: "vec4<f16>(values)",
    dot: "dot",
    range: "1.0",
};

const PACKED: Narrow = Narrow {
    extension: None,
    four: "u32",
    sums: "vec4<i32>",
    encode: "pack4x8snorm(values)",
    dot: "dot4I8Packed",
    range: "16129.0",
};

impl Tile {
    pub const ALL: [Tile; 3] = [Tile::Plain, Tile::Half, Tile::Packed];

    /// Whether a device with these features can run it.
    pub fn can_run(self, features: Features) -> bool {
        match self {
            Tile::Plain => true,
            Tile::Half => features.f16,
            Tile::Packed => features.packed_dot,
        }
    }

    /// The form that was found the fastest, else the one that costs no accuracy that anybody would see. Weights that were
    /// not rounded to a few bits are not rounded here either.
    fn of(gpu: &Gpu, format: &Format, activations: Activations) -> Self {
        if format.is_float() || activations == Activations::Full {
            return Tile::Plain;
        }
        let default = if gpu.features().f16 { Tile::Half } else { Tile::Plain };
        gpu.tuning().tile.filter(|tile| tile.can_run(gpu.features())).unwrap_or(default)
    }

    fn source(self) -> String {
        let narrow = match self {
            Tile::Plain => return wgsl!("matmul").to_owned(),
            Tile::Half => HALF,
            Tile::Packed => PACKED,
        };
        wgsl!("matmul_narrow")
            .replace("$four", narrow.four)
            .replace("$sums", narrow.sums)
            .replace("$encode", narrow.encode)
            .replace("$dot", narrow.dot)
            .replace("$range", narrow.range)
    }

    fn extension(self) -> Option<Extension> {
        match self {
            Tile::Plain => None,
            Tile::Half => HALF.extension,
            Tile::Packed => PACKED.extension,
        }
    }
}

/// The product of all rows with a matrix, or a part of one: few rows have calls of their own.
pub fn matmul(
    gpu: &Gpu,
    x: &Slot,
    product: &Product,
    epilogue: Epilogue,
    activations: Activations,
) -> Vec<Call> {
    if gpu.is_software() {
        // There workgroup memory is no faster than other memory, and barriers cost more than both.
        return vec![many(gpu, x, product, epilogue)];
    }
    let mut calls = few(gpu, x, product, epilogue);
    calls.push(
        tiled(Tile::of(gpu, product.matrix.format, activations), x, product, epilogue).when(When::Many),
    );
    calls
}

/// The product in tiles of a form.
pub fn tiled(tile: Tile, x: &Slot, product: &Product, epilogue: Epilogue) -> Call {
    let Product { matrix, part, bias, out } = product;
    let values = bias.map_or(vec![], |bias| bias[part.first..part.first + part.rows].to_vec());
    let vectors = Constants::new(values);
    let sum = if bias.is_some() { "sum + vectors[row]" } else { "sum" };
    let assign = epilogue.assign("out[token * params.stride + params.first + row]", sum);
    let put = wgsl!("matmul_put").replace("$assign", &assign);
    let body = unpackers([*matrix]) + &epilogue.source() + &put + &tile.source();
    let mut call = Call::new("matmul", body, part.rows.div_ceil(OUTPUTS))
        .tiles(ROWS)
        .reads("x", "vec4<f32>", &x.buffer)
        .weights(matrix.bytes_of(part.rows));
    if let Some(extension) = tile.extension() {
        call = call.uses(extension);
    }
    let call = if bias.is_some() { call.reads_all("vectors", "f32", &vectors) } else { call };
    bind(call, 0, matrix, part)
        .writes("out", "f32", &out.buffer)
        .param("rows", part.rows)
        .param("blocks", matrix.blocks())
        .param("x_stride", x.fours())
        .param("stride", out.stride)
        .param("first", part.first)
}
