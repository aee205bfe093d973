//! Any bytes at all, read as a model file: no panic, an error that says where, and the same outcome whatever
//! the chunks.
#![no_main]

// The room and what it stands on, taken in as source: the whole crate would be built under the sanitizer, with
// all that it depends on.
#[allow(dead_code)]
#[path = "../../src/error.rs"]
mod error;
#[allow(dead_code, unused_imports)]
#[path = "../../src/gguf/mod.rs"]
mod gguf;

use error::{Code, Error, Result};
use gguf::{FileReader, Header, Parts, Sink};
use libfuzzer_sys::fuzz_target;

/// Checks what the reader hands on against the file.
struct Checker<'a> {
    file: &'a [u8],
    headers: usize,
    /// Bytes received of each tensor.
    received: Vec<u64>,
}

impl Sink for Checker<'_> {
    fn header(&mut self, header: &Header) -> Result<()> {
        self.headers += 1;
        self.received.resize(header.tensors.len(), 0);
        let mut end = header.data_start;
        for tensor in &header.tensors {
            assert!(tensor.offset >= end, "tensors are in order and apart");
            assert!((1..=4).contains(&tensor.dims.len()));
            assert!(tensor.dims.iter().all(|&dim| dim > 0));
            assert_eq!(tensor.kind.bytes_of(tensor.elements()), Some(tensor.bytes));
            end = tensor.offset.checked_add(tensor.bytes).expect("a tensor ends below 2^64");
        }
        assert_eq!(end, header.file_bytes);
        Ok(())
    }

    fn tensor_bytes(&mut self, header: &Header, index: usize, offset: u64, bytes: &[u8]) -> Result<()> {
        assert_eq!(offset, self.received[index], "bytes come in order");
        assert!(!bytes.is_empty());
        let start = (header.tensors[index].offset + offset) as usize;
        assert_eq!(&self.file[start..start + bytes.len()], bytes);
        self.received[index] += bytes.len() as u64;
        Ok(())
    }
}

/// Reads the file in chunks of the sizes that `next` gives.
fn read(file: &[u8], size: Option<u64>, mut next: impl FnMut() -> usize) -> Result<Header> {
    let mut checker = Checker { file, headers: 0, received: Vec::new() };
    let mut reader = FileReader::with_file_bytes(size);
    let mut outcome = Ok(());
    let mut rest = file;
    while !rest.is_empty() && outcome.is_ok() {
        let (chunk, after) = rest.split_at(next().min(rest.len()));
        rest = after;
        outcome = reader.push(chunk, &mut checker);
    }
    let outcome = outcome.and_then(|()| reader.finish());
    assert_eq!(reader.finish(), outcome);
    if let Err(error) = outcome {
        check_error(&error, file.len());
        return Err(error);
    }
    let header = reader.into_header().expect("a complete file has a header");
    assert_eq!(checker.headers, 1);
    for (tensor, received) in header.tensors.iter().zip(checker.received) {
        assert_eq!(tensor.bytes, received);
    }
    assert!(header.file_bytes <= file.len() as u64, "no tensor is outside the file");
    Ok(header)
}

fn check_error(error: &Error, file_bytes: usize) {
    assert_eq!(error.code, Code::InvalidModel, "{error}");
    assert!(error.offset.is_some_and(|offset| offset <= file_bytes as u64), "{error}");
}

/// Chunk sizes from the file's own bytes, so that the fuzzer chooses them too.
fn sizes(file: &[u8]) -> impl FnMut() -> usize {
    let mut state = file
        .iter()
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3));
    move || {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        1 + (state >> 33) as usize % 64
    }
}

fuzz_target!(|file: &[u8]| {
    let whole = read(file, None, || usize::MAX);
    // Compared as text, since values may be NaN.
    let text = format!("{whole:?}");
    assert_eq!(format!("{:?}", read(file, None, || 1)), text);
    assert_eq!(format!("{:?}", read(file, None, sizes(file))), text);
    // To know the size makes an error come earlier, and nothing else.
    let sized = read(file, Some(file.len() as u64), sizes(file));
    assert_eq!(sized.is_ok(), whole.is_ok());
    if let Ok(header) = whole {
        assert_eq!(format!("{:?}", Ok::<_, Error>(sized.unwrap())), text);
        let mut parts = Parts::new(2);
        if parts.push(&header).is_ok() {
            assert!(parts.push(&header).is_err(), "a part comes once");
        }
    }
});
