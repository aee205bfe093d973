//! Q5_0 and Q5_1: 32 nibbles as in Q4_0, and a 32-bit word whose bit c is the fifth bit of column c.

use super::lanes::Lanes;
use super::{BLOCK, Codes, FiveBits, Format, by_units, get_f16, put_f16s};
use crate::gguf::TensorType;

/// Within each word, bit 4j + t, of column 4j + t, goes to bit j of byte t. The five digits of a bit's number are
/// rotated by two, which takes four exchanges of two digits: of the bits whose digits differ, those `distance` apart
/// change places.
#[inline(always)]
fn by_groups(bits: Lanes) -> Lanes {
    let exchange = |x: Lanes, distance: u32, lower: u32| {
        x & !(lower | lower << distance) | x >> distance & lower | (x & lower) << distance
    };
    let x = exchange(bits, 14, 0x0000_cccc);
    let x = exchange(x, 7, 0x00aa_00aa);
    let x = exchange(x, 2, 0x0c0c_0c0c);
    exchange(x, 1, 0x2222_2222)
}

/// 22 bytes: f16 d, u32 high bits, 16 bytes of codes. y = d·(q − 16).
pub struct Q5_0;

impl Format for Q5_0 {
    const KIND: TensorType = TensorType::Q5_0;
    const UNIT: usize = BLOCK;
    const FILE_BYTES: usize = 22;
    const CODE_BYTES: usize = FiveBits::BYTES;
    const SCALE_BYTES: usize = 16;

    fn pack(rows: &[u8], codes: &mut [u8], scales: &mut [u8]) -> bool {
        by_units::<{ Self::FILE_BYTES }, { Self::CODE_BYTES }, { Self::SCALE_BYTES }>(
            rows,
            codes,
            scales,
            |unit, codes, scales| {
                let high = |half| by_groups(unit.four(half, 2));
                FiveBits::put(codes, |half, p| unit.four(half, 6 + 4 * p), high);
                put_f16s(unit, 0, scales, 0)
            },
        )
    }

    fn unpack(codes: &[u8], scales: &[u8], row: usize, weights: &mut [f32]) {
        let d = get_f16(scales, row);
        for (column, weight) in weights.iter_mut().enumerate() {
            *weight = d * (f32::from(FiveBits::get(codes, row, column)) - 16.0);
        }
    }
}

/// 24 bytes: f16 d, f16 m, u32 high bits, 16 bytes of codes. y = d·q + m.
pub struct Q5_1;

impl Format for Q5_1 {
    const KIND: TensorType = TensorType::Q5_1;
    const UNIT: usize = BLOCK;
    const FILE_BYTES: usize = 24;
    const CODE_BYTES: usize = FiveBits::BYTES;
    const SCALE_BYTES: usize = 32;

    fn pack(rows: &[u8], codes: &mut [u8], scales: &mut [u8]) -> bool {
        by_units::<{ Self::FILE_BYTES }, { Self::CODE_BYTES }, { Self::SCALE_BYTES }>(
            rows,
            codes,
            scales,
            |unit, codes, scales| {
                let high = |half| by_groups(unit.four(half, 4));
                FiveBits::put(codes, |half, p| unit.four(half, 8 + 4 * p), high);
                put_f16s(unit, 0, scales, 0) & put_f16s(unit, 2, scales, 1)
            },
        )
    }

    fn unpack(codes: &[u8], scales: &[u8], row: usize, weights: &mut [f32]) {
        let (d, m) = (get_f16(scales, row), get_f16(scales, 8 + row));
        for (column, weight) in weights.iter_mut().enumerate() {
            *weight = d * f32::from(FiveBits::get(codes, row, column)) + m;
        }
    }
}
