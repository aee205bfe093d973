//! The four ways in which codes are packed: 8 rows × 32 columns at a time.
//!
//! Columns are taken in groups of four, rows in halves of four. Byte `r·4 + t` of a 16-byte vector belongs
//! to row `r` of its half and to column `t` of its group: the operand of a four-way integer dot product.

use super::lanes::Lanes;
use super::{BLOCK, PANEL};

/// A packing of 8 × 32 small integers.
pub trait Codes {
    /// Bytes of 8 rows × 32 columns.
    const BYTES: usize;

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
    /// Puts the vectors `pairs(half, p)`.
    #[inline(always)]
    pub(super) fn put(packed: &mut [u8], pairs: impl Fn(usize, usize) -> Lanes) {
        for p in 0..4 {
            for half in 0..2 {
                pairs(half, p).put(packed, p * 2 + half);
            }
        }
    }
}

impl Codes for Nibbles {
    const BYTES: usize = PANEL * BLOCK / 2;

    fn get(packed: &[u8], row: usize, column: usize) -> u8 {
        let byte = packed[(column % 16 / 4 * 2 + row / 4) * 16 + lane(row, column)];
        byte >> (column / 16 * 4) & 15
    }
}

/// 0..=31: nibbles, then for each half one vector whose bit j is the fifth bit of column group j.
pub struct FiveBits;

impl FiveBits {
    /// Puts nibbles, and the vectors `high(half)`.
    #[inline(always)]
    pub(super) fn put(
        packed: &mut [u8],
        pairs: impl Fn(usize, usize) -> Lanes,
        high: impl Fn(usize) -> Lanes,
    ) {
        Nibbles::put(packed, pairs);
        for half in 0..2 {
            high(half).put(packed, 8 + half);
        }
    }
}

impl Codes for FiveBits {
    const BYTES: usize = Nibbles::BYTES + PANEL * BLOCK / 8;

    fn get(packed: &[u8], row: usize, column: usize) -> u8 {
        let high = packed[Nibbles::BYTES + row / 4 * 16 + lane(row, column)] >> (column / 4) & 1;
        Nibbles::get(packed, row, column) | high << 4
    }
}

/// 0..=63: nibbles, then for each half two vectors; bits 2j, 2j + 1 of vector e are the high bits of column
/// group 4e + j.
pub struct SixBits;

impl SixBits {
    /// Puts nibbles, and the vectors `high(half, e)`.
    #[inline(always)]
    pub(super) fn put(
        packed: &mut [u8],
        pairs: impl Fn(usize, usize) -> Lanes,
        high: impl Fn(usize, usize) -> Lanes,
    ) {
        Nibbles::put(packed, pairs);
        for half in 0..2 {
            for e in 0..2 {
                high(half, e).put(packed, 8 + half * 2 + e);
            }
        }
    }
}

impl Codes for SixBits {
    const BYTES: usize = Nibbles::BYTES + PANEL * BLOCK / 4;

    fn get(packed: &[u8], row: usize, column: usize) -> u8 {
        let byte = packed[Nibbles::BYTES + (row / 4 * 2 + column / 16) * 16 + lane(row, column)];
        Nibbles::get(packed, row, column) | (byte >> (column % 16 / 4 * 2) & 3) << 4
    }
}

/// Signed bytes: vector `group·2 + half`.
pub struct Bytes;

impl Bytes {
    /// Puts the vectors `codes(half, group)`.
    #[inline(always)]
    pub(super) fn put(packed: &mut [u8], codes: impl Fn(usize, usize) -> Lanes) {
        for group in 0..8 {
            for half in 0..2 {
                codes(half, group).put(packed, group * 2 + half);
            }
        }
    }
}

impl Codes for Bytes {
    const BYTES: usize = PANEL * BLOCK;

    fn get(packed: &[u8], row: usize, column: usize) -> u8 {
        packed[(column / 4 * 2 + row / 4) * 16 + lane(row, column)]
    }
}

#[cfg(test)]
mod tests {
    use super::super::lanes::Rows;
    use super::*;

    fn code(row: usize, column: usize) -> u8 {
        (row * 37 + column * 11 + row * column) as u8
    }

    /// The vector whose byte `r·4 + t` is `byte(row r of the half, t)`.
    fn vector(half: usize, byte: impl Fn(usize, usize) -> u8) -> Lanes {
        let bytes: Vec<u8> = (0..32).map(|i| byte(i / 4, i % 4)).collect();
        Rows::new(&bytes).four(half, 0)
    }

    fn pairs(half: usize, p: usize) -> Lanes {
        vector(half, |row, t| code(row, 4 * p + t) & 15 | code(row, 16 + 4 * p + t) << 4)
    }

    fn check<C: Codes>(limit: u8, put: impl Fn(&mut [u8])) {
        let mut packed = vec![0xaa; C::BYTES];
        put(&mut packed);
        for row in 0..PANEL {
            for column in 0..BLOCK {
                let want = code(row, column) & limit;
                assert_eq!(C::get(&packed, row, column), want, "row {row} column {column}");
            }
        }
    }

    #[test]
    fn every_packing_returns_what_was_put() {
        check::<Nibbles>(15, |packed| Nibbles::put(packed, pairs));
        let fifth = |half| vector(half, |row, t| (0..8).map(|j| (code(row, 4 * j + t) >> 4 & 1) << j).sum());
        check::<FiveBits>(31, |packed| FiveBits::put(packed, pairs, fifth));
        let high = |half, e| {
            vector(half, |row, t| (0..4).map(|j| (code(row, 16 * e + 4 * j + t) >> 4 & 3) << (2 * j)).sum())
        };
        check::<SixBits>(63, |packed| SixBits::put(packed, pairs, high));
        let bytes = |half, group| vector(half, |row, t| code(row, 4 * group + t));
        check::<Bytes>(255, |packed| Bytes::put(packed, bytes));
    }
}
