//! Q5_0 and Q5_1: 32 nibbles as in Q4_0, and a 32-bit word whose bit c is the fifth bit of column c.

use super::{BLOCK, Codes, FiveBits, Format, Nibbles, get_f16, put_f16};
use crate::gguf::TensorType;

fn put(packed: &mut [u8], row: usize, high: &[u8], pairs: &[u8]) {
    Nibbles::put_pairs(packed, row, pairs);
    FiveBits::put_high(packed, row, u32::from_le_bytes([high[0], high[1], high[2], high[3]]));
}

/// 22 bytes: f16 d, u32 high bits, 16 bytes of codes. y = d·(q − 16).
pub struct Q5_0;

impl Format for Q5_0 {
    const KIND: TensorType = TensorType::Q5_0;
    const UNIT: usize = BLOCK;
    const FILE_BYTES: usize = 22;
    const CODE_BYTES: usize = FiveBits::BYTES;
    const SCALE_BYTES: usize = 16;

    fn pack(unit: &[u8], row: usize, codes: &mut [u8], scales: &mut [u8]) -> bool {
        put(codes, row, &unit[2..6], &unit[6..22]);
        put_f16(unit, scales, row)
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

    fn pack(unit: &[u8], row: usize, codes: &mut [u8], scales: &mut [u8]) -> bool {
        put(codes, row, &unit[4..8], &unit[8..24]);
        put_f16(unit, scales, row) & put_f16(&unit[2..], scales, 8 + row)
    }

    fn unpack(codes: &[u8], scales: &[u8], row: usize, weights: &mut [f32]) {
        let (d, m) = (get_f16(scales, row), get_f16(scales, 8 + row));
        for (column, weight) in weights.iter_mut().enumerate() {
            *weight = d * f32::from(FiveBits::get(codes, row, column)) + m;
        }
    }
}
