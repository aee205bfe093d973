//! Tiny models in the mixtures of formats that llama.cpp makes of them: no further from float32 on the same, decoded
//! weights than native llama.cpp is (`tests/fixtures/scripts/quantized.py`).

mod support;

use std::collections::BTreeMap;
use support::mixtures::mixtures;

/// How much further a family may be: means of rounding errors are themselves off by some percent. Recurrences magnify
/// them, so that one model says little.
const MORE: f32 = 1.1;

#[test]
fn mixtures_are_no_further_from_float32_than_llama_cpp_is() {
    // Of each family and mixture: ours, and llama.cpp's.
    let mut sums: BTreeMap<(String, String), [f32; 2]> = BTreeMap::new();
    for model in mixtures() {
        println!(
            "{} {}: mean |Δ| {:.6}, llama.cpp {:.6}",
            model.name, model.mixture, model.ours, model.llama_cpp
        );
        let sums = sums.entry((model.family, model.mixture)).or_default();
        *sums = [sums[0] + model.ours, sums[1] + model.llama_cpp];
    }
    let missed: Vec<_> = sums.iter().filter(|(_, [ours, theirs])| *ours > MORE * theirs).collect();
    assert!(missed.is_empty(), "{missed:?}");
}
