//! The ways in which codes are packed: 8 rows × 32 columns at a time.
//!
//! Columns are taken in groups of four, rows in halves of four. Byte `r·4 + t` of a 16-byte vector belongs
//! to row `r` of its half and to column `t` of its group: the operand of a four-way integer dot product.

use super::lanes::Lanes;
use super::{BLOCK, PANEL};
use std::marker::PhantomData;

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

/// Sixteen signed numbers that nibbles stand for.
pub trait Table: 'static {
    const NUMBERS: [i8; 16];
}

/// The signed bytes of a table, as nibbles that are packed as [`Nibbles`] has them.
pub struct Listed<T>(PhantomData<T>);

impl<T: Table> Codes for Listed<T> {
    const BYTES: usize = Nibbles::BYTES;

    fn get(packed: &[u8], row: usize, column: usize) -> u8 {
        T::NUMBERS[usize::from(Nibbles::get(packed, row, column))] as u8
    }
}

/// 0..=31. Vector `p·2 + half` has column group p in its low five bits, and the low three bits of group p + 4 above
/// them; then for each half one vector, whose bits 2p and 2p + 1 are the high bits of group p + 4. So half of the groups
/// unpack in one operation.
pub struct FiveBits;

impl FiveBits {
    /// Puts nibbles as `Nibbles` has them, and fifth bits, those of column group j in bit j of `fifth(half)`.
    #[inline(always)]
    pub(super) fn put(
        packed: &mut [u8],
        pairs: impl Fn(usize, usize) -> Lanes,
        fifth: impl Fn(usize) -> Lanes,
    ) {
        let ones = 0x0101_0101;
        for half in 0..2 {
            let (fifth, mut high) = (fifth(half), Lanes::ZERO);
            for p in 0..4 {
                let (pairs, q) = (pairs(half, p), p as u32);
                let first = pairs & 0x0f0f_0f0f | (fifth >> q & ones) << 4;
                let second = pairs >> 4;
                (first | (second & 0x0707_0707) << 5).put(packed, p * 2 + half);
                high = high | (second >> 3 & ones | (fifth >> (q + 4) & ones) << 1) << (2 * q);
            }
            high.put(packed, 8 + half);
        }
    }
}

impl Codes for FiveBits {
    const BYTES: usize = PANEL * BLOCK * 5 / 8;

    fn get(packed: &[u8], row: usize, column: usize) -> u8 {
        let at = |vector: usize| (vector * 2 + row / 4) * 16 + lane(row, column);
        let (group, p) = (column / 4, column / 4 % 4);
        if group < 4 { packed[at(p)] & 31 } else { packed[at(p)] >> 5 | (packed[at(4)] >> (2 * p) & 3) << 3 }
    }
}

/// 0..=63. Vector `p·2 + half` has column group p in its low six bits, and the high two bits of group p + 4 above them;
/// then two vectors for each half with the low four bits of groups 4 and 5, and of 6 and 7.
pub struct SixBits;

impl SixBits {
    /// Puts nibbles as `Nibbles` has them, and the high bits of column group 4e + j in bits 2j and 2j + 1 of
    /// `high(half, e)`.
    #[inline(always)]
    pub(super) fn put(
        packed: &mut [u8],
        pairs: impl Fn(usize, usize) -> Lanes,
        high: impl Fn(usize, usize) -> Lanes,
    ) {
        let twos = 0x0303_0303;
        for half in 0..2 {
            let (first, second) = (high(half, 0), high(half, 1));
            for p in 0..4 {
                let shift = 2 * p as u32;
                let low = pairs(half, p) & 0x0f0f_0f0f | (first >> shift & twos) << 4;
                (low | (second >> shift & twos) << 6).put(packed, p * 2 + half);
            }
            for e in 0..2 {
                let (even, odd) = (pairs(half, 2 * e), pairs(half, 2 * e + 1));
                (even >> 4 & 0x0f0f_0f0f | odd & 0xf0f0_f0f0).put(packed, 8 + e * 2 + half);
            }
        }
    }
}

impl Codes for SixBits {
    const BYTES: usize = PANEL * BLOCK * 6 / 8;

    fn get(packed: &[u8], row: usize, column: usize) -> u8 {
        let at = |vector: usize| (vector * 2 + row / 4) * 16 + lane(row, column);
        let (group, p) = (column / 4, column / 4 % 4);
        if group < 4 {
            return packed[at(p)] & 63;
        }
        packed[at(4 + p / 2)] >> (p % 2 * 4) & 15 | (packed[at(p)] >> 6) << 4
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
