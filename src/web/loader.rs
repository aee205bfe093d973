//! Loading, from the worker's side.

use super::{Engine, JsResult};
use crate::cpu::KvType;
use crate::error::Error;
use crate::gpu;
use crate::loader;
use serde::Deserialize;
use std::rc::Rc;
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

/// An open WebGPU device.
#[wasm_bindgen]
pub struct Gpu(Rc<gpu::Gpu>);

#[wasm_bindgen]
impl Gpu {
    /// Opens the fastest adapter that there is.
    pub async fn open() -> JsResult<Gpu> {
        Ok(Gpu(gpu::Gpu::open().await?))
    }

    /// The adapter's name, as far as it tells.
    pub fn name(&self) -> String {
        self.0.name()
    }
}

/// Takes the bytes of a model's files, in order.
#[wasm_bindgen]
pub struct Loader(loader::Loader);

#[wasm_bindgen]
impl Loader {
    /// A loader for the CPU, or for a GPU.
    #[wasm_bindgen(constructor)]
    pub fn new(options: &str, gpu: Option<Gpu>) -> JsResult<Loader> {
        let options: Options = serde_json::from_str(options)
            .map_err(|error| Error::invalid_argument(format!("options: {error}")))?;
        let loader = loader::Loader::new(options.files, None, options.context_length);
        let loader = loader.with_kv_type(options.kv_type);
        Ok(Loader(match gpu {
            Some(Gpu(gpu)) => loader.on(&gpu),
            None => loader,
        }))
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
