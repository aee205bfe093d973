//! Models in several files.

use wisplm::error::{Code, Result};
use wisplm::gguf::{Header, Parts, TensorType, Value};

use super::read;
use super::support::gguf_writer::GgufWriter;

/// Part `number` (from 0) of `count`, with these tensors; the model has `total`.
fn part(number: u16, count: u16, total: i32, tensors: &[&str]) -> Header {
    let mut writer = GgufWriter::new();
    writer.key("split.no", Value::U16(number));
    writer.key("split.count", Value::U16(count));
    writer.key("split.tensors.count", Value::I32(total));
    for tensor in tensors {
        writer.tensor(tensor, &[1], TensorType::F32, &[0; 4]);
    }
    read(&writer.file(), usize::MAX).unwrap().0
}

fn check(files: &[Header]) -> Result<()> {
    let mut parts = Parts::new(files.len());
    for header in files {
        parts.push(header)?;
    }
    parts.finish()
}

#[test]
fn parts_of_one_model_pass() {
    // The first part may hold nothing but metadata.
    assert_eq!(check(&[part(0, 3, 3, &[]), part(1, 3, 3, &["a", "b"]), part(2, 3, 3, &["c"])]), Ok(()));
}

#[test]
fn a_model_that_is_not_split_passes() {
    let whole = read(&GgufWriter::new().tensor("a", &[1], TensorType::I8, &[0]).file(), 9).unwrap().0;
    assert_eq!(check(&[whole]), Ok(()));
    assert_eq!(check(&[part(0, 1, 1, &["a"])]), Ok(()));
}

#[test]
fn what_is_wrong_is_named() {
    let whole = read(&GgufWriter::new().file(), 9).unwrap().0;
    let mut odd = GgufWriter::new();
    odd.key("split.no", Value::String("one".into())).key("split.count", Value::U16(1));
    let odd = read(&odd.file(), 9).unwrap().0;
    let a = || part(0, 2, 2, &["a"]);
    let b = || part(1, 2, 2, &["b"]);
    for (files, key, tensor, words) in [
        (vec![b(), a()], Some("split.no"), None, "file 1 of 2 is part 2"),
        (vec![a(), a()], Some("split.no"), None, "file 2 of 2 is part 1"),
        (vec![a()], Some("split.count"), None, "part 1 of 2"),
        (vec![a(), b(), b()], Some("split.count"), None, "2 files, but 3"),
        (vec![whole.clone(), whole], Some("split.count"), None, "not a part"),
        (vec![odd], Some("split.no"), None, "a string"),
        (vec![a(), part(1, 2, 9, &["b"])], Some("split.tensors.count"), None, "another model"),
        (vec![part(0, 2, 3, &["a"]), part(1, 2, 3, &["b"])], Some("split.tensors.count"), None, "2 tensors"),
        (vec![a(), part(1, 2, 2, &["a"])], None, Some("a"), "file 2 of 2 has a tensor that file 1 has"),
    ] {
        let error = check(&files).unwrap_err();
        assert_eq!(error.code, Code::InvalidModel);
        assert_eq!((error.key.as_deref(), error.tensor.as_deref()), (key, tensor), "{error}");
        assert!(error.message.contains(words), "{error}");
    }
}

#[test]
fn parts_that_never_came_are_missed() {
    let mut parts = Parts::new(2);
    parts.push(&part(0, 2, 2, &["a"])).unwrap();
    let error = parts.finish().unwrap_err();
    assert!(error.message.contains("1 of 2 files"), "{error}");
}
