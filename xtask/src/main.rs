//! The build of the WebAssembly modules: `cargo xtask wasm`.

mod bindings;
mod build;
mod compiler;
mod opcodes;
mod optimizer;
mod sizes;
mod variant;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};

use build::Profile;
use compiler::Compiler;
use variant::Variant;

const USAGE: &str = "\
cargo xtask wasm [--release] [--variant NAME|all]   build the modules and their JS glue into target/pkg/NAME/
    --release    whole-program optimization, names stripped, then wasm-opt; sizes are printed
cargo xtask bench [--variant NAME|all]              build the kernels' micro-benchmarks into target/pkg/bench-NAME/
cargo xtask compiler                                print the compiler that builds for wasm32, or how to get one";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        // In one line: a backtrace of the build tool helps nobody.
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        ["wasm", options @ ..] => wasm(options),
        ["bench", options @ ..] => bench(options),
        ["compiler"] => {
            println!("{}", Compiler::find()?);
            Ok(())
        }
        _ => bail!("usage:\n{USAGE}"),
    }
}

/// The profile and variants that options ask for.
fn choice(mut options: &[&str]) -> Result<(Profile, Vec<&'static Variant>)> {
    let mut profile = Profile::Dev;
    let mut variants: Vec<&Variant> = variant::ALL.iter().collect();
    while let Some((option, rest)) = options.split_first() {
        options = match (*option, rest) {
            ("--release", _) => {
                profile = Profile::Release;
                rest
            }
            ("--variant", ["all", rest @ ..]) => rest,
            ("--variant", [name, rest @ ..]) => {
                variants = vec![variant::named(name)?];
                rest
            }
            _ => bail!("unknown option {option:?}\n{USAGE}"),
        };
    }
    Ok((profile, variants))
}

fn wasm(options: &[&str]) -> Result<()> {
    let (profile, variants) = choice(options)?;
    let compiler = Compiler::find()?;
    eprintln!("compiler: {compiler}");
    for variant in &variants {
        eprintln!("building {} ({})", variant.name, profile.name());
        let module = build::module(&compiler, variant, profile, &[])?;
        let folder = package(variant);
        bindings::generate(&module, &folder, variant, profile)?;
        if profile == Profile::Release {
            optimizer::run(&folder.join(bindings::MODULE), variant)?;
        }
        opcodes::check(&folder.join(bindings::MODULE), variant)?;
    }
    bindings::check_identical(&variants)?;
    sizes::print(&variants, profile)
}

/// The kernels alone: what each does of what the tab could.
fn bench(options: &[&str]) -> Result<()> {
    let (profile, variants) = choice(options)?;
    let compiler = Compiler::find()?;
    // With threads they are the same kernels.
    let alone = |variant: &&Variant| variant.package == variant::ENGINE && !variant.shared;
    for variant in variants.into_iter().filter(alone) {
        eprintln!("building the micro-benchmarks, {}", variant.name);
        let module = build::module(&compiler, variant, profile, &["bench"])?;
        let folder = root().join("target/pkg").join(format!("bench-{}", variant.name));
        bindings::generate(&module, &folder, variant, profile)?;
    }
    Ok(())
}

/// The repository's root.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the repository")
}

/// Where a variant's finished module and glue go.
fn package(variant: &Variant) -> PathBuf {
    root().join("target/pkg").join(variant.name)
}
