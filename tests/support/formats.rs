//! Block formats, and matrices in them: quantized by candle, or for formats that it does not have by the formulas.

use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{Device, Tensor};
use half::f16;
use wisplm::gguf::TensorType;

/// Formats with kernels.
pub const FORMATS: [TensorType; 14] = [
    TensorType::F32,
    TensorType::F16,
    TensorType::BF16,
    TensorType::Q4_0,
    TensorType::Q4_1,
    TensorType::Q5_0,
    TensorType::Q5_1,
    TensorType::Q8_0,
    TensorType::Q4_K,
    TensorType::Q5_K,
    TensorType::Q6_K,
    TensorType::IQ4_NL,
    TensorType::IQ4_XS,
    TensorType::MXFP4,
];

/// Formats that are decoded at load on the CPU.
pub const DECODED: [TensorType; 3] = [TensorType::Q2_K, TensorType::Q3_K, TensorType::Q8_K];

/// candle's name for a format, if it has it.
pub fn candle(kind: TensorType) -> Option<GgmlDType> {
    Some(match kind {
        TensorType::F32 => GgmlDType::F32,
        TensorType::F16 => GgmlDType::F16,
        TensorType::BF16 => GgmlDType::BF16,
        TensorType::Q4_0 => GgmlDType::Q4_0,
        TensorType::Q4_1 => GgmlDType::Q4_1,
        TensorType::Q5_0 => GgmlDType::Q5_0,
        TensorType::Q5_1 => GgmlDType::Q5_1,
        TensorType::Q8_0 => GgmlDType::Q8_0,
        TensorType::Q2_K => GgmlDType::Q2K,
        TensorType::Q3_K => GgmlDType::Q3K,
        TensorType::Q4_K => GgmlDType::Q4K,
        TensorType::Q5_K => GgmlDType::Q5K,
        TensorType::Q6_K => GgmlDType::Q6K,
        TensorType::Q8_K => GgmlDType::Q8K,
        _ => return None,
    })
}

/// A matrix's bytes in the file, and its weights as the format's definition has them.
pub fn quantize(kind: TensorType, values: Vec<f32>, rows: usize, cols: usize) -> (Vec<u8>, Vec<f32>) {
    let Some(dtype) = candle(kind) else {
        return match kind {
            TensorType::IQ4_NL => blocks(&values, 32, iq4_nl),
            TensorType::IQ4_XS => blocks(&values, 256, iq4_xs),
            TensorType::MXFP4 => blocks(&values, 32, mxfp4),
            _ => panic!("nothing quantizes to {}", kind.name()),
        };
    };
    let values = Tensor::from_vec(values, (rows, cols), &Device::Cpu).unwrap();
    let quantized = QTensor::quantize(&values, dtype).unwrap();
    let weights = quantized.dequantize(&Device::Cpu).unwrap().flatten_all().unwrap().to_vec1().unwrap();
    (quantized.data().unwrap().into_owned(), weights)
}

type Block = (Vec<u8>, Vec<f32>);

fn blocks(values: &[f32], size: usize, encode: fn(&[f32]) -> Block) -> Block {
    let (bytes, weights): (Vec<_>, Vec<_>) = values.chunks(size).map(encode).unzip();
    (bytes.concat(), weights.concat())
}

/// T of IQ4_NL and IQ4_XS, as ggml-common.h has it.
const IQ4: [f32; 16] =
    [-127., -104., -83., -65., -49., -35., -22., -10., 1., 13., 25., 38., 53., 69., 89., 113.];
/// Twice the numbers of E2M1.
const E2M1: [f32; 16] = [0., 1., 2., 3., 4., 6., 8., 12., 0., -1., -2., -3., -4., -6., -8., -12.];

fn largest(values: &[f32]) -> f32 {
    values.iter().fold(1e-6, |most, value| most.max(value.abs()))
}

/// 32 nearest numbers of a table: column j in the low half of byte j, column j + 16 in the high one.
fn nibbles(values: &[f32], d: f32, table: &[f32; 16]) -> Block {
    let distance = |code: usize, value: f32| (table[code] * d - value).abs();
    let nearest =
        |value: f32| (0..16).min_by(|a, b| distance(*a, value).total_cmp(&distance(*b, value))).unwrap();
    let codes: Vec<usize> = values.iter().map(|value| nearest(*value)).collect();
    let bytes = (0..16).map(|j| (codes[j] | codes[j + 16] << 4) as u8).collect();
    (bytes, codes.iter().map(|code| d * table[*code]).collect())
}

fn iq4_nl(values: &[f32]) -> Block {
    let d = f16::from_f32(largest(values) / 120.0);
    let (codes, weights) = nibbles(values, d.to_f32(), &IQ4);
    ([&d.to_le_bytes()[..], &codes].concat(), weights)
}

/// The scale e stands for 2^(e − 128): that of E2M1, halved, since the table is doubled.
fn mxfp4(values: &[f32]) -> Block {
    let e = 128 + (largest(values) / 12.0).log2().ceil() as i32;
    let (codes, weights) = nibbles(values, ((e - 128) as f32).exp2(), &E2M1);
    ([&[e as u8][..], &codes].concat(), weights)
}

fn iq4_xs(values: &[f32]) -> Block {
    let d = f16::from_f32(largest(values) / 120.0 / 31.0);
    let (mut high, mut low, mut all, mut weights) = (0_u16, [0_u8; 4], vec![], vec![]);
    for (g, values) in values.chunks(32).enumerate() {
        // Every other scale is negative, as the format allows.
        let sign = if g % 2 == 0 { 1.0 } else { -1.0 };
        let s = (sign * largest(values) / 120.0 / d.to_f32()).round().clamp(-32.0, 31.0);
        let coded = (s + 32.0) as u16;
        high |= (coded >> 4) << (2 * g);
        low[g / 2] |= ((coded & 15) << (g % 2 * 4)) as u8;
        let (codes, decoded) = nibbles(values, d.to_f32() * s, &IQ4);
        all.extend(codes);
        weights.extend(decoded);
    }
    ([&d.to_le_bytes()[..], &high.to_le_bytes(), &low, &all].concat(), weights)
}
