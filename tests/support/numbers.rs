//! Repeatable numbers, and how far two lists of them are apart.

/// Numbers spread evenly over −1..1; the same for the same seed.
pub fn numbers(n: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761) ^ 0x9e37_79b9;
    let mut next = || {
        state = state.wrapping_mul(747_796_405).wrapping_add(2_891_336_453);
        let word = ((state >> ((state >> 28) + 4)) ^ state).wrapping_mul(277_803_737);
        ((word >> 22) ^ word) as f32 / u32::MAX as f32 * 2.0 - 1.0
    };
    (0..n).map(|_| next()).collect()
}

/// The largest |Δ| of two lists, each in units of max(1, |wanted|).
pub fn largest_error(got: &[f32], want: &[f32]) -> f32 {
    assert_eq!(got.len(), want.len());
    let error = |(got, want): (&f32, &f32)| (got - want).abs() / want.abs().max(1.0);
    // NaN must not be lost on the way, as `f32::max` would.
    got.iter().zip(want).map(error).fold(0.0, |m, e| if e <= m { m } else { e })
}
