//! Copies the GPU's kernels without comments and indentation: their text is part of what a page downloads (4 KB less).

use std::path::Path;
use std::{env, fs, io};

const KERNELS: &str = "src/gpu/kernels";

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed={KERNELS}");
    let out = env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("Cargo names the folder to write to"))?;
    copy(Path::new(KERNELS), out.as_ref())
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let to = to.join(path.file_name().unwrap_or_default());
        if path.is_dir() {
            copy(&path, &to)?;
        } else if path.extension().is_some_and(|extension| extension == "wgsl") {
            let text = fs::read_to_string(&path)?;
            let code = text.lines().map(|line| line.split("//").next().unwrap_or_default().trim());
            let lines: Vec<&str> = code.filter(|line| !line.is_empty()).collect();
            fs::write(to, lines.join("\n") + "\n")?;
        }
    }
    Ok(())
}
