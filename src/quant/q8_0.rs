//! Q8_0: 34 bytes for 32 columns, f16 d and 32 signed bytes. y = d·q.

use super::{BLOCK, Bytes, Codes, Format, by_units, get_f16, put_f16s};
use crate::gguf::TensorType;

/// y = d·q, q in −128..=127.
pub struct Q8_0;

impl Format for Q8_0 {
    const KIND: TensorType = TensorType::Q8_0;
    const UNIT: usize = BLOCK;
    const FILE_BYTES: usize = 34;
    const CODE_BYTES: usize = Bytes::BYTES;
    const SCALE_BYTES: usize = 16;

    fn pack(rows: &[u8], codes: &mut [u8], scales: &mut [u8]) -> bool {
        by_units::<{ Self::FILE_BYTES }, { Self::CODE_BYTES }, { Self::SCALE_BYTES }>(
            rows,
            codes,
            scales,
            |unit, codes, scales| {
                Bytes::put(codes, |half, group| unit.four(half, 2 + 4 * group));
                put_f16s(unit, 0, scales, 0)
            },
        )
    }

    fn unpack(codes: &[u8], scales: &[u8], row: usize, weights: &mut [f32]) {
        let d = get_f16(scales, row);
        for (column, weight) in weights.iter_mut().enumerate() {
            *weight = d * f32::from(Bytes::get(codes, row, column) as i8);
        }
    }
}
