//! Q4_0 and Q4_1: 32 nibbles, column j low and column j + 16 high in byte j.

use super::{BLOCK, Codes, Format, Nibbles, by_units, get_f16, put_f16s};
use crate::gguf::TensorType;

/// 18 bytes: f16 d, 16 bytes of codes. y = d·(q − 8).
pub struct Q4_0;

impl Format for Q4_0 {
    const KIND: TensorType = TensorType::Q4_0;
    const UNIT: usize = BLOCK;
    const FILE_BYTES: usize = 18;
    const CODE_BYTES: usize = Nibbles::BYTES;
    const SCALE_BYTES: usize = 16;

    fn pack(rows: &[u8], codes: &mut [u8], scales: &mut [u8]) -> bool {
        by_units::<{ Self::FILE_BYTES }, { Self::CODE_BYTES }, { Self::SCALE_BYTES }>(
            rows,
            codes,
            scales,
            |unit, codes, scales| {
                Nibbles::put(codes, |half, p| unit.four(half, 2 + 4 * p));
                put_f16s(unit, 0, scales, 0)
            },
        )
    }

    fn unpack(codes: &[u8], scales: &[u8], row: usize, weights: &mut [f32]) {
        let d = get_f16(scales, row);
        for (column, weight) in weights.iter_mut().enumerate() {
            *weight = d * (f32::from(Nibbles::get(codes, row, column)) - 8.0);
        }
    }
}

/// 20 bytes: f16 d, f16 m, 16 bytes of codes. y = d·q + m.
pub struct Q4_1;

impl Format for Q4_1 {
    const KIND: TensorType = TensorType::Q4_1;
    const UNIT: usize = BLOCK;
    const FILE_BYTES: usize = 20;
    const CODE_BYTES: usize = Nibbles::BYTES;
    const SCALE_BYTES: usize = 32;

    fn pack(rows: &[u8], codes: &mut [u8], scales: &mut [u8]) -> bool {
        by_units::<{ Self::FILE_BYTES }, { Self::CODE_BYTES }, { Self::SCALE_BYTES }>(
            rows,
            codes,
            scales,
            |unit, codes, scales| {
                Nibbles::put(codes, |half, p| unit.four(half, 4 + 4 * p));
                put_f16s(unit, 0, scales, 0) & put_f16s(unit, 2, scales, 1)
            },
        )
    }

    fn unpack(codes: &[u8], scales: &[u8], row: usize, weights: &mut [f32]) {
        let (d, m) = (get_f16(scales, row), get_f16(scales, 8 + row));
        for (column, weight) in weights.iter_mut().enumerate() {
            *weight = d * f32::from(Nibbles::get(codes, row, column)) + m;
        }
    }
}
