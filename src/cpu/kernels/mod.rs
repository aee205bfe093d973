//! The CPU kernels: one per file, and the table that finds the product for a format.

pub mod attention;
pub mod convolution;
pub mod delta_rule;
pub mod elementwise;
mod float;
pub mod matmul;
pub mod norm;
mod quantized;
mod queries;
pub mod rotary;
mod source;
mod unpack;
mod unpacked;

pub use unpacked::Unpacked;

pub use super::activations::TILE;

use super::activations::{Block, Tile};
use crate::gguf::TensorType;
use crate::quant::{
    self, Bytes, Codes, FiveBits, Float4, Format, Listed, Nibbles, NonLinear, PANEL, Panel, SixBits,
};
use source::{
    FromEight, FromHundredTwentyEight, FromSixteen, HalvesFromThirtyTwo, Layout, Pair, Rule, Signed, Single,
    Super, SuperHalves,
};

/// The outputs of a panel for one row.
type Outputs = [f32; PANEL];

/// How a panel of some format is multiplied.
pub enum Product {
    /// With int8 activations.
    Int8 {
        /// One row, from the packed panel.
        one: fn(Panel, &[Block], &mut Outputs),
        /// Readies a panel for `tile`.
        unpack: fn(Panel, &mut Unpacked),
        /// Four rows, from the unpacked panel.
        tile: fn(&Unpacked, &[Tile], &mut [Outputs; TILE]),
    },
    /// With f32 activations, rows padded with zeros to whole units.
    Float {
        one: fn(Panel, &[&[f32]; 1], &mut [Outputs; 1]),
        tile: fn(Panel, &[&[f32]; TILE], &mut [Outputs; TILE]),
        /// Readies a panel for many tiles, where that is worth it: as one of F32, which [`WIDE`] multiplies.
        widen: Option<fn(Panel, &mut Vec<f32>)>,
    },
}

/// The product of four rows with a panel that was widened.
pub const WIDE: fn(Panel, &[&[f32]; TILE], &mut [Outputs; TILE]) = float::product::<quant::F32, TILE>;

/// One line of the table of products.
struct Kernel {
    kind: TensorType,
    product: Product,
}

const fn int8<F: Format, L: Layout>() -> Kernel {
    assert!(F::UNIT == L::BLOCKS * quant::BLOCK && F::SCALE_BYTES == L::SCALE_BYTES);
    assert!(F::CODE_BYTES == L::BLOCKS * L::Codes::BYTES);
    Kernel {
        kind: F::KIND,
        product: Product::Int8 { one: one::<L>, unpack: unpack::<L>, tile: tile::<L::Rule> },
    }
}

fn one<L: Layout>(panel: Panel, row: &[Block], out: &mut Outputs) {
    quantized::one::<L>(panel, row, out);
}

fn unpack<L: Layout>(panel: Panel, unpacked: &mut Unpacked) {
    unpacked.fill::<L>(panel);
}

fn tile<R: Rule>(unpacked: &Unpacked, rows: &[Tile], out: &mut [Outputs; TILE]) {
    if R::SIGNED && unpacked.turned() {
        return quantized::tile::<FromHundredTwentyEight>(unpacked, rows, out);
    }
    quantized::tile::<R>(unpacked, rows, out);
}

const fn float<F: Format + float::Values>(widen: Option<fn(Panel, &mut Vec<f32>)>) -> Kernel {
    Kernel {
        kind: F::KIND,
        product: Product::Float { one: float::product::<F, 1>, tile: float::product::<F, TILE>, widen },
    }
}

static KERNELS: &[Kernel] = &[
    float::<quant::F32>(None),
    float::<quant::F16>(Some(float::widen::<quant::F16>)),
    float::<quant::Bf16>(Some(float::widen::<quant::Bf16>)),
    int8::<quant::Q4_0, Single<Nibbles, FromEight>>(),
    int8::<quant::Q4_1, Pair<Nibbles>>(),
    int8::<quant::Q5_0, Single<FiveBits, FromSixteen>>(),
    int8::<quant::Q5_1, Pair<FiveBits>>(),
    int8::<quant::Q8_0, Single<Bytes, Signed>>(),
    int8::<quant::Q4K, Super<Nibbles>>(),
    int8::<quant::Q5K, Super<FiveBits>>(),
    int8::<quant::Q6K, SuperHalves<SixBits, HalvesFromThirtyTwo>>(),
    int8::<quant::Iq4Nl, Single<Listed<NonLinear>, Signed>>(),
    int8::<quant::Iq4Xs, SuperHalves<Listed<NonLinear>, Signed>>(),
    int8::<quant::Mxfp4, Single<Listed<Float4>, Signed>>(),
];

/// The product for a packed format.
pub fn product_of(kind: TensorType) -> Option<&'static Product> {
    KERNELS.iter().find(|kernel| kernel.kind == kind).map(|kernel| &kernel.product)
}
