//! Block formats, and how candle names them.

use candle_core::quantized::GgmlDType;
use wisplm::gguf::TensorType;

/// Formats with kernels.
pub const FORMATS: [(TensorType, GgmlDType); 11] = [
    (TensorType::F32, GgmlDType::F32),
    (TensorType::F16, GgmlDType::F16),
    (TensorType::BF16, GgmlDType::BF16),
    (TensorType::Q4_0, GgmlDType::Q4_0),
    (TensorType::Q4_1, GgmlDType::Q4_1),
    (TensorType::Q5_0, GgmlDType::Q5_0),
    (TensorType::Q5_1, GgmlDType::Q5_1),
    (TensorType::Q8_0, GgmlDType::Q8_0),
    (TensorType::Q4_K, GgmlDType::Q4K),
    (TensorType::Q5_K, GgmlDType::Q5K),
    (TensorType::Q6_K, GgmlDType::Q6K),
];

/// Formats that are decoded at load.
pub const DECODED: [(TensorType, GgmlDType); 3] = [
    (TensorType::Q2_K, GgmlDType::Q2K),
    (TensorType::Q3_K, GgmlDType::Q3K),
    (TensorType::Q8_K, GgmlDType::Q8K),
];
