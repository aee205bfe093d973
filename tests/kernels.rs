//! Every block format and its kernels against candle-core.

mod support;

use support::formats::{self, DECODED, FORMATS};
use wisplm::cpu::activations::{GAIN, Quantized};
use wisplm::cpu::kernels::{Unpacked, matmul::multiply};
use wisplm::error::Code;
use wisplm::gguf::TensorType;
use wisplm::quant::{BLOCK, Matrix, Packer};

/// Rows on both sides of a panel (8), and more than one.
const ROWS: [usize; 5] = [1, 7, 8, 9, 19];
/// Activation rows on both sides of a tile (4).
const TOKENS: [usize; 5] = [1, 3, 4, 5, 9];

/// A repeatable sequence of numbers around 0, some of them large.
fn numbers(n: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761).max(1);
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state as f32 / u32::MAX as f32 - 0.5
    };
    (0..n).map(|k| next() * if k % 97 == 0 { 8.0 } else { 1.0 }).collect()
}

/// A matrix's bytes in the file, and its weights.
fn quantize(kind: TensorType, rows: usize, cols: usize, seed: u32) -> (Vec<u8>, Vec<f32>) {
    formats::quantize(kind, numbers(rows * cols, seed), rows, cols)
}

fn pack(kind: TensorType, rows: usize, cols: usize, bytes: &[u8], chunk: usize) -> Matrix {
    let mut packer = Packer::new(kind, rows, cols).unwrap();
    bytes.chunks(chunk).for_each(|chunk| packer.push(chunk).unwrap());
    packer.finish().unwrap()
}

fn decode(matrix: &Matrix) -> Vec<f32> {
    let mut weights = vec![0.0; matrix.rows() * matrix.cols()];
    weights.chunks_exact_mut(matrix.cols()).enumerate().for_each(|(row, out)| matrix.row(row, out));
    weights
}

fn columns(kind: TensorType) -> &'static [usize] {
    match kind.block_len() {
        1 => &[3, 32, 100],
        32 => &[32, 64, 576],
        _ => &[256, 768],
    }
}

#[test]
fn packed_weights_are_the_files_weights() {
    for kind in FORMATS {
        for &cols in columns(kind) {
            for rows in ROWS {
                let (bytes, want) = quantize(kind, rows, cols, 1);
                for chunk in [1, 7, 1000, usize::MAX] {
                    let got = decode(&pack(kind, rows, cols, &bytes, chunk.min(bytes.len())));
                    for (got, want) in got.iter().zip(&want) {
                        // The order of two multiplications may differ.
                        assert!(
                            (got - want).abs() <= 2e-7 * want.abs().max(0.1),
                            "{}: {got} {want}",
                            kind.name()
                        );
                    }
                }
            }
        }
    }
}

/// Blocks that ggml itself quantized, and its Python package's decoding of them, printed with nine digits.
#[test]
fn blocks_decode_as_ggml_has_them() {
    for (name, blocks) in support::models::json("blocks.json").as_object().unwrap() {
        let kind = TensorType::ALL.iter().find(|kind| kind.name() == name).unwrap();
        for block in blocks.as_array().unwrap() {
            let hex = block["bytes"].as_str().unwrap().as_bytes();
            let digit = |c: u8| (c as char).to_digit(16).unwrap() as u8;
            let bytes: Vec<u8> = hex.chunks(2).map(|two| digit(two[0]) << 4 | digit(two[1])).collect();
            let want = support::models::numbers(&block["values"]);
            let got = decode(&pack(*kind, 1, want.len(), &bytes, 5));
            let repacked = DECODED.contains(kind);
            for (got, want) in got.chunks(BLOCK).zip(want.chunks(BLOCK)) {
                let largest = want.iter().fold(0.0_f32, |m, w| m.max(w.abs()));
                let tolerance = if repacked { largest / 127.0 * 0.51 } else { largest * 1e-6 };
                assert!(got.iter().zip(want).all(|(got, want)| (got - want).abs() <= tolerance), "{name}");
            }
        }
    }
}

#[test]
fn formats_without_a_kernel_lose_little_by_repacking() {
    for kind in DECODED {
        let (bytes, want) = quantize(kind, 9, 512, 2);
        let got = decode(&pack(kind, 9, 512, &bytes, 100));
        for (got, want) in got.chunks(BLOCK).zip(want.chunks(BLOCK)) {
            let step = want.iter().fold(0.0_f32, |m, w| m.max(w.abs())) / 127.0;
            assert!(
                got.iter().zip(want).all(|(got, want)| (got - want).abs() <= step * 0.51),
                "{}",
                kind.name()
            );
        }
    }
}

/// Products are compared with f64 sums over the very activations that the kernel sees: what remains is the
/// rounding of f32 sums, 10⁻⁵ of the sum of magnitudes.
#[test]
fn products_are_those_of_the_decoded_weights() {
    for kind in FORMATS {
        for &cols in columns(kind) {
            for rows in ROWS {
                let (bytes, weights) = quantize(kind, rows, cols, 3);
                let matrix = pack(kind, rows, cols, &bytes, bytes.len());
                for tokens in TOKENS {
                    compare(&matrix, &weights, tokens);
                }
            }
        }
    }
}

