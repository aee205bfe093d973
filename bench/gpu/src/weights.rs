//! Random bytes of tensors, whose scales make weights of about ±1/√columns.

use half::f16;
use wisplm::gguf::{TensorInfo, TensorType};

/// Bytes that are made at once, in whole blocks.
const PIECE: usize = 1 << 20;

/// Calls `push(offset, bytes)` for all bytes of a tensor.
pub fn fill<E>(tensor: &TensorInfo, mut push: impl FnMut(u64, &[u8]) -> Result<(), E>) -> Result<(), E> {
    if tensor.dims.len() == 1 {
        return push(0, bytemuck::cast_slice(&vec![1.0_f32; tensor.dims[0] as usize]));
    }
    let block = tensor.kind.block_bytes() as usize;
    let mut piece: Vec<u8> = random(PIECE / block * block, tensor.offset as u32 ^ tensor.bytes as u32);
    let typical = 1.0 / (tensor.dims[0] as f32).sqrt();
    piece.chunks_exact_mut(block).for_each(|block| scale(tensor.kind, block, typical));
    let mut offset = 0;
    while offset < tensor.bytes {
        let now = (tensor.bytes - offset).min(piece.len() as u64);
        push(offset, &piece[..now as usize])?;
        offset += now;
    }
    Ok(())
}

/// Sets a block's scales.
fn scale(kind: TensorType, block: &mut [u8], typical: f32) {
    let mut put =
        |at: usize, value: f32| block[at..at + 2].copy_from_slice(&f16::from_f32(value).to_le_bytes());
    match kind {
        // Codes are about ±64.
        TensorType::Q8_0 => put(0, typical / 64.0),
        // d·s·q − dmin·m with s and m about 32, q about 8.
        TensorType::Q4_K => {
            put(0, typical / 32.0 / 4.0);
            put(2, typical / 4.0);
        }
        _ => panic!("no random blocks of {}", kind.name()),
    }
}

/// A linear congruential generator's high bytes.
fn random(count: usize, seed: u32) -> Vec<u8> {
    let mut state = seed | 1;
    let next = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..count).map(next).collect()
}
