//! Random numbers that are a pure function of a seed and a counter, in 32-bit integer arithmetic: any
//! executor can draw the same ones.

/// A uniform number in [0, 1) for step `step` of a sequence seeded with `seed`.
pub fn uniform(seed: u32, step: u32) -> f32 {
    // 24 bits: every value is exact in f32, and 1.0 cannot come out.
    (hash(hash(step) ^ seed) >> 8) as f32 / (1u32 << 24) as f32
}

/// PCG-RXS-M-XS of 32 bits (M. O'Neill, "PCG", 2014), one round as a hash.
fn hash(x: u32) -> u32 {
    let state = x.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
    let word = ((state >> ((state >> 28) + 4)) ^ state).wrapping_mul(277_803_737);
    (word >> 22) ^ word
}

#[cfg(test)]
mod tests {
    use super::uniform;

    #[test]
    fn is_uniform_over_steps_and_seeds() {
        for seed in [0, 1, 2, 0xffff_ffff] {
            let mut counts = [0u32; 16];
            for step in 0..16_000 {
                counts[(uniform(seed, step) * 16.0) as usize] += 1;
            }
            // 1000 ± 5 standard deviations of 31.
            assert!(counts.iter().all(|count| (845..1155).contains(count)), "{counts:?}");
        }
    }
}
