//! Q5_K: 176 bytes for 256 columns: f16 d, f16 dmin, 12 bytes of 6-bit scales, 32 bytes of fifth bits (bit g
//! of byte l belongs to column l of block g), 128 bytes of nibbles as in Q4_K. y = d·s·q − dmin·m.

use super::lanes::Lanes;
use super::{BLOCK, Codes, FiveBits, Format, by_units, q4_k};
use crate::gguf::TensorType;

/// 5-bit codes in super-blocks.
pub struct Q5K;

impl Format for Q5K {
    const KIND: TensorType = TensorType::Q5_K;
    const UNIT: usize = 256;
    const FILE_BYTES: usize = 176;
    const CODE_BYTES: usize = 8 * FiveBits::BYTES;
    const SCALE_BYTES: usize = q4_k::SCALE_BYTES;

    fn pack(rows: &[u8], codes: &mut [u8], scales: &mut [u8]) -> bool {
        by_units::<{ Self::FILE_BYTES }, { Self::CODE_BYTES }, { Self::SCALE_BYTES }>(
            rows,
            codes,
            scales,
            |unit, codes, scales| {
                for (g, codes) in codes.as_chunks_mut::<{ FiveBits::BYTES }>().0.iter_mut().enumerate() {
                    let pairs = |half, p| q4_k::nibbles(unit, half, 48 + g / 2 * 32 + 4 * p, g % 2);
                    let high = |half| {
                        (0..8).fold(Lanes::ZERO, |bits, j| {
                            bits | (unit.four(half, 16 + 4 * j) >> g as u32 & 0x0101_0101) << j as u32
                        })
                    };
                    FiveBits::put(codes, pairs, high);
                }
                q4_k::put_scales(unit, scales)
            },
        )
    }

    fn unpack(codes: &[u8], scales: &[u8], row: usize, out: &mut [f32]) {
        for (g, (out, codes)) in out.chunks_mut(BLOCK).zip(codes.chunks_exact(FiveBits::BYTES)).enumerate() {
            q4_k::weights(scales, row, g, |column| FiveBits::get(codes, row, column), out);
        }
    }
}
