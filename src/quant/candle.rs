//! Block formats without a kernel: candle-core decodes them, and they are packed as Q8_0.
//!
//! Q8_0 adds an error of at most 1/254 of the largest weight of 32: small beside what a 2- or 3-bit format
//! has lost already.

use super::{BLOCK, Format, Q8_0};
use crate::gguf::TensorType;
use candle_core::quantized::k_quants::{BlockQ2K, BlockQ3K, BlockQ8K, GgmlType};

/// A format that is decoded at load.
pub struct Decoded {
    pub kind: TensorType,
    /// Columns of one block.
    pub unit: usize,
    /// Bytes of one block.
    pub file_bytes: usize,
    decode: fn(&[u8], &mut [f32]),
}

/// Every format that is decoded at load.
pub static DECODED: &[Decoded] = &[
    decoded::<BlockQ2K>(TensorType::Q2_K),
    decoded::<BlockQ3K>(TensorType::Q3_K),
    decoded::<BlockQ8K>(TensorType::Q8_K),
];

const fn decoded<B: GgmlType>(kind: TensorType) -> Decoded {
    Decoded { kind, unit: B::BLCK_SIZE, file_bytes: size_of::<B>(), decode: decode::<B> }
}

fn decode<B: GgmlType>(bytes: &[u8], weights: &mut [f32]) {
    assert!(bytes.len() == size_of::<B>() && weights.len() == B::BLCK_SIZE);
    // SAFETY: candle's blocks are `repr(C)` structs of integers and f16, valid for any bits, and `bytes` has
    // their length; the read needs no alignment.
    let block = unsafe { bytes.as_ptr().cast::<B>().read_unaligned() };
    B::to_float(&[block], weights);
}

impl Decoded {
    /// Decodes one block and appends it as Q8_0 blocks. Returns false if a value is not finite.
    pub fn to_q8_0(&self, block: &[u8], q8_0: &mut Vec<u8>) -> bool {
        let mut weights = [0.0; 256];
        let weights = &mut weights[..self.unit];
        (self.decode)(block, weights);
        for weights in weights.chunks_exact(BLOCK) {
            let largest = weights.iter().fold(0.0_f32, |m, w| m.max(w.abs()));
            if !weights.iter().all(|w| w.is_finite()) {
                return false;
            }
            let d = half::f16::from_f32(largest / 127.0);
            if !d.is_finite() {
                return false;
            }
            let inverse = if d.to_f32() > 0.0 { 1.0 / d.to_f32() } else { 0.0 };
            q8_0.extend(d.to_le_bytes());
            q8_0.extend(
                weights.iter().map(|w| (w * inverse).round_ties_even().clamp(-127.0, 127.0) as i8 as u8),
            );
        }
        debug_assert!(q8_0.len().is_multiple_of(Q8_0::FILE_BYTES));
        true
    }
}
