//! Loading, from the worker's side.

use super::engine::now;
use super::{Engine, JsResult};
use crate::cpu::{Activations, KvType};
use crate::error::Error;
use crate::gpu;
use crate::loader;
use crate::selftest;
use js_sys::Uint8Array;
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
    #[serde(default)]
    activations: Activations,
    /// Of the adapters, whose files follow.
    #[serde(default)]
    adapters: Vec<f32>,
    /// A model that the GPU cannot run goes to the CPU.
    #[serde(default)]
    or_cpu: bool,
}

/// What the worker knows of a GPU.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Known {
    /// Whether the device has subgroups.
    subgroups: bool,
    /// What `Loader.tune` has found on this adapter.
    tuning: Option<String>,
}

/// An open WebGPU device.
#[wasm_bindgen]
pub struct Gpu(Rc<gpu::Gpu>);

#[wasm_bindgen]
impl Gpu {
    /// Opens the fastest adapter that there is, and sees whether it computes what it should.
    pub async fn open(known: String) -> JsResult<Gpu> {
        let Known { subgroups, tuning } = serde_json::from_str(&known)
            .map_err(|error| Error::invalid_argument(format!("known: {error}")))?;
        let gpu = gpu::Gpu::open_with(subgroups).await?;
        if let Some(tuning) = tuning {
            gpu.tune(gpu::Tuning::parse(&tuning));
        }
        selftest::check(&gpu).await?;
        Ok(Gpu(gpu))
    }

    /// What kernels use of what not every adapter has, by WebGPU's names.
    pub fn features(&self) -> Vec<String> {
        self.0.features().names().into_iter().map(str::to_owned).collect()
    }
}

/// Takes the bytes of a model's files, in order.
#[wasm_bindgen]
pub struct Loader {
    loader: loader::Loader,
    /// Where JavaScript puts the next bytes.
    room: Vec<u8>,
}

#[wasm_bindgen]
impl Loader {
    /// A loader for the CPU, or for a GPU.
    #[wasm_bindgen(constructor)]
    pub fn new(options: &str, gpu: Option<Gpu>) -> JsResult<Loader> {
        let options: Options = serde_json::from_str(options)
            .map_err(|error| Error::invalid_argument(format!("options: {error}")))?;
        let loader = loader::Loader::new(options.files, None, options.context_length);
        let loader = loader
            .with_kv_type(options.kv_type)
            .with_activations(options.activations)
            .with_adapters(&options.adapters);
        let loader = match gpu {
            Some(Gpu(gpu)) if options.or_cpu => loader.on(&gpu).or_on_cpu(),
            Some(Gpu(gpu)) => loader.on(&gpu),
            None => loader,
        };
        Ok(Loader { loader, room: Vec::new() })
    }

    /// Room for the next `bytes` bytes of the file, in the engine's own memory: a file can be read into it without a
    /// copy. It is gone with the next call of the engine, which may move its memory.
    pub fn room(&mut self, bytes: usize) -> JsResult<Uint8Array> {
        if self.room.len() < bytes {
            let more = bytes - self.room.len();
            let reserved = self.room.try_reserve_exact(more);
            reserved.map_err(|_| Error::out_of_memory("no memory left to read the model's file"))?;
            self.room.resize(bytes, 0);
        }
        // SAFETY: the pointer is to `bytes` bytes that stay where they are until `room` grows.
        Ok(unsafe { Uint8Array::view_mut_raw(self.room.as_mut_ptr(), bytes) })
    }

    /// Takes the next bytes of the file: the first `bytes` of the room.
    pub fn push(&mut self, bytes: usize) -> JsResult<()> {
        let Some(chunk) = self.room.get(..bytes) else {
            return Err(Error::internal("more bytes were pushed than there was room for").into());
        };
        Ok(self.loader.push(chunk)?)
    }

    #[wasm_bindgen(js_name = nextFile)]
    pub fn next_file(&mut self) -> JsResult<()> {
        Ok(self.loader.next_file(None)?)
    }

    /// Bytes of the current file, once its header is read.
    #[wasm_bindgen(js_name = expectedBytes)]
    pub fn expected_bytes(&self) -> Option<f64> {
        self.loader.expected_bytes().map(|bytes| bytes as f64)
    }

    /// Finds the fastest shapes of kernels, once all bytes are there; answers what to keep if they were not known.
    pub async fn tune(&self) -> JsResult<Option<String>> {
        Ok(self.loader.tune(now).await?)
    }

    pub fn finish(self) -> JsResult<Engine> {
        Ok(Engine::new(self.loader.finish()?)?)
    }
}
