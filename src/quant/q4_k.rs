//! Q4_K: 144 bytes for 256 columns: f16 d, f16 dmin, 12 bytes of 6-bit scales, 128 bytes of codes.
//! y = d·s·q − dmin·m, with one (s, m) per 32 columns.
//!
//! Packed, the scales of a unit are d and −dmin of the 8 rows (f32), then for each of its 8 blocks the 8
//! rows' s and the 8 rows' m as bytes: 152 bytes for what the file has in 144.

use super::lanes::{Lanes, Rows};
use super::{BLOCK, Codes, Format, Nibbles, by_units, get_f32, put_f32s};
use crate::gguf::TensorType;

/// 4-bit codes in super-blocks.
pub struct Q4K;

/// Bytes of the packed scales of a unit of Q4_K and Q5_K.
pub(super) const SCALE_BYTES: usize = 64 + 8 * 16;

/// The nibbles of a block that stand in 32 bytes, the low (`high` = 0) or the high ones, as `Nibbles` has them: those of
/// the bytes from `at` on low, those of the bytes 16 further high.
#[inline(always)]
pub(super) fn nibbles(unit: Rows<'_>, half: usize, at: usize, high: usize) -> Lanes {
    let (low, up) = (unit.four(half, at), unit.four(half, at + 16));
    match high {
        0 => low & 0x0f0f_0f0f | (up & 0x0f0f_0f0f) << 4,
        _ => low >> 4 & 0x0f0f_0f0f | up & 0xf0f0_f0f0,
    }
}

/// Puts d, dmin and the sixteen 6-bit numbers of a super-block. The twelve bytes hold, for g < 4, s and m in
/// the low six bits of bytes g and g + 4; for g ≥ 4, their low nibbles in byte g + 4 and their high two bits
/// atop bytes g − 4 and g.
#[inline(always)]
pub(super) fn put_scales(unit: Rows<'_>, scales: &mut [u8; SCALE_BYTES]) -> bool {
    let finite = put_f32s(unit, 0, 1.0, scales, 0) & put_f32s(unit, 2, -1.0, scales, 1);
    // For each block the two halves' s, then their m: four bytes each.
    let (numbers, _) = scales[64..].as_chunks_mut::<4>();
    for half in 0..2 {
        let [a, b, c] = [4, 8, 12].map(|at| unit.four(half, at));
        let s = [a & 0x3f3f_3f3f, c & 0x0f0f_0f0f | a >> 2 & 0x3030_3030];
        let m = [b & 0x3f3f_3f3f, c >> 4 & 0x0f0f_0f0f | b >> 2 & 0x3030_3030];
        for (part, (s, m)) in s.into_iter().zip(m).enumerate() {
            for (g, (s, m)) in s.columns().into_iter().zip(m.columns()).enumerate() {
                let block = (part * 4 + g) * 4;
                numbers[block + half] = s;
                numbers[block + 2 + half] = m;
            }
        }
    }
    finite
}

/// d·s and −dmin·m of a row in block `g`, and the weights they give.
pub(super) fn weights(scales: &[u8], row: usize, g: usize, code: impl Fn(usize) -> u8, weights: &mut [f32]) {
    let d = get_f32(scales, row) * f32::from(scales[64 + g * 16 + row]);
    let m = get_f32(scales, 8 + row) * f32::from(scales[64 + g * 16 + 8 + row]);
    for (column, weight) in weights.iter_mut().enumerate() {
        *weight = d * f32::from(code(column)) + m;
    }
}

impl Format for Q4K {
    const KIND: TensorType = TensorType::Q4_K;
    const UNIT: usize = 256;
    const FILE_BYTES: usize = 144;
    const CODE_BYTES: usize = 8 * Nibbles::BYTES;
    const SCALE_BYTES: usize = SCALE_BYTES;

    fn pack(rows: &[u8], codes: &mut [u8], scales: &mut [u8]) -> bool {
        by_units::<{ Self::FILE_BYTES }, { Self::CODE_BYTES }, { Self::SCALE_BYTES }>(
            rows,
            codes,
            scales,
            |unit, codes, scales| {
                // 32 bytes hold two blocks: the even one in the low nibbles, the odd one in the high nibbles.
                for (g, codes) in codes.as_chunks_mut::<{ Nibbles::BYTES }>().0.iter_mut().enumerate() {
                    Nibbles::put(codes, |half, p| nibbles(unit, half, 16 + g / 2 * 32 + 4 * p, g % 2));
                }
                put_scales(unit, scales)
            },
        )
    }

    fn unpack(codes: &[u8], scales: &[u8], row: usize, out: &mut [f32]) {
        for (g, (out, codes)) in out.chunks_mut(BLOCK).zip(codes.chunks_exact(Nibbles::BYTES)).enumerate() {
            weights(scales, row, g, |column| Nibbles::get(codes, row, column), out);
        }
    }
}
