//! Compiles a crate, and the standard library with it, for one variant.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::compiler::Compiler;
use crate::root;
use crate::variant::Variant;

/// Debian's compiler has no ready-made standard library for this target, and one for shared memory exists nowhere.
const BUILD_STD: &str = "-Zbuild-std=std,panic_abort";
const TARGET: &str = "wasm32-unknown-unknown";

#[derive(Clone, Copy, PartialEq)]
pub enum Profile {
    Dev,
    Release,
}

impl Profile {
    /// The profile's name in `Cargo.toml`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Dev => "wasm-dev",
            Self::Release => "wasm",
        }
    }
}

/// Builds the module, with some of its crate's features, and returns where it lies.
pub fn module(
    compiler: &Compiler,
    variant: &Variant,
    profile: Profile,
    features: &[&str],
) -> Result<PathBuf> {
    // With remapped paths among the flags, cargo gives the files of all builds the same names: a folder for those with
    // shared memory and one for the others. Within one, only our own crate differs from variant to variant (what
    // `cargo rustc` is for), so that the standard library and all dependencies are compiled twice and not four times,
    // which saves ten minutes of a core.
    let folder = root().join(if variant.shared { "target/wasm-shared" } else { "target/wasm-alone" });
    let status = compiler
        .cargo()
        .current_dir(root())
        .args([
            "rustc",
            "--locked",
            "--package",
            variant.package,
            "--lib",
            "--target",
            TARGET,
            BUILD_STD,
            "--profile",
            profile.name(),
        ])
        .args(["--features", &features.join(","), "--target-dir"])
        .arg(&folder)
        .args(["--", &format!("-Ctarget-feature={}", variant.own_features)])
        .env("CARGO_ENCODED_RUSTFLAGS", flags(compiler, variant)?.join("\x1f"))
        .status()
        .with_context(|| format!("cannot start {}", compiler.cargo.display()))?;
    if !status.success() {
        bail!("the variant {:?} does not compile", variant.name);
    }
    Ok(folder.join(TARGET).join(profile.name()).join(format!("{}.wasm", variant.package.replace('-', "_"))))
}

fn flags(compiler: &Compiler, variant: &Variant) -> Result<Vec<String>> {
    let mut flags = vec![format!("-Ctarget-feature={}", variant.target_features)];
    flags.extend(variant.link_arguments.iter().map(|argument| format!("-Clink-arg={argument}")));
    flags.extend(remapped_paths(compiler)?);
    Ok(flags)
}

/// Panic messages name source files: as seen from the repository, the crate or the library, not from this machine,
/// so that the same source gives the same module everywhere.
fn remapped_paths(compiler: &Compiler) -> Result<Vec<String>> {
    let cargo_home = match std::env::var_os("CARGO_HOME") {
        Some(folder) => PathBuf::from(folder),
        None => std::env::home_dir().context("neither HOME nor CARGO_HOME is set")?.join(".cargo"),
    };
    let library = compiler.sysroot.join("lib/rustlib/src/rust");
    let mut paths = vec![(root().to_owned(), "wisplm")];
    // Each registry has a folder of its own for its crates.
    if let Ok(registries) = cargo_home.join("registry/src").read_dir() {
        paths.extend(registries.flatten().map(|registry| (registry.path(), "crates")));
    }
    // Cargo passes the library's path as the sysroot gives it, rustc may have followed a link.
    paths.extend(library.canonicalize().ok().map(|path| (path, "rust")));
    paths.push((library, "rust"));
    Ok(paths.iter().map(|(path, name)| format!("--remap-path-prefix={}={name}", path.display())).collect())
}
