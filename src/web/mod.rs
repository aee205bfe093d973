//! The surface that the package's worker calls: the only Rust that knows JavaScript.
//!
//! Options and answers cross as JSON, tokens and vectors as typed arrays, errors as plain objects
//! `{ code, message, details }`. `pkg/src/worker/binding.ts` has the types.

mod answer;
#[cfg(feature = "bench")]
mod ceilings;
mod engine;
mod form;
mod helper;
#[cfg(feature = "bench")]
mod kernels;
mod loader;
mod slice;

pub use engine::Engine;

use crate::error::Error;
use js_sys::{Object, Reflect};
use sha2::Digest;
use wasm_bindgen::prelude::*;

#[wasm_bindgen(start)]
fn start() {
    console_error_panic_hook::set_once();
}

/// An incremental SHA-256, which the platform's own `crypto.subtle` is not.
#[wasm_bindgen]
#[derive(Default)]
pub struct Sha256(sha2::Sha256);

#[wasm_bindgen]
impl Sha256 {
    #[wasm_bindgen(constructor)]
    pub fn new() -> Self {
        Self::default()
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The digest of what was taken so far, in lower-case hexadecimal digits.
    pub fn hex(&self) -> String {
        self.0.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

type JsResult<T> = Result<T, JsValue>;

/// Setting a property of a plain object cannot fail, so the outcome of `Reflect::set` is not looked at.
impl From<Error> for JsValue {
    fn from(error: Error) -> Self {
        let details = Object::new();
        let set = |key: &str, value: Option<JsValue>| {
            if let Some(value) = value {
                let _ = Reflect::set(&details, &key.into(), &value);
            }
        };
        set("offset", error.offset.map(|offset| (offset as f64).into()));
        set("tensor", error.tensor.as_ref().map(|tensor| tensor.into()));
        set("key", error.key.as_ref().map(|key| key.into()));
        let object = Object::new();
        let _ = Reflect::set(&object, &"code".into(), &error.code.as_str().into());
        let _ = Reflect::set(&object, &"message".into(), &error.to_string().into());
        let _ = Reflect::set(&object, &"details".into(), &details);
        object.into()
    }
}
