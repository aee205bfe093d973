//! Q8_0: 34 bytes for 32 columns, f16 d and 32 signed bytes. y = d·q.

use super::{BLOCK, Bytes, Codes, Format, get_f16, put_f16};
use crate::gguf::TensorType;

/// y = d·q, q in −128..=127.
pub struct Q8_0;

impl Format for Q8_0 {
    const KIND: TensorType = TensorType::Q8_0;
    const UNIT: usize = BLOCK;
    const FILE_BYTES: usize = 34;
    const CODE_BYTES: usize = Bytes::BYTES;
    const SCALE_BYTES: usize = 16;

    fn pack(unit: &[u8], row: usize, codes: &mut [u8], scales: &mut [u8]) -> bool {
        let (bytes, _) = unit[2..].as_chunks::<BLOCK>();
        Bytes::put(codes, row, &bytes[0]);
        put_f16(unit, scales, row)
    }

    fn unpack(codes: &[u8], scales: &[u8], row: usize, weights: &mut [f32]) {
        let d = get_f16(scales, row);
        for (column, weight) in weights.iter_mut().enumerate() {
            *weight = d * f32::from(Bytes::get(codes, row, column) as i8);
        }
    }
}
