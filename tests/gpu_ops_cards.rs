//! The same in the shapes for cards, on lavapipe: without what WebGPU does not promise, and with all of it. Kernels of ops
//! that stand alone have one form, which is tried with all of it.
//!
//! Shapes for a program are not tried here: lavapipe leaves a thread after 65,535 passes of its loops, which one that
//! has a row of 250 keys of 256 values for itself takes. SwiftShader does not.

mod support;

use std::rc::Rc;
use support::attention_cases::{self as attention, alone, decoders, encoders};
use support::gpu::{ALL, NONE, card};
use support::{op_cases as ops, product_cases as products, recurrence_cases as recurrence};
use wisplm::gpu::Gpu;

/// What forms of attention, and of what products are put together with, depend on: threads that exchange values. Floats of
/// 16 bits and the packed dot are for tiles of products (`gpu_forms.rs`).
fn cards() -> [Rc<Gpu>; 2] {
    [card(NONE), card(ALL)]
}

#[test]
fn ops_alone_are_their_oracles() {
    let gpu = card(ALL);
    ops::norms(&gpu);
    ops::rotations(&gpu);
    ops::elementwise(&gpu);
    ops::embeddings(&gpu);
    ops::parts(&gpu);
    ops::means(&gpu);
    recurrence::convolutions(&gpu);
    recurrence::delta_rules(&gpu);
}

#[test]
fn products_are_put_together_with_what_stands_beside() {
    cards().iter().for_each(|gpu| products::products(gpu, &products::SMALL, &[1, 3]));
}

#[test]
fn attention_is_candles() {
    // Each case is some pipelines, of which lavapipe compiles few a second.
    for (gpu, step) in cards().into_iter().zip([3, 1]) {
        decoders().iter().step_by(step).for_each(|case| attention::decode(&gpu, case, usize::MAX));
    }
}

/// Several workgroups take a share each, of few keys and of many.
#[test]
fn shared_keys_are_put_together() {
    let gpu = card(ALL);
    let long = 20;
    gpu.share_keys(long);
    decoders().iter().for_each(|case| attention::decode(&gpu, case, long));
    decoders().iter().step_by(5).for_each(|case| attention::decode_several(&gpu, case));
}

#[test]
fn sequences_of_a_step_have_their_own_keys() {
    for gpu in cards() {
        decoders().iter().step_by(4).for_each(|case| attention::decode_several(&gpu, case));
    }
}

#[test]
fn layers_may_read_the_keys_of_another() {
    let gpu = card(ALL);
    alone().iter().for_each(|case| attention::decode_shared(&gpu, case));
}

#[test]
fn encoders_see_what_comes_after() {
    for gpu in cards() {
        encoders().iter().for_each(|case| attention::encode(&gpu, case));
    }
}
