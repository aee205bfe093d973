//! IQ4_NL, IQ4_XS and MXFP4: 32 nibbles, column j low and column j + 16 high in byte j, that stand for the numbers of a
//! table, with a scale.

use super::codes::{Listed, Table};
use super::{BLOCK, Codes, Format, Nibbles, Q4_0, by_units, get_f16, get_f32, put_f32s};
use crate::gguf::TensorType;

/// Numbers that lie as weights mostly do: closer together around 0.
pub struct NonLinear;

impl Table for NonLinear {
    const NUMBERS: [i8; 16] = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113];
}

/// Four-bit floating-point numbers, doubled: a sign, two bits of exponent, one of fraction.
pub struct Float4;

impl Table for Float4 {
    const NUMBERS: [i8; 16] = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12];
}

/// 18 bytes: f16 d, 16 bytes of codes, as Q4_0 has them. y = d·T\[q\].
pub struct Iq4Nl;

impl Format for Iq4Nl {
    const KIND: TensorType = TensorType::IQ4_NL;
    const UNIT: usize = Q4_0::UNIT;
    const FILE_BYTES: usize = Q4_0::FILE_BYTES;
    const CODE_BYTES: usize = Q4_0::CODE_BYTES;
    const SCALE_BYTES: usize = Q4_0::SCALE_BYTES;

    fn pack(rows: &[u8], codes: &mut [u8], scales: &mut [u8]) -> bool {
        Q4_0::pack(rows, codes, scales)
    }

    fn unpack(codes: &[u8], scales: &[u8], row: usize, weights: &mut [f32]) {
        unpack::<NonLinear>(codes, get_f16(scales, row), row, weights);
    }
}

/// 17 bytes: e, 16 bytes of codes. y = 2^(e − 128)·M\[q\].
///
/// Packed, the scale is an f16: it ends at 2¹⁵, beyond which no weight is, and at 2⁻²⁴, below which none matters.
pub struct Mxfp4;

impl Format for Mxfp4 {
    const KIND: TensorType = TensorType::MXFP4;
    const UNIT: usize = BLOCK;
    const FILE_BYTES: usize = 17;
    const CODE_BYTES: usize = Nibbles::BYTES;
    const SCALE_BYTES: usize = 16;

    fn pack(rows: &[u8], codes: &mut [u8], scales: &mut [u8]) -> bool {
        by_units::<{ Self::FILE_BYTES }, { Self::CODE_BYTES }, { Self::SCALE_BYTES }>(
            rows,
            codes,
            scales,
            |unit, codes, scales| {
                Nibbles::put(codes, |half, p| unit.four(half, 1 + 4 * p));
                let exponents = unit.eight(0).to_bytes();
                let mut finite = true;
                for (exponent, scale) in exponents.iter().step_by(2).zip(scales.as_chunks_mut::<2>().0) {
                    let d = half::f16::from_f32((f32::from(*exponent) - 128.0).exp2());
                    finite &= *exponent < 128 + 16;
                    *scale = d.to_le_bytes();
                }
                finite
            },
        )
    }

    fn unpack(codes: &[u8], scales: &[u8], row: usize, weights: &mut [f32]) {
        unpack::<Float4>(codes, get_f16(scales, row), row, weights);
    }
}

/// 136 bytes for 256 columns: f16 d, two high bits of the scales of 8 blocks, 4 bytes of their low four, 128 bytes of
/// codes. y = d·(s − 32)·T\[q\].
///
/// Packed, the scales of a unit are laid out as Q6_K's, with s − 32 for both halves of a block.
pub struct Iq4Xs;

impl Format for Iq4Xs {
    const KIND: TensorType = TensorType::IQ4_XS;
    const UNIT: usize = 256;
    const FILE_BYTES: usize = 136;
    const CODE_BYTES: usize = 8 * Nibbles::BYTES;
    const SCALE_BYTES: usize = 32 + 8 * 16;

    fn pack(rows: &[u8], codes: &mut [u8], scales: &mut [u8]) -> bool {
        by_units::<{ Self::FILE_BYTES }, { Self::CODE_BYTES }, { Self::SCALE_BYTES }>(
            rows,
            codes,
            scales,
            |unit, codes, scales| {
                for (g, codes) in codes.as_chunks_mut::<{ Nibbles::BYTES }>().0.iter_mut().enumerate() {
                    Nibbles::put(codes, |half, p| unit.four(half, 8 + 16 * g + 4 * p));
                }
                for half in 0..2 {
                    let (high, low) = (unit.four(half, 2).columns(), unit.four(half, 4).columns());
                    for (g, block) in scales[32..].as_chunks_mut::<16>().0.iter_mut().enumerate() {
                        for r in 0..4 {
                            let high = high[g / 4][r] >> (g % 4 * 2) & 3;
                            let low = low[g / 2][r] >> (g % 2 * 4) & 15;
                            let s = (low | high << 4).wrapping_sub(32);
                            (block[half * 4 + r], block[8 + half * 4 + r]) = (s, s);
                        }
                    }
                }
                put_f32s(unit, 0, 1.0, scales, 0)
            },
        )
    }

    fn unpack(codes: &[u8], scales: &[u8], row: usize, weights: &mut [f32]) {
        let d = get_f32(scales, row);
        let blocks = weights.chunks_mut(BLOCK).zip(codes.chunks_exact(Nibbles::BYTES));
        for (g, (weights, codes)) in blocks.enumerate() {
            let s = scales[32 + g * 16 + row] as i8;
            unpack::<NonLinear>(codes, d * f32::from(s), row, weights);
        }
    }
}

fn unpack<T: Table>(codes: &[u8], d: f32, row: usize, weights: &mut [f32]) {
    for (column, weight) in weights.iter_mut().enumerate() {
        *weight = d * f32::from(Listed::<T>::get(codes, row, column) as i8);
    }
}
