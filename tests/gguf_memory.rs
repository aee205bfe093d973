//! Memory is taken for what has arrived, never for what a count promises.

mod support;

use support::gguf_writer::GgufWriter;
use support::memory::{Counting, HELD, PEAK};
use wisplm::gguf::{Array, Parser, Value};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most bytes held at a time while a parser reads the file, beyond those held before.
fn peak(file: &[u8], chunk: usize) -> usize {
    HELD.set(0);
    PEAK.set(0);
    let mut parser = Parser::new();
    for chunk in file.chunks(chunk) {
        if parser.push(chunk).is_err() {
            break;
        }
    }
    PEAK.get() as usize
}

/// Files of about 100 bytes that claim to be enormous, both beyond and within what a header may have.
#[test]
fn promises_take_no_memory() {
    let list = |kind: u32, count: u64| [&kind.to_le_bytes()[..], &count.to_le_bytes()].concat();
    let key = |kind, value: &[u8]| GgufWriter::new().raw_key(b"promise", kind, value).header();
    let mut inner = list(9, 60_000);
    inner.extend(list(8, 3_000_000));
    let mut files = vec![key(9, &inner)];
    for tensors in [1 << 60, 1 << 20] {
        files.push(GgufWriter::new().claim_tensors(tensors).header());
    }
    for keys in [1 << 60, 1 << 16] {
        files.push(GgufWriter::new().claim_keys(keys).header());
    }
    for length in [1u64 << 60, 200 << 20] {
        files.push(key(8, &length.to_le_bytes()));
        files.push(key(9, &list(0, length)));
        files.push(key(9, &list(8, length >> 4)));
    }
    for mut file in files {
        file.resize(100, 0);
        for chunk in [1, 100] {
            let peak = peak(&file, chunk);
            assert!(peak < 64 << 10, "{peak} bytes held for {}", file.escape_ascii());
        }
    }
}

/// A vocabulary is held once, in as many bytes as it has, plus what doubling costs while it grows.
#[test]
fn memory_is_in_proportion_to_the_bytes() {
    let tokens = Array::Strings((0..100_000).map(|i| format!("token {i}")).collect());
    let file = GgufWriter::new().key("tokens", Value::Array(tokens)).file();
    for chunk in [1, 1 << 16] {
        let peak = peak(&file, chunk);
        println!("{} bytes of header: {peak} bytes held at most", file.len());
        assert!(peak < 3 * file.len(), "{peak} bytes for {}", file.len());
    }
}
