//! llama.cpp's Vulkan path on the same weights, by `peer.mjs`.

use crate::file;
use crate::shapes::Shape;
use serde::Deserialize;
use std::path::Path;
use std::process::{Command, Stdio};
use wisplm::error::{Error, Result};
use wisplm::gguf::TensorType;

/// What `peer.mjs` tells.
#[derive(Deserialize)]
pub struct Peer {
    /// The GPU that it took.
    pub devices: String,
    /// llama.cpp's release.
    pub release: String,
    /// Tokens per second.
    pub prefill: f64,
    /// Tokens per second.
    pub decode: f64,
}

/// Has llama.cpp read `prompt` tokens and make `tokens` more, with the model in a temporary file.
pub fn measure(
    shape: &Shape,
    kind: TensorType,
    context: usize,
    prompt: usize,
    tokens: usize,
) -> Result<Peer> {
    let path = std::env::temp_dir().join(format!("bench-gpu-{}.gguf", std::process::id()));
    let peer = file::write(shape, kind, context, &path)
        .map_err(|error| Error::internal(format!("{}: {error}", path.display())))
        .and_then(|()| ask(&path, prompt, tokens));
    // Where it was not written there is nothing to remove.
    let _ = std::fs::remove_file(&path);
    peer
}

fn ask(path: &Path, prompt: usize, tokens: usize) -> Result<Peer> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("peer.mjs");
    let output = Command::new("node")
        .arg(script)
        .arg(path)
        .args([prompt.to_string(), tokens.to_string()])
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| Error::internal(format!("node: {error}")))?;
    let told = String::from_utf8_lossy(&output.stdout);
    let line = told.lines().last().filter(|_| output.status.success());
    line.and_then(|line| serde_json::from_str(line).ok())
        .ok_or_else(|| Error::internal("llama.cpp could not be measured: --peer no leaves it out"))
}
