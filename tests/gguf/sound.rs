//! Files that are as they should be.

use std::time::{Duration, Instant};

use wisplm::error::{Code, Error, Result};
use wisplm::gguf::{Array, FileReader, Header, Parser, Sink, TensorStream, TensorType, Value};

use super::read;
use super::support::gguf_writer::GgufWriter;

/// A file with every kind of value and several kinds of tensor; its index is not in the order of the bytes.
pub fn sample() -> GgufWriter {
    let mut writer = GgufWriter::new();
    for (key, value) in values() {
        writer.key(key, value);
    }
    let bytes = |count: u8| (0..count).collect::<Vec<u8>>();
    writer.tensor("first", &[3, 2], TensorType::F32, &bytes(24));
    writer.tensor("second", &[32, 1, 2], TensorType::Q8_0, &bytes(68));
    // The third in the index, the fourth in the file.
    writer.entry(b"last", &[64], TensorType::NVFP4.id(), 192);
    writer.tensor("third", &[5], TensorType::I8, &bytes(5));
    writer.data(&[0; 59]).data(&bytes(36));
    writer
}

fn values() -> Vec<(&'static str, Value)> {
    let strings = |list: &[&str]| Array::Strings(list.iter().collect());
    vec![
        ("general.architecture", Value::String("sample".into())),
        ("u8", Value::U8(200)),
        ("i8", Value::I8(-100)),
        ("u16", Value::U16(60000)),
        ("i16", Value::I16(-30000)),
        ("u32", Value::U32(4_000_000_000)),
        ("i32", Value::I32(-2_000_000_000)),
        ("f32", Value::F32(-1.5)),
        ("bool", Value::Bool(true)),
        ("u64", Value::U64(u64::MAX)),
        ("i64", Value::I64(i64::MIN)),
        ("f64", Value::F64(1e300)),
        ("empty", Value::String(String::new())),
        ("emoji", Value::String("né 🦀".into())),
        ("u8s", Value::Array(Array::U8(vec![1, 2, 3]))),
        ("i8s", Value::Array(Array::I8(vec![-1]))),
        ("u16s", Value::Array(Array::U16(vec![1, 0xffff]))),
        ("i16s", Value::Array(Array::I16(vec![-2, 2]))),
        ("u32s", Value::Array(Array::U32((0..100).collect()))),
        ("i32s", Value::Array(Array::I32(vec![i32::MIN]))),
        ("f32s", Value::Array(Array::F32(vec![0.5, f32::INFINITY]))),
        ("bools", Value::Array(Array::Bool(vec![true, false, true]))),
        ("u64s", Value::Array(Array::U64(vec![u64::MAX, 1]))),
        ("i64s", Value::Array(Array::I64(vec![-1]))),
        ("f64s", Value::Array(Array::F64(vec![]))),
        ("strings", Value::Array(strings(&["a", "", "ß", "a longer one"]))),
        (
            "nested",
            Value::Array(Array::Nested(vec![
                Array::Nested(vec![]),
                Array::Nested(vec![strings(&["x"]), Array::U8(vec![])]),
                Array::F32(vec![1.0]),
            ])),
        ),
    ]
}

#[test]
fn every_kind_of_value_comes_back() {
    let (header, _) = read(&sample().file(), usize::MAX).unwrap();
    assert_eq!(header.version, 3);
    for (key, value) in values() {
        assert_eq!(header.metadata.get(key), Some(&value), "{key}");
    }
    let keys: Vec<_> = header.metadata.iter().map(|(key, _)| key).collect();
    assert_eq!(keys, values().iter().map(|(key, _)| *key).collect::<Vec<_>>());
}

#[test]
fn tensors_come_in_the_order_of_their_bytes() {
    let file = sample().file();
    let (header, tensors) = read(&file, usize::MAX).unwrap();
    let names: Vec<_> = header.tensors.iter().map(|tensor| tensor.name.as_str()).collect();
    assert_eq!(names, ["first", "second", "third", "last"]);
    assert_eq!(header.file_bytes, file.len() as u64);
    assert_eq!(header.data_start % 32, 0);
    for (tensor, bytes) in header.tensors.iter().zip(&tensors) {
        assert_eq!(tensor.bytes, bytes.len() as u64);
        assert_eq!(&file[tensor.offset as usize..tensor.end() as usize], bytes);
    }
    let second = &header.tensors[1];
    assert_eq!((second.cols(), second.rows(), second.elements()), (32, 2, 64));
}

#[test]
fn chunks_of_any_size_make_no_difference() {
    let file = sample().file();
    let whole = read(&file, usize::MAX).unwrap();
    for chunk in [1, 2, 3, 7, 4096] {
        assert_eq!(read(&file, chunk).unwrap(), whole, "chunks of {chunk}");
    }
}

