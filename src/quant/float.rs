//! F32, F16 and BF16: no scales; the value of a column for the 8 rows of a panel stands together.

use super::lanes::{Rows, any_sign, any_sign16};
use super::{Format, PANEL, put_f16s};
use crate::gguf::TensorType;

/// Columns of a unit. Rows need not be a multiple of it: the packer fills up with zeros.
const UNIT: usize = 32;

// One column of a panel; false if a value is not finite: see `put_f16s`.

#[inline(always)]
fn put_words(column: Rows<'_>, packed: &mut [u8]) -> bool {
    let halves = [0, 1].map(|half| column.four(half, 0));
    halves.into_iter().enumerate().for_each(|(half, v)| v.put(packed, half));
    !halves.into_iter().any(|v| any_sign(v, 0x0080_0000))
}

#[inline(always)]
fn put_f16(column: Rows<'_>, packed: &mut [u8]) -> bool {
    put_f16s(column, 0, packed, 0)
}

#[inline(always)]
fn put_bf16(column: Rows<'_>, packed: &mut [u8]) -> bool {
    let values = column.eight(0);
    values.put(packed, 0);
    !any_sign16(values, 0x0080)
}

macro_rules! float {
    ($(#[$doc:meta])* $name:ident, $kind:ident, $bytes:literal, $value:expr, $put:expr) => {
        $(#[$doc])*
        pub struct $name;

        impl Format for $name {
            const KIND: TensorType = TensorType::$kind;
            const UNIT: usize = UNIT;
            const FILE_BYTES: usize = UNIT * $bytes;
            const CODE_BYTES: usize = UNIT * $bytes * PANEL;
            const SCALE_BYTES: usize = 0;

            fn pack(rows: &[u8], codes: &mut [u8], _scales: &mut [u8]) -> bool {
                let rows = Rows::new(rows);
                let mut finite = true;
                let columns = rows.bytes() / $bytes;
                let (packed, _) = codes.as_chunks_mut::<{ $bytes * PANEL }>();
                for (column, packed) in packed.iter_mut().enumerate().take(columns) {
                    finite &= $put(rows.from(column * $bytes), packed);
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
    F32, F32, 4, f32::from_le_bytes, put_words
);
float!(
    /// IEEE 754 binary16.
    F16, F16, 2, |bytes| half::f16::from_le_bytes(bytes).to_f32(), put_f16
);
float!(
    /// The upper half of binary32.
    Bf16, BF16, 2, |bytes| half::bf16::from_le_bytes(bytes).to_f32(), put_bf16
);
