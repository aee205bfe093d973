//! Q6_K: 210 bytes for 256 columns: 128 bytes of low nibbles, 64 bytes of high bit pairs, 16 signed scales
//! (one per 16 columns), f16 d. y = d·s·(q − 32).
//!
//! Packed, the scales of a unit are d of the 8 rows (f16), then for each of its 8 blocks the 8 rows' scale
//! of the first 16 columns and of the last 16, as bytes.

use super::{BLOCK, Codes, Format, SixBits, get_f16, put_f16};
use crate::gguf::TensorType;

/// 6-bit codes in super-blocks.
pub struct Q6K;

impl Format for Q6K {
    const KIND: TensorType = TensorType::Q6_K;
    const UNIT: usize = 256;
    const FILE_BYTES: usize = 210;
    const CODE_BYTES: usize = 8 * SixBits::BYTES;
    const SCALE_BYTES: usize = 16 + 8 * 16;

    fn pack(unit: &[u8], row: usize, codes: &mut [u8], scales: &mut [u8]) -> bool {
        let (low, high, s, d) = (&unit[..128], &unit[128..192], &unit[192..208], &unit[208..210]);
        for (g, packed) in codes.chunks_exact_mut(SixBits::BYTES).enumerate() {
            // Each half of the super-block has its four blocks over the same 64 + 32 bytes.
            let (half, j) = (g / 4, g % 4);
            let block: [u8; BLOCK] = std::array::from_fn(|l| {
                let nibble = low[64 * half + 32 * (j & 1) + l] >> (j / 2 * 4) & 15;
                nibble | (high[32 * half + l] >> (2 * j) & 3) << 4
            });
            SixBits::put(packed, row, &block);
            scales[16 + g * 16 + row] = s[g * 2];
            scales[16 + g * 16 + 8 + row] = s[g * 2 + 1];
        }
        put_f16(d, scales, row)
    }

    fn unpack(codes: &[u8], scales: &[u8], row: usize, out: &mut [f32]) {
        let d = get_f16(scales, row);
        for (g, (out, codes)) in out.chunks_mut(BLOCK).zip(codes.chunks_exact(SixBits::BYTES)).enumerate() {
            for (column, weight) in out.iter_mut().enumerate() {
                let s = scales[16 + g * 16 + column / 16 * 8 + row] as i8;
                *weight = d * f32::from(s) * (f32::from(SixBits::get(codes, row, column)) - 32.0);
            }
        }
    }
}
