//! Tiny models in the mixtures of formats that llama.cpp makes of them: no further from float32 on the same, decoded
//! weights than native llama.cpp is (`tests/fixtures/scripts/quantized.py`).

mod support;

use support::mixtures::mixtures;

/// How much further a model may be: means of rounding errors are themselves off by some percent.
const MORE: f32 = 1.1;

#[test]
fn mixtures_are_no_further_from_float32_than_llama_cpp_is() {
    let mut missed = vec![];
    for model in mixtures() {
        let line = format!(
            "{} {}: mean |Δ| {:.6}, llama.cpp {:.6}, {:.3}",
            model.name,
            model.mixture,
            model.ours,
            model.llama_cpp,
            model.ours / model.llama_cpp
        );
        println!("{line}");
        if model.ours > MORE * model.llama_cpp {
            missed.push(line);
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
}
