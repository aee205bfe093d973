//! The first bytes of a file, and what it is if it is not a model: the commonest mistakes are to be told by
//! name, since the author of a page sees no more of the file than our message.

use crate::error::{Error, Result};

/// Version 1 had 32-bit counts and left no files behind; 2 and 3 are laid out alike.
const VERSIONS: std::ops::RangeInclusive<u32> = 2..=3;

/// First bytes of what arrives in a model's place.
const LOOKALIKES: [(&[u8], &str); 12] = [
    (b"FUGG", "it is a big-endian model file; only little-endian ones are read"),
    (b"<", "it looks like a web page, perhaps an error page of the server"),
    (b"{", "it looks like JSON, perhaps an error message of the server"),
    (b"vers", "it looks like a Git LFS pointer; the model itself has to be fetched from LFS"),
    (b"lmgg", "it is a GGML file, the forerunner of GGUF; convert the model anew"),
    (b"tjgg", "it is a GGJT file, a forerunner of GGUF; convert the model anew"),
    (b"fmgg", "it is a GGMF file, a forerunner of GGUF; convert the model anew"),
    (b"PK\x03\x04", "it is a zip archive (PyTorch weights are); it has to be converted to GGUF"),
    (b"\x1f\x8b", "it is compressed with gzip; unpack it first"),
    (b"\x28\xb5\x2f\xfd", "it is compressed with zstd; unpack it first"),
    (b"\x89HDF", "it is an HDF5 file; it has to be converted to GGUF"),
    (b"Entr", "it looks like an error message of the server"),
];

/// Checks the first four bytes.
pub(super) fn check_magic(bytes: [u8; 4]) -> Result<()> {
    if bytes == *b"GGUF" {
        return Ok(());
    }
    // Web pages often start with a byte order mark or empty lines.
    let start = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&bytes).trim_ascii_start();
    let reason = match LOOKALIKES.iter().find(|(prefix, _)| start.starts_with(prefix)) {
        Some((_, reason)) => (*reason).to_owned(),
        None => format!("it starts with \"{}\" instead of \"GGUF\"", bytes.escape_ascii()),
    };
    Err(Error::invalid_model(format!("the file is not a GGUF model: {reason}")).at(0))
}

/// Checks the version that follows the magic.
pub(super) fn check_version(version: u32) -> Result<()> {
    if VERSIONS.contains(&version) {
        return Ok(());
    }
    let message = if VERSIONS.contains(&version.swap_bytes()) {
        "the file is a big-endian model file; only little-endian ones are read".to_owned()
    } else {
        format!("GGUF version {version} is not supported, versions 2 and 3 are")
    };
    Err(Error::invalid_model(message).at(4))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_a_model_is_named() {
        for (bytes, word) in [
            (b"<!DO", "web page"),
            (b"\r\n <", "web page"),
            (b"\xef\xbb\xbf<", "web page"),
            (b"{\"er", "JSON"),
            (b"vers", "LFS"),
            (b"FUGG", "big-endian"),
            (b"\x1f\x8b\x08\x00", "gzip"),
            (b"\0\x01\x02\x03", "\\x00\\x01"),
            (b"gguf", "\"gguf\""),
        ] {
            let error = check_magic(*bytes).unwrap_err();
            assert!(error.message.contains(word), "{error}");
            assert_eq!(error.offset, Some(0));
        }
        assert_eq!(check_magic(*b"GGUF"), Ok(()));
    }

    #[test]
    fn two_versions_are_read() {
        assert_eq!((check_version(2), check_version(3)), (Ok(()), Ok(())));
        assert!(check_version(1).unwrap_err().message.contains("version 1"));
        assert!(check_version(4).unwrap_err().message.contains("version 4"));
        assert!(check_version(3 << 24).unwrap_err().message.contains("big-endian"));
    }
}
