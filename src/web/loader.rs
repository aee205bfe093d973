//! Loading, from the worker's side.

use super::{Engine, JsResult};
use crate::cpu::KvType;
use crate::error::Error;
use crate::loader;
use serde::Deserialize;
use wasm_bindgen::prelude::*;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Options {
    /// Files of the model.
    files: usize,
    context_length: Option<usize>,
    #[serde(default)]
    kv_type: KvType,
}

/// Takes the bytes of a model's files, in order.
#[wasm_bindgen]
pub struct Loader(loader::Loader);

#[wasm_bindgen]
impl Loader {
    #[wasm_bindgen(constructor)]
    pub fn new(options: &str) -> JsResult<Loader> {
        let options: Options = serde_json::from_str(options)
            .map_err(|error| Error::invalid_argument(format!("options: {error}")))?;
        let loader = loader::Loader::new(options.files, None, options.context_length);
        Ok(Loader(loader.with_kv_type(options.kv_type)))
    }

    pub fn push(&mut self, chunk: &[u8]) -> JsResult<()> {
        Ok(self.0.push(chunk)?)
    }

    #[wasm_bindgen(js_name = nextFile)]
    pub fn next_file(&mut self) -> JsResult<()> {
        Ok(self.0.next_file(None)?)
    }

    /// Bytes of the current file, once its header is read.
    #[wasm_bindgen(js_name = expectedBytes)]
    pub fn expected_bytes(&self) -> Option<f64> {
        self.0.expected_bytes().map(|bytes| bytes as f64)
    }

    pub fn finish(self) -> JsResult<Engine> {
        Ok(Engine::new(self.0.finish()?)?)
    }
}