/// The product of a matrix with rows of activations, one row of outputs after the other.
fn product(matrix: &Matrix, x: &[f32], tokens: usize) -> Vec<f32> {
    let mut quantized = Quantized::default();
    quantized.quantize(x, x.len() / tokens);
    let mut out = vec![f32::NAN; tokens * matrix.rows()];
    let put = |row: usize, first: usize, values: &[f32]| {
        out[row * matrix.rows() + first..][..values.len()].copy_from_slice(values);
    };
    let unpacked = &mut Unpacked::default();
    multiply(matrix, 0..matrix.panels(), 0..tokens, x, &quantized, unpacked, put).unwrap();
    out
}

fn compare(matrix: &Matrix, weights: &[f32], tokens: usize) {
    let (rows, cols, kind) = (matrix.rows(), matrix.cols(), matrix.packing().kind);
    let stride = cols.next_multiple_of(BLOCK);
    let mut x = vec![0.0; tokens * stride];
    for (token, row) in x.chunks_exact_mut(stride).enumerate() {
        row[..cols].copy_from_slice(&numbers(cols, 10 + token as u32));
    }
    let mut quantized = Quantized::default();
    let out = product(matrix, &x, tokens);
    for token in 0..tokens {
        let seen: Vec<f64> = if matrix.packing().scale_bytes > 0 {
            // A row has the same codes alone as in a tile.
            quantized.quantize(&x[token * stride..(token + 1) * stride], stride);
            let row = quantized.alone().unwrap().next().unwrap();
            let value = |k: usize| {
                let block = &row[k / BLOCK];
                let code = block.codes.as_flattened()[k % BLOCK];
                f64::from(code) * f64::from(block.d[k % BLOCK / 16] / GAIN)
            };
            (0..cols).map(value).collect()
        } else {
            x[token * stride..][..cols].iter().map(|x| f64::from(*x)).collect()
        };
        for row in 0..rows {
            let terms =
                weights[row * cols..(row + 1) * cols].iter().zip(&seen).map(|(w, x)| f64::from(*w) * x);
            let (sum, size) = terms.fold((0.0, 0.0), |(sum, size), term| (sum + term, size + term.abs()));
            let got = f64::from(out[token * rows + row]);
            let name = kind.name();
            assert!(
                (got - sum).abs() <= 1e-5 * size + 1e-6,
                "{name} {rows}×{cols}×{tokens}: {got} is not {sum}"
            );
        }
    }
}

/// One row at a time and four at a time give the same bits: answers do not depend on how a prompt is cut.
#[test]
fn tiles_and_single_rows_agree_to_the_bit() {
    for kind in FORMATS {
        let cols = *columns(kind).last().unwrap();
        let (bytes, _) = quantize(kind, 9, cols, 4);
        let matrix = pack(kind, 9, cols, &bytes, bytes.len());
        let stride = cols.next_multiple_of(BLOCK);
        let mut x = numbers(6 * stride, 5);
        x.chunks_exact_mut(stride).for_each(|row| row[cols..].fill(0.0));
        let together = product(&matrix, &x, 6);
        for (token, together) in together.chunks_exact(9).enumerate() {
            let alone = product(&matrix, &x[token * stride..(token + 1) * stride], 1);
            assert_eq!(alone, together, "{} row {token}", kind.name());
        }
        // Some rows and panels of them.
        let mut quantized = Quantized::default();
        quantized.quantize(&x, stride);
        let put = |row: usize, first: usize, values: &[f32]| {
            assert!((1..5).contains(&row) && first == 8);
            assert_eq!(values, &together[row * 9 + 8..row * 9 + 9], "{} row {row}", kind.name());
        };
        multiply(&matrix, 1..2, 1..5, &x, &quantized, &mut Unpacked::default(), put).unwrap();
    }
}

/// The extremes of the codes: every Q8_0 weight −128, every activation at its limit, must not overflow or saturate.
#[test]
fn extreme_codes_are_exact() {
    let mut bytes = Vec::new();
    for _ in 0..8 * 18 {
        bytes.extend(half::f16::ONE.to_le_bytes());
        bytes.extend([0x80_u8; 32]);
    }
    let matrix = pack(TensorType::Q8_0, 8, 576, &bytes, 34);
    for sign in [1.0_f32, -1.0] {
        let x = vec![sign * 127.0; 576];
        assert_eq!(product(&matrix, &x, 1), [sign * -128.0 * 127.0 * 576.0; 8]);
        assert_eq!(product(&matrix, &x.repeat(2), 2), [sign * -128.0 * 127.0 * 576.0; 16]);
    }
}

#[test]
fn infinite_and_nan_scales_are_refused() {
    for kind in FORMATS.into_iter().chain(DECODED) {
        let cols = *columns(kind).last().unwrap();
        let (good, _) = quantize(kind, 8, cols, 6);
        let mut refused = 0;
        for at in (0..good.len() - 3).step_by(kind.block_bytes() as usize) {
            for place in 0..kind.block_bytes() as usize {
                let mut bytes = good.clone();
                // A byte of 0x7f or 0xff makes a NaN or infinity where it falls on the high byte of a float.
                let Some(byte) = bytes.get_mut(at + place) else { continue };
                *byte = 0xff;
                if let Some(byte) = bytes.get_mut((at + place).wrapping_sub(1)) {
                    *byte |= 0xf0;
                }
                let mut packer = Packer::new(kind, 8, cols).unwrap();
                match packer.push(&bytes) {
                    Err(error) => {
                        assert_eq!(error.code, Code::InvalidModel);
                        refused += 1;
                    }
                    Ok(()) => assert!(decode(&packer.finish().unwrap()).iter().all(|w| w.is_finite())),
                }
            }
            if at > 3 * kind.block_bytes() as usize {
                break;
            }
        }
        assert!(refused > 0, "{}", kind.name());
    }
}
