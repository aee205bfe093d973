//! Activations that are multiplied as exactly on both devices: then their answers are the same.

mod support;

use std::rc::Rc;
use support::gpu::open_lavapipe;
use support::models::fixture;
use support::scores::score_in_steps;
use wisplm::cpu::Activations;
use wisplm::gpu::{Features, Gpu, Tile, Tuning};
use wisplm::loader::{Loader, Model};

const NONE: Features = Features { f16: false, subgroup: 0, packed_dot: false };
const ALL: Features = Features { f16: true, subgroup: 8, packed_dot: true };

/// Tokens that are taken at a time: tiles, few rows, one.
const STEPS: [usize; 3] = [100, 7, 1];

fn load(name: &str, gpu: Option<&Rc<Gpu>>, activations: Activations) -> Model {
    let loader = Loader::new(1, None, None).with_activations(activations);
    let mut loader = match gpu {
        Some(gpu) => loader.on(gpu),
        None => loader,
    };
    let bytes = std::fs::read(fixture(&format!("tiny/{name}.gguf"))).unwrap();
    bytes.chunks(65_536).for_each(|chunk| loader.push(chunk).unwrap());
    loader.finish().unwrap()
}

/// A program's kernels, and those of cards that have nothing or everything, and would take bytes for prompts.
fn gpus() -> Vec<(&'static str, Rc<Gpu>)> {
    let card = |features| {
        let gpu = open_lavapipe();
        gpu.shape_for_cards();
        gpu.use_only(features);
        gpu.tune(Tuning { tile: Some(Tile::Packed), ..Tuning::default() });
        gpu
    };
    vec![("program", open_lavapipe()), ("plain card", card(NONE)), ("full card", card(ALL))]
}

fn apart(a: &[f32], b: &[f32]) -> f32 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum::<f32>() / a.len() as f32
}

#[test]
fn answers_of_both_devices_are_the_same() {
    let gpus = gpus();
    let text: Vec<u32> = (0..48).map(|k| 5 + (k * k * 7 + k * 31) % 240).collect();
    for name in ["gemma3-0-Q4_K_M", "gemma4-0-Q4_K_M", "qwen3-0-Q4_K_M", "llama-wide-Q4_K_M"] {
        let score = |gpu, activations, step| score_in_steps(&mut load(name, gpu, activations), &text, step);
        // Two terms, of which the second tells what the first one leaves.
        let exact = score(None, Activations::Full, 100);
        for step in STEPS {
            // Bits do not depend on how a text is cut.
            assert_eq!(score(None, Activations::Full, step), exact, "{name}, {step} at a time");
        }
        for (gpu_name, gpu) in &gpus {
            for step in STEPS {
                let got = |activations| score(Some(gpu), activations, step);
                let full = apart(&got(Activations::Full), &exact);
                let by_default = apart(&got(Activations::Auto), &score(None, Activations::Auto, step));
                println!("{name}, {gpu_name}, {step} at a time: {full:.6}, by default {by_default:.6}");
                assert!(full <= SAME, "{name}, {gpu_name}, {step} at a time: {full}");
            }
        }
    }
}

/// Mean |Δ log-probability|; of it the rounding to 8 bits alone makes 0.014, and 0.048 of the sharp scores of Gemma 4.
const SAME: f32 = 2e-3;
