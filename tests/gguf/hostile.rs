//! Files that are not as they should be: each is refused with `invalid-model` and the place of the fault.

use wisplm::error::{Code, Error};
use wisplm::gguf::{FileReader, TensorType, Value};

use super::sound::sample;
use super::support::gguf_writer::{GgufWriter, write_string};
use super::{Collector, read};

/// Where in the file an error should point.
enum At {
    Byte(u64),
    /// This many bytes after the start of the first occurrence of these bytes.
    After(&'static str, i64),
    End,
}
use At::{After, Byte, End};

/// An unsound file and the error that it should give.
struct Case {
    name: &'static str,
    file: Vec<u8>,
    at: At,
    tensor: Option<&'static str>,
    key: Option<&'static str>,
    words: &'static str,
}

impl Case {
    fn new(name: &'static str, file: Vec<u8>, at: At, words: &'static str) -> Case {
        Case { name, file, at, tensor: None, key: None, words }
    }

    fn tensor(mut self, name: &'static str) -> Case {
        self.tensor = Some(name);
        self
    }

    fn key(mut self, key: &'static str) -> Case {
        self.key = Some(key);
        self
    }

    fn check(&self, error: &Error, how: &str) {
        let name = self.name;
        let offset = match self.at {
            Byte(offset) => offset,
            End => self.file.len() as u64,
            After(needle, distance) => {
                let needle = needle.as_bytes();
                let start = self.file.windows(needle.len()).position(|window| window == needle).unwrap();
                start.checked_add_signed(distance as isize).unwrap() as u64
            }
        };
        assert_eq!(error.code, Code::InvalidModel, "{name}, {how}: {error}");
        assert_eq!(error.offset, Some(offset), "{name}, {how}: {error}");
        assert_eq!(error.tensor.as_deref(), self.tensor, "{name}, {how}: {error}");
        assert_eq!(error.key.as_deref(), self.key, "{name}, {how}: {error}");
        assert!(error.message.contains(self.words), "{name}, {how}: {error}");
    }
}

/// A file with one entry in its index and no bytes for it.
fn entry(name: &[u8], dims: &[u64], type_id: u32, offset: u64) -> Vec<u8> {
    GgufWriter::new().entry(name, dims, type_id, offset).file()
}

fn key(key: &str, kind: u32, value: &[u8]) -> Vec<u8> {
    GgufWriter::new().raw_key(key.as_bytes(), kind, value).file()
}

/// The head of an array: kind of elements and count.
fn array(kind: u32, count: u64, elements: &[u8]) -> Vec<u8> {
    [&kind.to_le_bytes()[..], &count.to_le_bytes(), elements].concat()
}

/// Not models at all.
fn impostors() -> Vec<Case> {
    let version = |version: u32| GgufWriter::new().version(version).file();
    vec![
        Case::new("empty", vec![], Byte(0), "truncated"),
        Case::new("page", b"<!DOCTYPE html><title>404</title>".to_vec(), Byte(0), "web page"),
        Case::new("page after a line", b"\n<html>".to_vec(), Byte(0), "web page"),
        Case::new("JSON", b"{\"error\":\"Invalid username\"}".to_vec(), Byte(0), "JSON"),
        Case::new("pointer", b"version https://git-lfs.github.com/spec/v1".to_vec(), Byte(0), "LFS"),
        Case::new("magic", b"GGUG\x03\0\0\0".to_vec(), Byte(0), "\"GGUG\""),
        Case::new("swapped magic", b"FUGG\0\0\0\x03".to_vec(), Byte(0), "big-endian"),
        Case::new("swapped version", version(3 << 24), Byte(4), "big-endian"),
        Case::new("version 0", version(0), Byte(4), "version 0"),
        Case::new("version 1", version(1), Byte(4), "version 1"),
        Case::new("version 4", version(4), Byte(4), "version 4"),
    ]
}

/// Counts and lengths that no file keeps.
fn promises() -> Vec<Case> {
    let tensors = |count| GgufWriter::new().claim_tensors(count).file();
    let keys = |count| GgufWriter::new().claim_keys(count).file();
    let mut long_key = GgufWriter::new().claim_keys(1).header();
    long_key.extend(65536u64.to_le_bytes());
    let mut endless_name = GgufWriter::new().claim_tensors(1).header();
    endless_name.extend(u64::MAX.to_le_bytes());
    vec![
        Case::new("2^60 tensors", tensors(1 << 60), Byte(8), "tensors"),
        Case::new("all tensors", tensors(u64::MAX), Byte(8), "tensors"),
        Case::new("2^60 keys", keys(1 << 60), Byte(16), "keys"),
        Case::new(
            "a tensor that is not there",
            GgufWriter::new().claim_tensors(1).header(),
            End,
            "truncated",
        ),
        Case::new("a key that is not there", GgufWriter::new().claim_keys(1).header(), End, "truncated"),
        Case::new("long key", long_key, Byte(24), "65536"),
        Case::new("endless name", endless_name, Byte(24), "name"),
        Case::new("empty key", key("", 4, &[0; 4]), Byte(24), "0 bytes"),
        Case::new("endless string", key("big", 8, &(1u64 << 60).to_le_bytes()), After("big", 7), "too large")
            .key("big"),
        Case::new("long string", key("big", 8, b"\0\0\0\x01\0\0\0\0few"), End, "truncated").key("big"),
        Case::new("endless array", key("big", 9, &array(4, 1 << 60, b"")), After("big", 11), "too large")
            .key("big"),
        Case::new(
            "overflowing array",
            key("big", 9, &array(10, 1 << 62, b"")),
            After("big", 11),
            "too large",
        )
        .key("big"),
        Case::new("endless list", key("big", 9, &array(8, 1 << 40, b"")), After("big", 11), "too large")
            .key("big"),
        Case::new("short array", key("big", 9, &array(6, 1000, b"1234")), End, "truncated").key("big"),
        Case::new(
            "endless element",
            key("big", 9, &array(8, 1, &u64::MAX.to_le_bytes())),
            After("big", 19),
            "too large",
        )
        .key("big"),
        Case::new("many inner arrays", key("big", 9, &array(9, 1 << 20, b"")), After("big", 11), "nested")
            .key("big"),
    ]
}

/// Metadata that is wrong in itself.
fn metadata() -> Vec<Case> {
    let twice =
        |a: Value, b: Value| GgufWriter::new().key("once", a).key("other", b.clone()).key("once", b).file();
    let deep = array(9, 1, &array(9, 1, &array(9, 1, b"")));
    let align = |value: Value| GgufWriter::new().key("general.alignment", value).file();
    let unaligned = |value: Value| {
        let name = "general.alignment";
        Case::new(name, align(value), After(name, -8), "alignment").key(name)
    };
    vec![
        Case::new("kind 13", key("odd", 13, b""), After("odd", 3), "13").key("odd"),
        Case::new("kind of elements", key("odd", 9, &array(99, 1, b"")), After("odd", 7), "99").key("odd"),
        Case::new("boolean", key("odd", 7, b"\x02"), After("odd", 7), "boolean").key("odd"),
        Case::new("boolean of many", key("odd", 9, &array(7, 3, b"\x01\0\x07")), After("odd", 21), "boolean")
            .key("odd"),
        Case::new("depth", key("odd", 9, &deep), After("odd", 35), "nested").key("odd"),
        Case::new("twice", twice(Value::U8(1), Value::U8(2)), After("other", 18 - 8), "twice").key("once"),
        Case::new(
            "key of other bytes",
            GgufWriter::new().raw_key(b"\xff\xfe", 0, b"\0").file(),
            Byte(24),
            "\\xff\\xfe",
        ),
        unaligned(Value::U32(0)),
        unaligned(Value::U32(48)),
        unaligned(Value::I32(-32)),
        unaligned(Value::U64(1 << 40)),
        unaligned(Value::String("32".into())),
    ]
}

/// Tensors that are wrong in themselves, or against each other.
fn tensors() -> Vec<Case> {
    const F32: u32 = TensorType::F32.id();
    const Q4_K: u32 = TensorType::Q4_K.id();
    let one = |words, file, distance| Case::new(words, file, After("bad", distance), words).tensor("bad");
    let pair = |a: (&[u8], u64), b: (&[u8], u64)| {
        GgufWriter::new().entry(a.0, &[16], F32, a.1).entry(b.0, &[16], F32, b.1).data(&[0; 256]).file()
    };
    let mut unpadded = GgufWriter::new().entry(b"tensor", &[1], F32, 0).header();
    unpadded.push(0);
    vec![
        one("0 dimensions", entry(b"bad", &[], F32, 0), 3),
        one("5 dimensions", entry(b"bad", &[1; 5], F32, 0), 3),
        one("dimension is 0", entry(b"bad", &[4, 0], F32, 0), 15),
        one("too large", entry(b"bad", &[1 << 32, 1 << 32], F32, 0), 23),
        one("too large", entry(b"bad", &[1 << 63], F32, 0), 15),
        one("row of 1000", entry(b"bad", &[1000, 256], Q4_K, 0), 23),
        one("type numbered 4", entry(b"bad", &[32], 4, 0), 15),
        one("type numbered 4294967295", entry(b"bad", &[32], u32::MAX, 0), 15),
        one("offset 8", entry(b"bad", &[1], F32, 8), 19),
        one("2^64", entry(b"bad", &[1], F32, u64::MAX - 31), -8),
        one("2^64", entry(b"bad", &[1 << 61], F32, 1 << 63), -8),
        // The second entry follows 24 bytes after the name of the first.
        one("same name", pair((b"bad", 64), (b"bad", 0)), 27),
        one("before good ends", pair((b"good", 0), (b"bad", 32)), -8),
        one("before good ends", pair((b"bad", 32), (b"good", 0)), -8),
        Case::new("name", entry(b"a\xff", &[1], F32, 0), Byte(24), "\\xff"),
        Case::new("no name", entry(b"", &[1], F32, 0), Byte(24), "0 bytes"),
        Case::new("padding", unpadded, End, "padding"),
        Case::new("no bytes", entry(b"tensor", &[1], F32, 0), End, "truncated").tensor("tensor"),
        Case::new("far away", entry(b"tensor", &[1], F32, 1 << 40), End, "truncated").tensor("tensor"),
    ]
}

#[test]
fn every_fault_is_told_with_its_place() {
    for case in [impostors(), promises(), metadata(), tensors()].into_iter().flatten() {
        for chunk in [usize::MAX, 1, 3] {
            let error = read(&case.file, chunk).expect_err(case.name);
            case.check(&error, &format!("chunks of {chunk}"));
        }
    }
}

#[test]
fn a_file_may_end_nowhere_before_its_end() {
    let file = sample().file();
    let header = read(&file, usize::MAX).unwrap().0;
    for length in 0..file.len() {
        for chunk in [usize::MAX, 1] {
            let error = read(&file[..length], chunk).expect_err("a truncated file is refused");
            assert_eq!(error.code, Code::InvalidModel, "{length}: {error}");
            assert_eq!(error.offset, Some(length as u64), "{length}: {error}");
            assert!(error.message.contains("truncated"), "{length}: {error}");
            if length as u64 >= header.data_start {
                let tensor = header.tensors.iter().find(|tensor| tensor.end() > length as u64).unwrap();
                assert_eq!(error.tensor.as_ref(), Some(&tensor.name), "{length}: {error}");
            }
        }
    }
}

#[test]
fn any_byte_may_be_wrong() {
    let file = sample().file();
    for index in 0..file.len() {
        for flip in [1, 0x80, 0xff] {
            let mut file = file.clone();
            file[index] ^= flip;
            // Some flips make another sound file; chunks must not make a difference either way.
            let whole = read(&file, usize::MAX);
            // Compared as text, since a flip may make a NaN.
            assert_eq!(format!("{:?}", read(&file, 5)), format!("{whole:?}"), "byte {index} ^ {flip}");
            if let Err(error) = whole {
                assert_eq!(error.code, Code::InvalidModel, "byte {index} ^ {flip}: {error}");
                assert!(error.offset.is_some(), "byte {index} ^ {flip}: {error}");
            }
        }
    }
}

#[test]
fn a_known_size_tells_early() {
    let file = sample().file();
    let size = file.len() as u64;
    let outcome = |size: u64| FileReader::with_file_bytes(Some(size)).push(&file, &mut Collector::default());
    assert_eq!(outcome(size), Ok(()));
    let error = outcome(size - 1).unwrap_err();
    assert_eq!((error.code, error.tensor.as_deref()), (Code::InvalidModel, Some("last")));
    assert!(error.message.contains(&format!("a file of {} bytes", size - 1)), "{error}");

    // 300 bytes of string in a file of 100.
    let mut string = Vec::new();
    write_string(&mut string, &[b'x'; 300]);
    let file = key("long", 8, &string);
    let error =
        FileReader::with_file_bytes(Some(100)).push(&file[..60], &mut Collector::default()).unwrap_err();
    assert_eq!((error.key.as_deref(), error.offset), (Some("long"), Some(40)), "{error}");
}

#[test]
fn an_error_is_final() {
    let mut reader = FileReader::new();
    let mut collector = Collector::default();
    let error = reader.push(b"<html>", &mut collector).unwrap_err();
    assert_eq!(reader.push(&sample().file(), &mut collector), Err(error.clone()));
    assert_eq!(reader.finish(), Err(error));
    assert!(reader.header().is_none());
    assert_eq!(collector.headers, 0);
}
