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
    /// `unpack$` in WGSL.
    unpack: &'static str,
}

macro_rules! formats {
    ($($kind:ident: $unit:literal in $bytes:literal, $words:literal words at $at:literal, $odd:expr, $file:literal;)*) => {
        /// Every format that has kernels. Adding one is a file of WGSL and a line here.
        pub static FORMATS: &[Format] = &[$(Format {
            kind: TensorType::$kind,
            unit: $unit,
            bytes: $bytes,
            words: $words,
            at: $at,
            odd: $odd,
            unpack: include_str!(concat!("kernels/formats/", $file, ".wgsl")),
        }),*];
    };
}

formats! {
    F32: 32 in 128, 32 words at 0, None, "f32";
    F16: 32 in 64, 16 words at 0, None, "f16";
    BF16: 32 in 64, 16 words at 0, None, "bf16";
    Q4_0: 32 in 18, 4 words at 2, Some(0), "q4_0";
    Q4_1: 32 in 20, 5 words at 0, None, "q4_1";
    Q5_0: 32 in 22, 5 words at 2, Some(0), "q5_0";
    Q5_1: 32 in 24, 6 words at 0, None, "q5_1";
    Q8_0: 32 in 34, 8 words at 2, Some(0), "q8_0";
    Q4_K: 256 in 144, 36 words at 0, None, "q4_k";
    Q5_K: 256 in 176, 44 words at 0, None, "q5_k";
    Q6_K: 256 in 210, 52 words at 0, Some(208), "q6_k";
}

impl Format {
    /// The format of a type, if it has kernels.
    pub fn of(kind: TensorType) -> Option<&'static Format> {
        FORMATS.iter().find(|format| format.kind == kind)
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
pub const COMMON: &str = include_str!("kernels/formats/common.wgsl");
