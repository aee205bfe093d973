//! The model files that tests run on.

use std::path::PathBuf;

/// The path of a model file that `make models` has fetched.
pub fn path(file: &str) -> PathBuf {
    let folder = std::env::var_os("WISPLM_MODELS").map(PathBuf::from).unwrap_or_else(|| {
        PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache/wisplm/models")
    });
    let path = folder.join(file);
    assert!(path.is_file(), "{} is missing: run make models", path.display());
    path
}
