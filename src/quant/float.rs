//! F32, F16 and BF16: no scales; the value of a column for the 8 rows of a panel stands together.

use super::{Format, PANEL};
use crate::gguf::TensorType;

/// Columns packed at a time. Rows need not be a multiple of it: the packer fills up with zeros.
const UNIT: usize = 32;

macro_rules! float {
    ($(#[$doc:meta])* $name:ident, $kind:ident, $bytes:literal, $value:expr) => {
        $(#[$doc])*
        pub struct $name;

        impl Format for $name {
            const KIND: TensorType = TensorType::$kind;
            const UNIT: usize = UNIT;
            const FILE_BYTES: usize = UNIT * $bytes;
            const CODE_BYTES: usize = UNIT * $bytes * PANEL;
            const SCALE_BYTES: usize = 0;

            fn pack(unit: &[u8], row: usize, codes: &mut [u8], _scales: &mut [u8]) -> bool {
                let value: fn([u8; $bytes]) -> f32 = $value;
                let (values, _) = unit.as_chunks::<$bytes>();
                let mut finite = true;
                for (column, bytes) in values.iter().enumerate() {
                    let at = (column * PANEL + row) * $bytes;
                    codes[at..at + $bytes].copy_from_slice(bytes);
                    finite &= value(*bytes).is_finite();
                }
                finite
            }

            fn unpack(codes: &[u8], _scales: &[u8], row: usize, weights: &mut [f32]) {
                let value: fn([u8; $bytes]) -> f32 = $value;
                let (values, _) = codes.as_chunks::<$bytes>();
                for (column, weight) in weights.iter_mut().enumerate() {
                    *weight = value(values[column * PANEL + row]);
                }
            }
        }
    };
}

float!(
    /// IEEE 754 binary32.
    F32, F32, 4, f32::from_le_bytes
);
float!(
    /// IEEE 754 binary16.
    F16, F16, 2, |bytes| half::f16::from_le_bytes(bytes).to_f32()
);
float!(
    /// The upper half of binary32.
    Bf16, BF16, 2, |bytes| half::bf16::from_le_bytes(bytes).to_f32()
);
