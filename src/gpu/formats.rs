//! Block formats on the GPU: where a unit's bytes go, and how 32 columns of them become numbers.
//!
//! A matrix is one buffer: the u32 words of all units in order, then what does not fill words, an odd u16 per unit,
//! two to a word. So a weight takes the bytes that it has in the file. In WGSL `w$` is the buffer and `odd$` finds the
//! u16 of a unit; `unpack$(i)` returns block i, 32 columns in eight vectors: arrays would be slow.

use crate::gguf::TensorType;

/// Columns of a block, as kernels take them.
pub const BLOCK: usize = 32;

/// One line of the table of formats.
#[derive(Debug)]
pub struct Format {
    pub kind: TensorType,
    /// Columns of a unit.
    pub unit: usize,
    /// Bytes of a unit in the file.
    pub bytes: usize,
    /// Words of a unit, from byte `at` on.
    pub words: usize,
    pub at: usize,
    /// The byte of the odd u16.
    pub odd: Option<usize>,
    /// Which of its bytes are floating-point numbers.
    numbers: Numbers,
    /// `unpack$` in WGSL.
    unpack: &'static str,
}

/// Floating-point numbers among a tensor's bytes: of so many bytes, those that begin here.
#[derive(Debug)]
enum Numbers {
    F16(usize, &'static [usize]),
    BF16(usize, &'static [usize]),
    F32(usize, &'static [usize]),
    /// The exponents alone, of which those from 144 on are too large.
    Exponent(usize, &'static [usize]),
}

macro_rules! formats {
    ($($kind:ident: $unit:literal in $bytes:literal, $words:literal words at $at:literal, $odd:expr, $numbers:expr, $file:literal;)*) => {
        /// Every format that has kernels. Adding one is a file of WGSL and a line here.
        pub static FORMATS: &[Format] = &[$(Format {
            kind: TensorType::$kind,
            unit: $unit,
            bytes: $bytes,
            words: $words,
            at: $at,
            odd: $odd,
            numbers: $numbers,
            unpack: wgsl!("formats/", $file),
        }),*];
    };
}

formats! {
    F32: 32 in 128, 32 words at 0, None, F32(4, &[0]), "f32";
    F16: 32 in 64, 16 words at 0, None, F16(2, &[0]), "f16";
    BF16: 32 in 64, 16 words at 0, None, BF16(2, &[0]), "bf16";
    Q4_0: 32 in 18, 4 words at 2, Some(0), F16(18, &[0]), "q4_0";
    Q4_1: 32 in 20, 5 words at 0, None, F16(20, &[0, 2]), "q4_1";
    Q5_0: 32 in 22, 5 words at 2, Some(0), F16(22, &[0]), "q5_0";
    Q5_1: 32 in 24, 6 words at 0, None, F16(24, &[0, 2]), "q5_1";
    Q8_0: 32 in 34, 8 words at 2, Some(0), F16(34, &[0]), "q8_0";
    Q2_K: 256 in 84, 21 words at 0, None, F16(84, &[80, 82]), "q2_k";
    Q3_K: 256 in 110, 27 words at 0, Some(108), F16(110, &[108]), "q3_k";
    Q4_K: 256 in 144, 36 words at 0, None, F16(144, &[0, 2]), "q4_k";
    Q5_K: 256 in 176, 44 words at 0, None, F16(176, &[0, 2]), "q5_k";
    Q6_K: 256 in 210, 52 words at 0, Some(208), F16(210, &[208]), "q6_k";
    Q8_K: 256 in 292, 65 words at 0, None, F32(292, &[0]), "q8_k";
    IQ4_NL: 32 in 18, 4 words at 2, Some(0), F16(18, &[0]), "iq4_nl";
    IQ4_XS: 256 in 136, 34 words at 0, None, F16(136, &[0]), "iq4_xs";
    MXFP4: 32 in 17, 4 words at 1, Some(0), Exponent(17, &[0]), "mxfp4";
}

use Numbers::{BF16, Exponent, F16, F32};

impl Format {
    /// Whether its weights are floating-point numbers, and not codes with a scale.
    pub fn is_float(&self) -> bool {
        matches!(self.kind, TensorType::F32 | TensorType::F16 | TensorType::BF16)
    }

    /// The format of a type, if it has kernels.
    pub fn of(kind: TensorType) -> Option<&'static Format> {
        FORMATS.iter().find(|format| format.kind == kind)
    }

    /// Whether the values or scales among `bytes`, which stand in a tensor from `offset` on after a byte `before`, are
    /// finite: the last of a number's bytes tells, or the last two.
    pub fn is_finite(&self, offset: u64, before: u8, bytes: &[u8]) -> bool {
        let (stride, at, last) = match self.numbers {
            F16(stride, at) | BF16(stride, at) => (stride, at, 1),
            F32(stride, at) => (stride, at, 3),
            Exponent(stride, at) => (stride, at, 0),
        };
        let skipped = (offset % stride as u64) as usize;
        at.iter().all(|at| {
            let first = (at + last + stride - skipped) % stride;
            (first..bytes.len()).step_by(stride).all(|k| match self.numbers {
                F16(..) => bytes[k] & 0x7c != 0x7c,
                Exponent(..) => bytes[k] < 144,
                _ => {
                    let low = if k == 0 { before } else { bytes[k - 1] };
                    bytes[k] & 0x7f != 0x7f || low & 0x80 == 0
                }
            })
        })
    }

    /// Words of `units` units, an even number of them in all but a matrix' end.
    pub fn words_of(&self, units: usize) -> usize {
        units * self.words + self.odd.map_or(0, |_| units.div_ceil(2))
    }

    /// WGSL that unpacks binding `w{k}`, whose odd u16s begin at word `params.odd{k}`.
    pub fn wgsl(&self, k: usize) -> String {
        let odd =
            "fn odd$(i: u32) -> u32 {\n  return (w$[params.odd$ + i / 2u] >> (i % 2u * 16u)) & 0xffffu;\n}\n";
        let odd = if self.odd.is_some() { odd } else { "" };
        (odd.to_owned() + self.unpack).replace('$', &k.to_string())
    }
}

/// What all formats' WGSL uses.
pub const COMMON: &str = wgsl!("formats/common");

#[cfg(test)]
mod tests {
    use super::*;

    /// A number that is not finite is found wherever a file is cut, and no other byte is taken for one.
    #[test]
    fn numbers_that_are_not_finite_are_found() {
        for format in FORMATS {
            let (stride, at, bad): (usize, &[usize], &[u8]) = match format.numbers {
                F16(stride, at) => (stride, at, &[0x00, 0x7c]),
                BF16(stride, at) => (stride, at, &[0x80, 0x7f]),
                F32(stride, at) => (stride, at, &[0x00, 0x00, 0x80, 0xff]),
                Exponent(stride, at) => (stride, at, &[144]),
            };
            let finite = |bytes: &[u8], cut: usize| {
                let before = if cut == 0 { 0 } else { bytes[cut - 1] };
                format.is_finite(0, 0, &bytes[..cut]) && format.is_finite(cut as u64, before, &bytes[cut..])
            };
            for place in at {
                let mut bytes = vec![0xff; 3 * stride];
                for unit in bytes.chunks_exact_mut(stride) {
                    at.iter().for_each(|at| unit[*at..at + bad.len()].fill(0x3b));
                }
                assert!((0..bytes.len()).all(|cut| finite(&bytes, cut)), "{}", format.kind.name());
                bytes[stride + place..stride + place + bad.len()].copy_from_slice(bad);
                assert!(
                    (0..bytes.len()).all(|cut| !finite(&bytes, cut)),
                    "{} at {place}",
                    format.kind.name()
                );
            }
        }
    }
}
