//! Runs Binaryen's `wasm-opt`, a development dependency of the npm package.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::root;
use crate::variant::Variant;

/// What rustc uses in every variant.
const FEATURES: &[&str] = &[
    "--enable-bulk-memory",
    "--enable-bulk-memory-opt",
    "--enable-multivalue",
    "--enable-mutable-globals",
    "--enable-nontrapping-float-to-int",
    "--enable-reference-types",
    "--enable-sign-ext",
    "--enable-simd",
];

/// Optimizes a module in place.
pub fn run(module: &Path, variant: &Variant) -> Result<()> {
    let program = root().join("pkg/node_modules/binaryen/bin/wasm-opt");
    if !program.exists() {
        bail!("wasm-opt is not installed: run `make setup`, or `npm ci` in pkg/");
    }
    eprintln!("optimizing {}", variant.name);
    let output = module.with_extension("opt");
    let status = Command::new("node")
        .arg(&program)
        .args(["-O3", "--strip-debug", "--strip-producers", "--strip-target-features"])
        .args(FEATURES)
        .args(variant.optimizer_features)
        .arg(module)
        .arg("-o")
        .arg(&output)
        .status()
        .context("cannot start node")?;
    if !status.success() {
        bail!("wasm-opt fails on {}", module.display());
    }
    Ok(std::fs::rename(output, module)?)
}
