//! Model files: sound ones read the same whatever the chunks, unsound ones give an error that says where.

#[path = "../support/mod.rs"]
mod support;

mod hostile;
mod models;
mod parts;
mod sound;

use wisplm::error::Result;
use wisplm::gguf::{FileReader, Header, Sink};

/// Collects all that a reader hands on.
#[derive(Default)]
struct Collector {
    headers: usize,
    tensors: Vec<Vec<u8>>,
}

impl Sink for Collector {
    fn header(&mut self, header: &Header) -> Result<()> {
        self.headers += 1;
        self.tensors.resize(header.tensors.len(), Vec::new());
        Ok(())
    }

    fn tensor_bytes(&mut self, _: &Header, index: usize, offset: u64, bytes: &[u8]) -> Result<()> {
        assert!(!bytes.is_empty());
        assert_eq!(offset, self.tensors[index].len() as u64, "bytes come in order");
        self.tensors[index].extend(bytes);
        Ok(())
    }
}

/// Reads a file in chunks of `chunk` bytes: its header and each tensor's bytes.
fn read(file: &[u8], chunk: usize) -> Result<(Header, Vec<Vec<u8>>)> {
    let mut reader = FileReader::new();
    let mut collector = Collector::default();
    for chunk in file.chunks(chunk) {
        reader.push(chunk, &mut collector)?;
    }
    reader.finish()?;
    let header = reader.into_header().expect("a complete file has a header");
    assert_eq!(collector.headers, 1);
    Ok((header, collector.tensors))
}
