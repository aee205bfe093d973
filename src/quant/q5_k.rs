//! Q5_K: 176 bytes for 256 columns: f16 d, f16 dmin, 12 bytes of 6-bit scales, 32 bytes of fifth bits (bit g
//! of byte l belongs to column l of block g), 128 bytes of nibbles as in Q4_K. y = d·s·q − dmin·m.

use super::{BLOCK, Codes, FiveBits, Format, q4_k};
use crate::gguf::TensorType;

/// 5-bit codes in super-blocks.
pub struct Q5K;

impl Format for Q5K {
    const KIND: TensorType = TensorType::Q5_K;
    const UNIT: usize = 256;
    const FILE_BYTES: usize = 176;
    const CODE_BYTES: usize = 8 * FiveBits::BYTES;
    const SCALE_BYTES: usize = q4_k::SCALE_BYTES;

    fn pack(unit: &[u8], row: usize, codes: &mut [u8], scales: &mut [u8]) -> bool {
        let (high, nibbles) = (&unit[16..48], &unit[48..]);
        for (g, packed) in codes.chunks_exact_mut(FiveBits::BYTES).enumerate() {
            let block: [u8; BLOCK] = std::array::from_fn(|l| {
                let nibble = nibbles[g / 2 * 32 + l] >> (g % 2 * 4) & 15;
                nibble | (high[l] >> g & 1) << 4
            });
            FiveBits::put(packed, row, &block);
        }
        q4_k::put_scales(unit, row, scales)
    }

    fn unpack(codes: &[u8], scales: &[u8], row: usize, out: &mut [f32]) {
        for (g, (out, codes)) in out.chunks_mut(BLOCK).zip(codes.chunks_exact(FiveBits::BYTES)).enumerate() {
            q4_k::weights(scales, row, g, |column| FiveBits::get(codes, row, column), out);
        }
    }
}
