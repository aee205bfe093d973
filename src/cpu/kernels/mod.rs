//! The CPU kernels: one per file, and the table that finds the product for a format.

pub mod attention;
pub mod elementwise;
mod float;
pub mod matmul;
pub mod norm;
mod quantized;
mod queries;
pub mod rotary;
mod unpack;

use super::activations::Row;
use crate::gguf::TensorType;
use crate::quant::Panel;
use crate::quant::{self, Bytes, FiveBits, Format, Nibbles, PANEL, SixBits};
use quantized::{Halves, Pair, Single, Super};

/// Rows of activations that a tile takes at once: each unpacked weight is used four times, and the sums
/// (2 × 4 vectors) still fit the 16 registers of x86.
pub const TILE: usize = 4;

/// A product of the 8 rows of a panel with T rows of int8 activations.
type Int8<const T: usize> = fn(Panel, &[Row; T], &mut [[f32; PANEL]; T]);
/// The same with f32 activations, rows padded with zeros to whole units.
type Float<const T: usize> = fn(Panel, &[&[f32]; T], &mut [[f32; PANEL]; T]);

/// The products of a panel with one row of activations, and with [`TILE`].
pub enum Product {
    Int8 { one: Int8<1>, tile: Int8<TILE> },
    Float { one: Float<1>, tile: Float<TILE> },
}

/// One line of the table of products.
struct Kernel {
    kind: TensorType,
    product: Product,
}

const fn int8<F: Format, K: quantized::Unit>() -> Kernel {
    assert!(K::CODE_BYTES == F::CODE_BYTES && K::SCALE_BYTES == F::SCALE_BYTES);
    Kernel {
        kind: F::KIND,
        product: Product::Int8 { one: quantized::product::<K, 1>, tile: quantized::product::<K, TILE> },
    }
}

const fn float<F: Format + float::Values>() -> Kernel {
    Kernel {
        kind: F::KIND,
        product: Product::Float { one: float::product::<F, 1>, tile: float::product::<F, TILE> },
    }
}

static KERNELS: &[Kernel] = &[
    float::<quant::F32>(),
    float::<quant::F16>(),
    float::<quant::Bf16>(),
    int8::<quant::Q4_0, Single<Nibbles, 8>>(),
    int8::<quant::Q4_1, Pair<Nibbles>>(),
    int8::<quant::Q5_0, Single<FiveBits, 16>>(),
    int8::<quant::Q5_1, Pair<FiveBits>>(),
    int8::<quant::Q8_0, Single<Bytes, 0>>(),
    int8::<quant::Q4K, Super<Nibbles>>(),
    int8::<quant::Q5K, Super<FiveBits>>(),
    int8::<quant::Q6K, Halves<SixBits, 32>>(),
];

/// The product for a packed format.
pub fn product_of(kind: TensorType) -> Option<&'static Product> {
    KERNELS.iter().find(|kernel| kernel.kind == kind).map(|kernel| &kernel.product)
}
