//! Runs wasm-bindgen as a library: there is no tool to install, and its version is the lock file's.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail};
use wasm_bindgen_cli_support::Bindgen;

use crate::build::Profile;
use crate::package;
use crate::variant::{ENGINE, Variant};

pub const MODULE: &str = "wisplm_bg.wasm";
pub const GLUE: &str = "wisplm.js";

/// Writes the module and its glue into `folder`.
pub fn generate(module: &Path, folder: &Path, variant: &Variant, profile: Profile) -> Result<()> {
    let names = profile == Profile::Dev;
    Bindgen::new()
        .input_path(module)
        .out_name("wisplm")
        .web(true)?
        .typescript(true)
        // A module that a format has broken is started anew; after a trap of the engine its worker ends.
        .reset_state_function(variant.package != ENGINE)
        // The worker is told where the module lies; a default URL would have bundlers look for a second copy.
        .omit_default_module_path(true)
        .remove_name_section(!names)
        .remove_producers_section(!names)
        .generate(folder)
        .with_context(|| format!("wasm-bindgen fails on {}", module.display()))
}

/// The worker holds two glues of the engine, one for modules that share their memory and one for the others.
pub fn check_identical(variants: &[&Variant]) -> Result<()> {
    for variant in variants {
        let alike: Vec<_> = variants.iter().copied().filter(|other| other.has_glue_of(variant)).collect();
        if std::ptr::eq(alike[0], *variant) {
            check_alike(&alike)?;
        }
    }
    Ok(())
}

fn check_alike(variants: &[&Variant]) -> Result<()> {
    let Some((first, others)) = variants.split_first() else { return Ok(()) };
    let expected = code(first)?;
    for other in others {
        let found = code(other)?;
        if found == expected {
            continue;
        }
        let pairs = expected.iter().map(Some).chain([None]).zip(found.iter().map(Some).chain([None]));
        let (number, (left, right)) = pairs
            .enumerate()
            .find(|(_, (left, right))| left != right)
            .context("the glue differs in its length")?;
        bail!(
            "the glue of {} and {} differs at its line {} of code:\n  {}\n  {}",
            first.name,
            other.name,
            number + 1,
            left.map_or("(ends)", String::as_str),
            right.map_or("(ends)", String::as_str)
        );
    }
    Ok(())
}

/// The lines of a variant's glue but for comments, which name closures by their places in its own table.
fn code(variant: &Variant) -> Result<Vec<String>> {
    let text = fs::read_to_string(package(variant).join(GLUE))?;
    let is_code = |line: &&str| !line.trim_start().starts_with("//");
    Ok(text.lines().filter(is_code).map(str::to_owned).collect())
}