#[test]
fn version_2_is_laid_out_alike() {
    let (header, tensors) = read(&sample().version(2).file(), 7).unwrap();
    let (expected, bytes) = read(&sample().file(), 7).unwrap();
    assert_eq!((header.version, header.tensors, tensors), (2, expected.tensors, bytes));
}

#[test]
fn the_alignment_is_the_files_own() {
    for alignment in [1, 8, 4096] {
        let mut writer = GgufWriter::new();
        writer.align(alignment);
        writer.tensor("a", &[3], TensorType::I8, &[1, 2, 3]);
        writer.tensor("b", &[1], TensorType::I8, &[4]);
        let (header, tensors) = read(&writer.file(), 5).unwrap();
        assert_eq!(header.data_start % u64::from(alignment), 0);
        assert_eq!(tensors, [vec![1, 2, 3], vec![4]]);
    }
}

#[test]
fn a_file_without_tensors_needs_no_padding() {
    let mut writer = GgufWriter::new();
    writer.key("general.architecture", Value::String("vocabulary".into()));
    let file = writer.header();
    let (header, tensors) = read(&file, 3).unwrap();
    assert_eq!((header.data_start, header.file_bytes), (file.len() as u64, file.len() as u64));
    assert!(tensors.is_empty());
}

#[test]
fn what_follows_the_last_tensor_is_passed_over() {
    let mut file = sample().file();
    let expected = read(&file, 64).unwrap();
    file.extend([0xaa; 100]);
    assert_eq!(read(&file, 64).unwrap(), expected);
}

#[test]
fn broken_utf8_is_replaced_in_values() {
    let mut writer = GgufWriter::new();
    writer.raw_key(b"text", 8, b"\x03\0\0\0\0\0\0\0a\xff!");
    for chunk in [1, 100] {
        let (header, _) = read(&writer.file(), chunk).unwrap();
        assert_eq!(header.metadata.str("text"), Some("a\u{fffd}!"));
    }
}

#[test]
fn parser_and_stream_can_be_used_apart() {
    let file = sample().file();
    let mut parser = Parser::new();
    let used = parser.push(&file).unwrap();
    assert_eq!(used as u64, parser.header_bytes_seen());
    assert_eq!(parser.push(&file[used..]), Ok(0), "nothing more is the header's");
    let header = parser.into_header().unwrap();
    assert_eq!(used as u64, header.data_start);
    let mut stream = TensorStream::new(&header).unwrap();
    let mut sum = 0;
    let mut count = |_: usize, _: u64, bytes: &[u8]| {
        sum += bytes.len() as u64;
        Ok(())
    };
    stream.push(&file[used..], &mut count).unwrap();
    stream.finish().unwrap();
    assert_eq!(sum, header.tensors.iter().map(|tensor| tensor.bytes).sum::<u64>());
    assert_eq!(stream.position(), file.len() as u64);
}

#[test]
fn a_sinks_error_ends_the_reading() {
    struct Refusing;
    impl Sink for Refusing {
        fn header(&mut self, _: &Header) -> Result<()> {
            Err(Error::unsupported_model("not this one"))
        }
        fn tensor_bytes(&mut self, _: &Header, _: usize, _: u64, _: &[u8]) -> Result<()> {
            unreachable!("the header was refused")
        }
    }
    let mut reader = FileReader::new();
    let error = reader.push(&sample().file(), &mut Refusing).unwrap_err();
    assert_eq!(error.code, Code::UnsupportedModel);
    assert_eq!(reader.push(b"more", &mut Refusing), Err(error.clone()));
    assert_eq!(reader.finish(), Err(error));
}

/// A header of 10 MB, a byte at a time: 0.2 s here. A parser that starts over with each chunk would take days;
/// the bound leaves room for slow machines and builds.
#[test]
fn time_is_linear_in_the_bytes() {
    let tokens = Array::Strings((0..600_000).map(|i| format!("token{i:04x}")).collect());
    let mut writer = GgufWriter::new();
    writer.key("tokenizer.ggml.tokens", Value::Array(tokens));
    let file = writer.file();
    assert!(file.len() > 10_000_000);
    let start = Instant::now();
    let (header, _) = read(&file, 1).unwrap();
    let time = start.elapsed();
    println!("{} bytes one at a time: {time:?}", file.len());
    assert_eq!(header.metadata.strings("tokenizer.ggml.tokens").unwrap().len(), 600_000);
    assert!(time < Duration::from_secs(10), "{time:?}");
}

/// The fuzzer's seeds are sound files, and stay so.
#[test]
fn seeds_of_the_fuzzer_can_be_read() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/seeds/gguf");
    let mut count = 0;
    for seed in std::fs::read_dir(folder).unwrap() {
        let path = seed.unwrap().path();
        let file = std::fs::read(&path).unwrap();
        let whole = read(&file, usize::MAX).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert_eq!(read(&file, 1).unwrap(), whole);
        count += 1;
    }
    assert!(count > 0);
}
