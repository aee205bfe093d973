//! The model files that tests run on, and their answers.

use serde_json::Value;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use wisplm::cpu::KvType;
use wisplm::error::Result;
use wisplm::gguf::{Metadata, Parser};
use wisplm::gpu::Gpu;
use wisplm::loader::{Loader, Model};

/// The path of a model file that `make models` has fetched.
pub fn path(file: &str) -> PathBuf {
    let folder = std::env::var_os("WISPLM_MODELS").map(PathBuf::from).unwrap_or_else(|| {
        PathBuf::from(std::env::var_os("HOME").expect("HOME is set")).join(".cache/wisplm/models")
    });
    let path = folder.join(file);
    assert!(path.is_file(), "{} is missing: run make models", path.display());
    path
}

/// The metadata of a model file, of which no more than the header is read.
pub fn metadata(path: &Path) -> Metadata {
    let mut file =
        File::open(path).unwrap_or_else(|error| panic!("{}: {error}: run `make models`", path.display()));
    let mut parser = Parser::new();
    let mut chunk = vec![0; 1 << 20];
    while parser.header().is_none() {
        let read = file.read(&mut chunk).unwrap();
        assert!(read > 0, "{} ends within its header", path.display());
        parser.push(&chunk[..read]).unwrap();
    }
    parser.into_header().unwrap().metadata
}

/// A file under `tests/fixtures`.
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// The answers that stand beside a model.
pub fn json(name: &str) -> Value {
    let text = std::fs::read(fixture(name)).expect("the fixture is there");
    serde_json::from_slice(&text).expect("the fixture is JSON")
}

/// Numbers of a JSON array, `null` as NaN.
pub fn numbers(value: &Value) -> Vec<f32> {
    let array = value.as_array().expect("an array");
    array.iter().map(|x| x.as_f64().unwrap_or(f64::NAN) as f32).collect()
}

/// Token ids of a JSON array.
pub fn tokens(value: &Value) -> Vec<u32> {
    value.as_array().expect("an array").iter().map(|x| x.as_u64().expect("an id") as u32).collect()
}

/// Loads a model whose bytes are all there.
pub fn load(bytes: &[u8], chunk: usize) -> Result<Model> {
    let mut loader = Loader::new(1, None, None);
    for chunk in bytes.chunks(chunk) {
        loader.push(chunk)?;
    }
    loader.finish()
}

/// A model under `tests/fixtures`.
pub fn load_fixture(name: &str) -> Model {
    let bytes = std::fs::read(fixture(name)).expect("the fixture is there");
    load(&bytes, 65_536).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// A model under `tests/fixtures`, on a GPU.
pub fn load_fixture_on(gpu: &Rc<Gpu>, name: &str) -> Model {
    load_fixture_with(gpu, name, KvType::F16)
}

/// The same with keys and values of some type.
pub fn load_fixture_with(gpu: &Rc<Gpu>, name: &str, kv_type: KvType) -> Model {
    let bytes = std::fs::read(fixture(name)).expect("the fixture is there");
    let mut loader = Loader::new(1, None, None).on(gpu).with_kv_type(kv_type);
    let pushed = bytes.chunks(65_536).try_for_each(|chunk| loader.push(chunk));
    pushed.and_then(|()| loader.finish()).unwrap_or_else(|error| panic!("{name}: {error}"))
}
