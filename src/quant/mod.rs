//! Block formats: what a GGUF block holds, and how it is packed for the kernels.
//!
//! A weight matrix is packed in **panels** of [`PANEL`] rows. Within a panel the rows are interleaved, so
//! that one 16-byte vector holds four rows × four columns of codes and one broadcast of four activations
//! serves all of them; scales stand in a stream of their own. One file per format gives its layout in the
//! file and its place in the panel; `codes.rs` has the ways codes are packed, and [`PACKINGS`] is the
//! table of all of it.

mod candle;
mod codes;
mod float;
mod iq4;
mod lanes;
mod matrix;
mod q4;
mod q4_k;
mod q5;
mod q5_k;
mod q6_k;
mod q8_0;

pub use codes::{Bytes, Codes, FiveBits, Listed, Nibbles, SixBits, Table};
pub use float::{Bf16, F16, F32};
pub use iq4::{Float4, Iq4Nl, Iq4Xs, Mxfp4, NonLinear};
pub use matrix::{Matrix, Packer, Panel};
pub use q4::{Q4_0, Q4_1};
pub use q4_k::Q4K;
pub use q5::{Q5_0, Q5_1};
pub use q5_k::Q5K;
pub use q6_k::Q6K;
pub use q8_0::Q8_0;

use crate::gguf::TensorType;
use lanes::{Rows, any_sign16};

/// Rows that are interleaved.
pub const PANEL: usize = 8;
/// Columns that share one activation scale, and the shortest block of a quantized format.
pub const BLOCK: usize = 32;

/// A block format that has kernels.
pub trait Format: 'static {
    const KIND: TensorType;
    /// Columns of one unit.
    const UNIT: usize;
    /// Bytes of one unit of one row, in the file.
    const FILE_BYTES: usize;
    /// Bytes of codes of one unit of a panel.
    const CODE_BYTES: usize;
    /// Bytes of scales of one unit of a panel.
    const SCALE_BYTES: usize;

    /// Packs a panel: `rows` has the bytes of its 8 rows in the file, one after the other; `codes` and `scales` are
    /// the panel's streams. Returns false when a scale or value is not finite: such a model is refused.
    fn pack(rows: &[u8], codes: &mut [u8], scales: &mut [u8]) -> bool;

    /// The weights of one unit of one row, as f32: the exact values that the kernels work with.
    fn unpack(codes: &[u8], scales: &[u8], row: usize, weights: &mut [f32]);
}

/// One line of the table of formats.
pub struct Packing {
    pub kind: TensorType,
    pub unit: usize,
    pub file_bytes: usize,
    pub code_bytes: usize,
    pub scale_bytes: usize,
    pub pack: fn(&[u8], &mut [u8], &mut [u8]) -> bool,
    pub unpack: fn(&[u8], &[u8], usize, &mut [f32]),
}

const fn packing<F: Format>() -> Packing {
    Packing {
        kind: F::KIND,
        unit: F::UNIT,
        file_bytes: F::FILE_BYTES,
        code_bytes: F::CODE_BYTES,
        scale_bytes: F::SCALE_BYTES,
        pack: F::pack,
        unpack: F::unpack,
    }
}

/// Every format that has kernels. Adding one is a file and a line here, and a line in the kernels' table.
pub static PACKINGS: &[Packing] = &[
    packing::<F32>(),
    packing::<F16>(),
    packing::<Bf16>(),
    packing::<Q4_0>(),
    packing::<Q4_1>(),
    packing::<Q5_0>(),
    packing::<Q5_1>(),
    packing::<Q8_0>(),
    packing::<Q4K>(),
    packing::<Q5K>(),
    packing::<Q6K>(),
    packing::<Iq4Nl>(),
    packing::<Iq4Xs>(),
    packing::<Mxfp4>(),
];

/// The packing of a type, if it has kernels.
pub fn packing_of(kind: TensorType) -> Option<&'static Packing> {
    PACKINGS.iter().find(|packing| packing.kind == kind)
}

/// Packs a panel unit by unit. `FILE`, `CODES` and `SCALES` are the bytes of a unit, as constants: so the slices of
/// a unit have a known length, and loops over it neither check nor count.
#[inline(always)]
fn by_units<const FILE: usize, const CODES: usize, const SCALES: usize>(
    rows: &[u8],
    codes: &mut [u8],
    scales: &mut [u8],
    pack: impl Fn(Rows<'_>, &mut [u8; CODES], &mut [u8; SCALES]) -> bool,
) -> bool {
    let rows = Rows::new(rows);
    let units = codes.as_chunks_mut().0.iter_mut().zip(scales.as_chunks_mut().0);
    let mut finite = true;
    for (unit, (codes, scales)) in units.enumerate() {
        finite &= pack(rows.from(unit * FILE), codes, scales);
    }
    finite
}

/// Puts the f16 at byte `at` of each row's unit among `scales`, as vector `index`. Says whether all are finite: the
/// exponent of those that are not is all ones, and adding one to it carries into the sign.
#[inline(always)]
fn put_f16s(unit: Rows<'_>, at: usize, scales: &mut [u8], index: usize) -> bool {
    let values = unit.eight(at);
    values.put(scales, index);
    !any_sign16(values, 0x0400)
}

/// Puts the f16 at byte `at` of each row, times `sign`, as the `index`th run of f32 values. Super-blocks' scales are
/// often subnormal f16 numbers, which kernels could not widen quickly. Returns false if one is not finite.
fn put_f32s(unit: Rows<'_>, at: usize, sign: f32, scales: &mut [u8], index: usize) -> bool {
    let halves = unit.eight(at).to_bytes();
    let mut finite = true;
    for (half, bytes) in halves.as_chunks::<2>().0.iter().zip(scales[index * 32..].as_chunks_mut::<4>().0) {
        let value = half::f16::from_le_bytes(*half).to_f32() * sign;
        finite &= value.is_finite();
        *bytes = value.to_le_bytes();
    }
    finite
}

/// Reads the f32 at `index` of a run of f32 values.
fn get_f32(from: &[u8], index: usize) -> f32 {
    let (values, _) = from.as_chunks::<4>();
    f32::from_le_bytes(values[index])
}

/// Reads the f16 at `index` of a run of f16 values.
fn get_f16(from: &[u8], index: usize) -> f32 {
    half::f16::from_le_bytes([from[index * 2], from[index * 2 + 1]]).to_f32()
}
