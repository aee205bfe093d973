//! The element types that a GGUF tensor can have.
//!
//! Every type that ggml has a number for is listed, also those that no kernel here computes with: a file is
//! measured and split into tensors before anyone asks what can be done with them.

/// From one table: the enum, and what is known of each type.
macro_rules! tensor_types {
    ($($name:ident = $id:literal, $len:literal elements in $bytes:literal bytes;)*) => {
        /// An element type of tensors, by its ggml name. Elements are stored in blocks; a plain type has
        /// blocks of one element.
        #[allow(non_camel_case_types)]
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum TensorType { $($name = $id),* }

        impl TensorType {
            /// All of them, in order of their numbers.
            pub const ALL: &[TensorType] = &[$(TensorType::$name),*];

            /// The type with this ggml number, if there is one.
            pub fn from_id(id: u32) -> Option<Self> {
                match id {
                    $($id => Some(TensorType::$name),)*
                    _ => None,
                }
            }

            /// The name as ggml writes it, for instance `Q4_K`.
            pub fn name(self) -> &'static str {
                match self { $(TensorType::$name => stringify!($name)),* }
            }

            /// Elements per block.
            pub const fn block_len(self) -> u64 {
                match self { $(TensorType::$name => $len),* }
            }

            /// Bytes per block.
            pub const fn block_bytes(self) -> u64 {
                match self { $(TensorType::$name => $bytes),* }
            }
        }
    };
}

// Numbers that are not here were given up by ggml before any file carried them (4, 5). 31 to 33 and 36 to 38
// are the pre-interleaved forms of Q4_0 and IQ4_NL: no longer written, but files with them are still around
// and have the size of the type that they interleave. 42 is upstream's Q2_0; a fork once used that number
// for blocks of 128, and nothing in such a file tells it apart except that its tensors then overlap.
tensor_types! {
    F32 = 0, 1 elements in 4 bytes;
    F16 = 1, 1 elements in 2 bytes;
    Q4_0 = 2, 32 elements in 18 bytes;
    Q4_1 = 3, 32 elements in 20 bytes;
    Q5_0 = 6, 32 elements in 22 bytes;
    Q5_1 = 7, 32 elements in 24 bytes;
    Q8_0 = 8, 32 elements in 34 bytes;
    Q8_1 = 9, 32 elements in 36 bytes;
    Q2_K = 10, 256 elements in 84 bytes;
    Q3_K = 11, 256 elements in 110 bytes;
    Q4_K = 12, 256 elements in 144 bytes;
    Q5_K = 13, 256 elements in 176 bytes;
    Q6_K = 14, 256 elements in 210 bytes;
    Q8_K = 15, 256 elements in 292 bytes;
    IQ2_XXS = 16, 256 elements in 66 bytes;
    IQ2_XS = 17, 256 elements in 74 bytes;
    IQ3_XXS = 18, 256 elements in 98 bytes;
    IQ1_S = 19, 256 elements in 50 bytes;
    IQ4_NL = 20, 32 elements in 18 bytes;
    IQ3_S = 21, 256 elements in 110 bytes;
    IQ2_S = 22, 256 elements in 82 bytes;
    IQ4_XS = 23, 256 elements in 136 bytes;
    I8 = 24, 1 elements in 1 bytes;
    I16 = 25, 1 elements in 2 bytes;
    I32 = 26, 1 elements in 4 bytes;
    I64 = 27, 1 elements in 8 bytes;
    F64 = 28, 1 elements in 8 bytes;
    IQ1_M = 29, 256 elements in 56 bytes;
    BF16 = 30, 1 elements in 2 bytes;
    Q4_0_4_4 = 31, 32 elements in 18 bytes;
    Q4_0_4_8 = 32, 32 elements in 18 bytes;
    Q4_0_8_8 = 33, 32 elements in 18 bytes;
    TQ1_0 = 34, 256 elements in 54 bytes;
    TQ2_0 = 35, 256 elements in 66 bytes;
    IQ4_NL_4_4 = 36, 32 elements in 18 bytes;
    IQ4_NL_4_8 = 37, 32 elements in 18 bytes;
    IQ4_NL_8_8 = 38, 32 elements in 18 bytes;
    MXFP4 = 39, 32 elements in 17 bytes;
    NVFP4 = 40, 64 elements in 36 bytes;
    Q1_0 = 41, 128 elements in 18 bytes;
    Q2_0 = 42, 64 elements in 18 bytes;
}

impl TensorType {
    /// The type's ggml number, as files carry it.
    pub const fn id(self) -> u32 {
        self as u32
    }

    /// Bytes of `elements` elements, or `None` if they do not fill whole blocks or do not fit in 64 bits.
    pub fn bytes_of(self, elements: u64) -> Option<u64> {
        if !elements.is_multiple_of(self.block_len()) {
            return None;
        }
        (elements / self.block_len()).checked_mul(self.block_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::TensorType;

    #[test]
    fn numbers_round_trip() {
        for &kind in TensorType::ALL {
            assert_eq!(TensorType::from_id(kind.id()), Some(kind));
        }
        for gap in [4, 5, 43, 1000, u32::MAX] {
            assert_eq!(TensorType::from_id(gap), None);
        }
    }

    #[test]
    fn bytes_are_counted_in_whole_blocks() {
        assert_eq!(TensorType::F32.bytes_of(7), Some(28));
        assert_eq!(TensorType::Q4_K.bytes_of(512), Some(288));
        assert_eq!(TensorType::Q4_K.bytes_of(500), None);
        assert_eq!(TensorType::F64.bytes_of(u64::MAX), None);
    }
}
