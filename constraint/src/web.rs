//! The surface that the package's worker calls. `pkg/src/worker/constraint.ts` has the types.

use crate::{Error, Format, Matcher, Tokenize, Vocabulary};
use js_sys::{Function, Object, Reflect, Uint32Array};
use send_wrapper::SendWrapper;
use wasm_bindgen::prelude::*;

type JsResult<T> = std::result::Result<T, JsValue>;

#[wasm_bindgen(start)]
fn start() {
    console_error_panic_hook::set_once();
}

/// The engine's tokenizer.
struct Engine(SendWrapper<Function>);

impl Tokenize for Engine {
    fn tokens(&self, text: &str) -> Vec<u32> {
        let tokens = self.0.call1(&JsValue::UNDEFINED, &text.into());
        // Where the engine cannot say, nothing is forced: the model then writes what has to come token by token.
        tokens.map_or_else(|_| Vec::new(), |tokens| Uint32Array::from(tokens).to_vec())
    }
}

/// The tokens of a model.
#[wasm_bindgen]
pub struct Tokens(Vocabulary);

#[wasm_bindgen]
impl Tokens {
    /// `bytes` are those of all tokens, one after the other, and `lengths` how many each has; `ends` are the tokens that
    /// end an answer, and `tokenize` splits a text that stands within another.
    #[wasm_bindgen(constructor)]
    pub fn new(bytes: &[u8], lengths: &[u32], ends: &[u32], tokenize: Function) -> JsResult<Tokens> {
        let mut rest = bytes;
        let mut words = Vec::with_capacity(lengths.len());
        for length in lengths {
            let Some((word, left)) = rest.split_at_checked(*length as usize) else {
                return Err(Error::invalid("the tokens have fewer bytes than their lengths say").into());
            };
            words.push(word.to_vec());
            rest = left;
        }
        Ok(Tokens(Vocabulary::new(&words, ends, Box::new(Engine(SendWrapper::new(tokenize))))?))
    }

    /// Gets ready to follow an answer whose form is given as JSON.
    pub fn compile(&self, format: &str) -> JsResult<Follower> {
        Ok(Follower(self.0.compile(Format::from_json(format)?)?))
    }
}

/// An answer in progress.
#[wasm_bindgen]
pub struct Follower(Matcher);

#[wasm_bindgen]
impl Follower {
    /// The tokens that may come next, a bit each.
    pub fn mask(&mut self) -> JsResult<Vec<u32>> {
        Ok(self.0.mask()?)
    }

    /// Tokens that come next whatever the model would choose.
    pub fn force(&mut self) -> JsResult<Vec<u32>> {
        Ok(self.0.force()?)
    }

    /// Goes on by tokens of the answer.
    pub fn take(&mut self, tokens: &[u32]) -> JsResult<()> {
        Ok(self.0.take(tokens)?)
    }

    #[wasm_bindgen(js_name = isFinished)]
    pub fn is_finished(&self) -> bool {
        self.0.is_finished()
    }
}

/// Setting a property of a plain object cannot fail, so the outcome of `Reflect::set` is not looked at.
impl From<Error> for JsValue {
    fn from(error: Error) -> Self {
        let object = Object::new();
        let _ = Reflect::set(&object, &"code".into(), &error.code.as_str().into());
        let _ = Reflect::set(&object, &"message".into(), &error.message.into());
        object.into()
    }
}
