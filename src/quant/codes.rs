//! The four ways in which codes are packed: 8 rows × 32 columns at a time.
//!
//! Columns are taken in groups of four, rows in halves of four. Byte `r·4 + t` of a 16-byte vector belongs
//! to row `r` of its half and to column `t` of its group: the operand of a four-way integer dot product.

use super::{BLOCK, PANEL};

/// A packing of 8 × 32 small integers.
pub trait Codes {
    /// Bytes of 8 rows × 32 columns.
    const BYTES: usize;

    /// Puts the codes of row `row` (0..8), given in the order of the columns.
    fn put(packed: &mut [u8], row: usize, codes: &[u8; BLOCK]);

    /// The code of one row and column.
    fn get(packed: &[u8], row: usize, column: usize) -> u8;
}

/// Where a row and a column within a 4 × 4 tile stand in its vector, after the vector of the row's half.
fn lane(row: usize, column: usize) -> usize {
    row % 4 * 4 + column % 4
}

/// 0..=15. Vector `p·2 + half` has the columns 4p.. in its low nibbles and 16 + 4p.. in its high ones: byte
/// for byte as the 32-column formats of GGUF have them.
pub struct Nibbles;

impl Nibbles {
    /// Puts 16 bytes that already hold column j low and column j + 16 high.
    pub(super) fn put_pairs(packed: &mut [u8], row: usize, pairs: &[u8]) {
        for (p, four) in pairs.chunks_exact(4).enumerate() {
            let at = (p * 2 + row / 4) * 16 + row % 4 * 4;
            packed[at..at + 4].copy_from_slice(four);
        }
    }
}

impl Codes for Nibbles {
    const BYTES: usize = PANEL * BLOCK / 2;

    fn put(packed: &mut [u8], row: usize, codes: &[u8; BLOCK]) {
        let pairs: [u8; 16] = std::array::from_fn(|j| codes[j] & 15 | codes[j + 16] << 4);
        Self::put_pairs(packed, row, &pairs);
    }

    fn get(packed: &[u8], row: usize, column: usize) -> u8 {
        let byte = packed[(column % 16 / 4 * 2 + row / 4) * 16 + lane(row, column)];
        byte >> (column / 16 * 4) & 15
    }
}

/// 0..=31: nibbles, then for each half one vector whose bit j is the fifth bit of column group j.
pub struct FiveBits;

impl FiveBits {
    /// Puts the fifth bits of a row, bit `c` for column `c`.
    pub(super) fn put_high(packed: &mut [u8], row: usize, bits: u32) {
        let at = Nibbles::BYTES + row / 4 * 16 + row % 4 * 4;
        for t in 0..4 {
            // Every fourth bit from t on, brought together.
            let mut x = bits >> t & 0x1111_1111;
            x = (x | x >> 3) & 0x0303_0303;
            x = (x | x >> 6) & 0x000f_000f;
            packed[at + t] = (x | x >> 12) as u8;
        }
    }
}

impl Codes for FiveBits {
    const BYTES: usize = Nibbles::BYTES + PANEL * BLOCK / 8;

    fn put(packed: &mut [u8], row: usize, codes: &[u8; BLOCK]) {
        Nibbles::put(packed, row, codes);
        let bits = codes.iter().enumerate().fold(0, |bits, (c, code)| bits | u32::from(code >> 4 & 1) << c);
        Self::put_high(packed, row, bits);
    }

    fn get(packed: &[u8], row: usize, column: usize) -> u8 {
        let high = packed[Nibbles::BYTES + row / 4 * 16 + lane(row, column)] >> (column / 4) & 1;
        Nibbles::get(packed, row, column) | high << 4
    }
}

/// 0..=63: nibbles, then for each half two vectors; bits 2j, 2j + 1 of vector e are the high bits of column
/// group 4e + j.
pub struct SixBits;

impl Codes for SixBits {
    const BYTES: usize = Nibbles::BYTES + PANEL * BLOCK / 4;

    fn put(packed: &mut [u8], row: usize, codes: &[u8; BLOCK]) {
        Nibbles::put(packed, row, codes);
        for e in 0..2 {
            for t in 0..4 {
                let byte = (0..4).fold(0, |byte, j| byte | (codes[e * 16 + j * 4 + t] >> 4 & 3) << (2 * j));
                packed[Nibbles::BYTES + (row / 4 * 2 + e) * 16 + row % 4 * 4 + t] = byte;
            }
        }
    }

    fn get(packed: &[u8], row: usize, column: usize) -> u8 {
        let byte = packed[Nibbles::BYTES + (row / 4 * 2 + column / 16) * 16 + lane(row, column)];
        Nibbles::get(packed, row, column) | (byte >> (column % 16 / 4 * 2) & 3) << 4
    }
}

/// Signed bytes: vector `group·2 + half`.
pub struct Bytes;

impl Codes for Bytes {
    const BYTES: usize = PANEL * BLOCK;

    fn put(packed: &mut [u8], row: usize, codes: &[u8; BLOCK]) {
        for (group, four) in codes.chunks_exact(4).enumerate() {
            let at = (group * 2 + row / 4) * 16 + row % 4 * 4;
            packed[at..at + 4].copy_from_slice(four);
        }
    }

    fn get(packed: &[u8], row: usize, column: usize) -> u8 {
        packed[(column / 4 * 2 + row / 4) * 16 + lane(row, column)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip<C: Codes>(limit: u32) {
        let code = |row: usize, column: usize| ((row * 37 + column * 11 + row * column) as u32 % limit) as u8;
        let mut packed = vec![0; C::BYTES];
        for row in 0..PANEL {
            C::put(&mut packed, row, &std::array::from_fn(|column| code(row, column)));
        }
        for row in 0..PANEL {
            for column in 0..BLOCK {
                assert_eq!(C::get(&packed, row, column), code(row, column), "row {row} column {column}");
            }
        }
    }

    #[test]
    fn every_packing_returns_what_was_put() {
        round_trip::<Nibbles>(16);
        round_trip::<FiveBits>(32);
        round_trip::<SixBits>(64);
        round_trip::<Bytes>(256);
    }
}
