//! Finds a compiler that can build the standard library for wasm32: one with its source beside it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

pub struct Compiler {
    pub rustc: PathBuf,
    pub cargo: PathBuf,
    pub sysroot: PathBuf,
    version: String,
}

impl Compiler {
    /// `WISPLM_RUSTC` (its cargo from `WISPLM_CARGO`, or beside it), a rustup nightly with `rust-src`, Debian's
    /// `rustc-web`: the first that is usable. What the variable names must be usable.
    pub fn find() -> Result<Self> {
        if let Some(rustc) = std::env::var_os("WISPLM_RUSTC").map(PathBuf::from) {
            let cargo = std::env::var_os("WISPLM_CARGO").map(PathBuf::from);
            let cargo = cargo.unwrap_or_else(|| rustc.with_file_name("cargo"));
            return Self::probe(rustc, cargo).context("the compiler that WISPLM_RUSTC names is not usable");
        }
        let mut refusals = Vec::new();
        for (place, rustc, cargo) in [
            ("rustup's nightly", rustup_nightly("rustc"), rustup_nightly("cargo")),
            ("Debian's rustc-web", Some("/usr/bin/rustc".into()), Some("/usr/bin/cargo".into())),
        ] {
            let (Some(rustc), Some(cargo)) = (rustc, cargo) else {
                refusals.push(format!("{place}: not installed"));
                continue;
            };
            match Self::probe(rustc, cargo) {
                Ok(compiler) => return Ok(compiler),
                Err(error) => refusals.push(format!("{place}: {error:#}")),
            }
        }
        bail!("no compiler that can build for wasm32 ({})\nto install one: {}", refusals.join("; "), remedy())
    }

    fn probe(rustc: PathBuf, cargo: PathBuf) -> Result<Self> {
        if !rustc.is_file() || !cargo.is_file() {
            bail!("not installed");
        }
        let version = output(&rustc, &["--version"])?;
        if release(&version) < release(env!("CARGO_PKG_RUST_VERSION")) {
            bail!("{version} is older than {}", env!("CARGO_PKG_RUST_VERSION"));
        }
        let sysroot = PathBuf::from(output(&rustc, &["--print", "sysroot"])?);
        if !sysroot.join("lib/rustlib/src/rust/library/Cargo.lock").is_file() {
            bail!("{version} has no source of the standard library");
        }
        Ok(Self { rustc, cargo, sysroot, version })
    }

    /// `cargo`, set up to use this compiler's unstable options and nobody's settings.
    pub fn cargo(&self) -> Command {
        let mut command = Command::new(&self.cargo);
        // What `cargo run`, rustup's proxies and the user's shell leave in the environment is meant for another
        // compiler or another target.
        for (name, _) in std::env::vars_os() {
            let Some(name) = name.to_str() else { continue };
            let leaks =
                ["CARGO_BUILD_", "CARGO_PROFILE_", "CARGO_TARGET_", "CARGO_UNSTABLE_", "RUSTC", "RUSTFLAGS"];
            if leaks.iter().any(|prefix| name.starts_with(prefix)) {
                command.env_remove(name);
            }
        }
        for name in ["CARGO", "CARGO_ENCODED_RUSTFLAGS", "RUSTUP_TOOLCHAIN", "LD_LIBRARY_PATH"] {
            command.env_remove(name);
        }
        command.env("RUSTC", &self.rustc).env("RUSTC_BOOTSTRAP", "1");
        command
    }
}

impl fmt::Display for Compiler {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} ({})", self.version, self.rustc.display())
    }
}

fn rustup_nightly(tool: &str) -> Option<PathBuf> {
    output(Path::new("rustup"), &["which", "--toolchain", "nightly", tool]).ok().map(PathBuf::from)
}

fn output(program: &Path, arguments: &[&str]) -> Result<String> {
    let output = Command::new(program).args(arguments).env_remove("LD_LIBRARY_PATH").output()?;
    if !output.status.success() {
        bail!("{} {} failed", program.display(), arguments.join(" "));
    }
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// The numbers of `1.96.0-nightly` in the first word that has them.
fn release(version: &str) -> Option<(u32, u32)> {
    version.split_whitespace().find_map(|word| {
        let mut numbers = word.split('.').map(|number| number.parse().ok());
        Some((numbers.next()??, numbers.next()??))
    })
}

fn remedy() -> &'static str {
    if Path::new("/etc/debian_version").exists() {
        "apt-get install rustc-web cargo-web rust-web-src rust-web-llvm libstd-rust-web-dev lld-22"
    } else {
        "rustup toolchain install nightly --component rust-src"
    }
}
