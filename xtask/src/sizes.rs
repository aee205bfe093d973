//! What a page downloads: each file as it is, and compressed as servers do.

use std::io::Write;

use anyhow::Result;
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::bindings::{GLUE, MODULE};
use crate::build::Profile;
use crate::package;
use crate::variant::Variant;

/// Prints the table; the compressed columns, which take a while, only of what will be packaged.
pub fn print(variants: &[&Variant], profile: Profile) -> Result<()> {
    println!("{:<32} {:>12} {:>12} {:>12}", "bytes", "raw", "gzip -9", "brotli -11");
    for (index, variant) in variants.iter().enumerate() {
        let known = variants[..index].iter().any(|earlier| earlier.has_glue_of(variant));
        let files = if known { &[MODULE][..] } else { &[GLUE, MODULE] };
        for file in files {
            let bytes = std::fs::read(package(variant).join(file))?;
            let name = format!("{}/{file}", variant.name);
            match profile {
                Profile::Dev => println!("{name:<32} {:>12}", bytes.len()),
                Profile::Release => {
                    println!("{name:<32} {:>12} {:>12} {:>12}", bytes.len(), gzip(&bytes)?, brotli(&bytes)?);
                }
            }
        }
    }
    Ok(())
}

fn gzip(bytes: &[u8]) -> Result<usize> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes)?;
    Ok(encoder.finish()?.len())
}

fn brotli(mut bytes: &[u8]) -> Result<usize> {
    let parameters = brotli::enc::BrotliEncoderParams { quality: 11, lgwin: 22, ..Default::default() };
    Ok(brotli::BrotliCompress(&mut bytes, &mut std::io::sink(), &parameters)?)
}
