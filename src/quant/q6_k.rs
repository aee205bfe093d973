//! Q6_K: 210 bytes for 256 columns: 128 bytes of low nibbles, 64 bytes of high bit pairs, 16 signed scales
//! (one per 16 columns), f16 d. y = d·s·(q − 32).
//!
//! Packed, the scales of a unit are d of the 8 rows (f32), then for each of its 8 blocks the 8 rows' scale
//! of the first 16 columns and of the last 16, as bytes.

use super::lanes::Lanes;
use super::{BLOCK, Codes, Format, SixBits, by_units, get_f32, put_f32s, q4_k};
use crate::gguf::TensorType;

/// 6-bit codes in super-blocks.
pub struct Q6K;

impl Format for Q6K {
    const KIND: TensorType = TensorType::Q6_K;
    const UNIT: usize = 256;
    const FILE_BYTES: usize = 210;
    const CODE_BYTES: usize = 8 * SixBits::BYTES;
    const SCALE_BYTES: usize = 32 + 8 * 16;

    fn pack(rows: &[u8], codes: &mut [u8], scales: &mut [u8]) -> bool {
        by_units::<{ Self::FILE_BYTES }, { Self::CODE_BYTES }, { Self::SCALE_BYTES }>(
            rows,
            codes,
            scales,
            |unit, codes, scales| {
                for (g, codes) in codes.as_chunks_mut::<{ SixBits::BYTES }>().0.iter_mut().enumerate() {
                    // Each half of the super-block has its four blocks over the same 64 + 32 bytes.
                    let (part, j) = (g / 4, g % 4);
                    let pairs = |half, p| q4_k::nibbles(unit, half, 64 * part + j % 2 * 32 + 4 * p, j / 2);
                    let high = |half, e| {
                        (0..4).fold(Lanes::ZERO, |bits, group| {
                            let two = unit.four(half, 128 + 32 * part + 16 * e + 4 * group) >> (2 * j as u32);
                            bits | (two & 0x0303_0303) << (2 * group as u32)
                        })
                    };
                    SixBits::put(codes, pairs, high);
                }
                let (numbers, _) = scales[32..].as_chunks_mut::<4>();
                for half in 0..2 {
                    for four in 0..4 {
                        for (t, s) in unit.four(half, 192 + 4 * four).columns().into_iter().enumerate() {
                            numbers[(four * 4 + t) * 2 + half] = s;
                        }
                    }
                }
                put_f32s(unit, 208, 1.0, scales, 0)
            },
        )
    }

    fn unpack(codes: &[u8], scales: &[u8], row: usize, out: &mut [f32]) {
        let d = get_f32(scales, row);
        for (g, (out, codes)) in out.chunks_mut(BLOCK).zip(codes.chunks_exact(SixBits::BYTES)).enumerate() {
            for (column, weight) in out.iter_mut().enumerate() {
                let s = scales[32 + g * 16 + column / 16 * 8 + row] as i8;
                *weight = d * f32::from(s) * (f32::from(SixBits::get(codes, row, column)) - 32.0);
            }
        }
    }
}
