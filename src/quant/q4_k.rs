//! Q4_K: 144 bytes for 256 columns: f16 d, f16 dmin, 12 bytes of 6-bit scales, 128 bytes of codes.
//! y = d·s·q − dmin·m, with one (s, m) per 32 columns.
//!
//! Packed, the scales of a unit are d and dmin of the 8 rows (f16), then for each of its 8 blocks the 8
//! rows' s and the 8 rows' m as bytes: 148 bytes for what the file has in 144.

use super::{BLOCK, Codes, Format, Nibbles, get_f16, put_f16};
use crate::gguf::TensorType;

/// 4-bit codes in super-blocks.
pub struct Q4K;

/// Bytes of the packed scales of a unit of Q4_K and Q5_K.
pub(super) const SCALE_BYTES: usize = 32 + 8 * 16;

/// Puts d, dmin and the sixteen 6-bit numbers of a super-block. The twelve bytes hold, for g < 4, s and m in
/// the low six bits of bytes g and g + 4; for g ≥ 4, their low nibbles in byte g + 4 and their high two bits
/// atop bytes g − 4 and g.
pub(super) fn put_scales(header: &[u8], row: usize, scales: &mut [u8]) -> bool {
    let finite = put_f16(header, scales, row) & put_f16(&header[2..], scales, 8 + row);
    let six = &header[4..16];
    for g in 0..8 {
        let (s, m) = if g < 4 {
            (six[g] & 63, six[g + 4] & 63)
        } else {
            (six[g + 4] & 15 | six[g - 4] >> 6 << 4, six[g + 4] >> 4 | six[g] >> 6 << 4)
        };
        scales[32 + g * 16 + row] = s;
        scales[32 + g * 16 + 8 + row] = m;
    }
    finite
}

/// d·s and dmin·m of a row in block `g`, and the weights they give.
pub(super) fn weights(scales: &[u8], row: usize, g: usize, code: impl Fn(usize) -> u8, weights: &mut [f32]) {
    let d = get_f16(scales, row) * f32::from(scales[32 + g * 16 + row]);
    let m = get_f16(scales, 8 + row) * f32::from(scales[32 + g * 16 + 8 + row]);
    for (column, weight) in weights.iter_mut().enumerate() {
        *weight = d * f32::from(code(column)) - m;
    }
}

impl Format for Q4K {
    const KIND: TensorType = TensorType::Q4_K;
    const UNIT: usize = 256;
    const FILE_BYTES: usize = 144;
    const CODE_BYTES: usize = 8 * Nibbles::BYTES;
    const SCALE_BYTES: usize = SCALE_BYTES;

    fn pack(unit: &[u8], row: usize, codes: &mut [u8], scales: &mut [u8]) -> bool {
        // 32 bytes hold two blocks: the even one in the low nibbles, the odd one in the high nibbles.
        let (twos, _) = unit[16..].as_chunks::<32>();
        for (two, packed) in twos.iter().zip(codes.chunks_exact_mut(2 * Nibbles::BYTES)) {
            let even: [u8; 16] = std::array::from_fn(|j| two[j] & 15 | two[j + 16] << 4);
            let odd: [u8; 16] = std::array::from_fn(|j| two[j] >> 4 | two[j + 16] & 0xf0);
            Nibbles::put_pairs(&mut packed[..Nibbles::BYTES], row, &even);
            Nibbles::put_pairs(&mut packed[Nibbles::BYTES..], row, &odd);
        }
        put_scales(unit, row, scales)
    }

    fn unpack(codes: &[u8], scales: &[u8], row: usize, out: &mut [f32]) {
        for (g, (out, codes)) in out.chunks_mut(BLOCK).zip(codes.chunks_exact(Nibbles::BYTES)).enumerate() {
            weights(scales, row, g, |column| Nibbles::get(codes, row, column), out);
        }
    }
}
