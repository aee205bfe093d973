//! Every kernel but the products of formats (`gpu_formats.rs`) and the choice of a token (`gpu_choice.rs`) against its
//! oracle, on the driver that Chromium has in place of a card, in the shapes for it.

mod support;

use support::attention_cases::{self as attention, alone, decoders, encoders};
use support::gpu::open;
use support::{op_cases as ops, product_cases as products, recurrence_cases as recurrence};

#[test]
fn norms_are_candles() {
    ops::norms(&open());
}

#[test]
fn rotary_embeddings_are_candles() {
    ops::rotations(&open());
}

#[test]
fn activations_gates_sums_and_factors_are_candles() {
    ops::elementwise(&open());
}

#[test]
fn embeddings_and_tables_are_looked_up() {
    ops::embeddings(&open());
}

#[test]
fn parts_are_copied() {
    ops::parts(&open());
}

#[test]
fn means_are_those_of_the_rows() {
    ops::means(&open());
}

#[test]
fn products_are_put_together_with_what_stands_beside() {
    products::products(&open(), &[products::SMALL, products::LARGE].concat(), &[1, 2, 5, 9, 16]);
}

#[test]
fn convolutions_are_the_formula() {
    recurrence::convolutions(&open());
}

#[test]
fn delta_rules_are_the_formula() {
    recurrence::delta_rules(&open());
}

#[test]
fn attention_is_candles() {
    let gpu = open();
    decoders().iter().for_each(|case| attention::decode(&gpu, case, usize::MAX));
}

#[test]
fn sequences_of_a_step_have_their_own_keys() {
    let gpu = open();
    decoders().iter().for_each(|case| attention::decode_several(&gpu, case));
}

#[test]
fn layers_may_read_the_keys_of_another() {
    let gpu = open();
    alone().iter().for_each(|case| attention::decode_shared(&gpu, case));
}

#[test]
fn encoders_see_what_comes_after() {
    let gpu = open();
    encoders().iter().for_each(|case| attention::encode(&gpu, case));
}
