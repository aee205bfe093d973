//! Answers that have a form: what the worker, who follows it, says of the tokens to come.

use super::JsResult;
use super::engine::{Engine, Run};
use super::slice::{decoded, no_run};
use crate::chat::{self, Conversation, Parts, Reply};
use crate::loader::Model;
use crate::runtime::Onset;
use serde_json::{Value, json};
use wasm_bindgen::prelude::*;

#[wasm_bindgen]
impl Engine {
    /// The form of the tool calls in an answer to a conversation, as JSON: its `grammar`, and `begins`, which is when it
    /// does, as options take it. None if they have none. An answer that is `led` has a form of its own beside it.
    #[wasm_bindgen(js_name = callForm)]
    pub fn call_form(&self, conversation: &str, led: bool) -> JsResult<Option<String>> {
        let Model { templates, tokenizer, .. } = &self.model;
        let form = chat::form(templates, tokenizer, &Conversation::from_json(conversation)?, led)?;
        Ok(form.map(|(grammar, onset)| json!({ "grammar": grammar, "begins": onset }).to_string()))
    }

    /// Goes on by tokens that the form of the answer prescribes: what they add to it.
    pub fn force(&mut self, tokens: &[u32]) -> JsResult<String> {
        let Some(Run::Generation(generation)) = &mut self.run else { return Err(no_run().into()) };
        let (mut taken, mut shown) = (Vec::new(), Parts::default());
        generation.follow(&self.model.tokenizer, tokens, |token, text| {
            taken.push(token);
            shown += self.reply.push_token(&self.model.tokenizer, token, text);
        });
        let mut slice = decoded(shown, taken, &[]);
        self.led(&mut slice, &[]);
        Ok(slice.to_string())
    }

    /// Says what the next token may be: bit `t % 32` of word `t / 32` for token `t`. Where the model may reason first, it
    /// may also begin with that.
    pub fn allow(&mut self, mut tokens: Vec<u32>) -> JsResult<()> {
        let opener = self.reply.opener(&self.model.tokenizer);
        let Some(Run::Generation(generation)) = &mut self.run else { return Err(no_run().into()) };
        if let Some(opener) = opener {
            permit(&mut tokens, opener);
        }
        Ok(generation.allow(&tokens)?)
    }

    /// Ends the answer, whose form is complete.
    pub fn complete(&mut self) -> JsResult<()> {
        let Some(Run::Generation(generation)) = &mut self.run else { return Err(no_run().into()) };
        generation.complete();
        Ok(())
    }

    /// The bytes of all tokens, for following answers that have a form: one token after the other. A control token is
    /// the byte 255 and its name, which no text spells.
    #[wasm_bindgen(js_name = tokenBytes)]
    pub fn token_bytes(&self) -> Vec<u8> {
        self.words().flatten().collect()
    }

    /// How many bytes each of them has.
    #[wasm_bindgen(js_name = tokenLengths)]
    pub fn token_lengths(&self) -> Vec<u32> {
        self.words().map(|word| word.len() as u32).collect()
    }

    /// The tokens that end an answer.
    #[wasm_bindgen(js_name = endTokens)]
    pub fn end_tokens(&self) -> Vec<u32> {
        let tokenizer = &self.model.tokenizer;
        (0..tokenizer.vocab_size() as u32).filter(|token| tokenizer.is_end(*token)).collect()
    }

    /// The tokens of a text that stands within another.
    #[wasm_bindgen(js_name = tokenizeWithin)]
    pub fn tokenize_within(&self, text: &str) -> JsResult<Vec<u32>> {
        Ok(self.model.tokenizer.encode_within(text)?)
    }
}

impl Engine {
    /// Says in a slice what the worker needs to know to lead the answer on: whether the next token waits for it, which
    /// tokens of the slice have the form, and whether the model may reason first.
    pub(super) fn led(&self, slice: &mut Value, formed: &[u32]) {
        let awaits = matches!(&self.run, Some(Run::Generation(generation)) if generation.awaits_permit());
        slice["awaitsPermit"] = awaits.into();
        slice["formed"] = formed.into();
        slice["mayReason"] = self.reply.opener(&self.model.tokenizer).is_some().into();
    }

    /// The tokens, as those who follow an answer's form want them.
    fn words(&self) -> impl Iterator<Item = Vec<u8>> {
        let tokenizer = &self.model.tokenizer;
        (0..tokenizer.vocab_size() as u32).map(|token| {
            let name = tokenizer.token_text(token).filter(|_| tokenizer.is_control(token));
            let control = name.map(|name| [&[u8::MAX], name.as_bytes()].concat());
            control.or_else(|| tokenizer.token_bytes(token)).unwrap_or_default()
        })
    }
}

/// Whether the form of an answer has begun.
pub(super) fn has_begun(onset: Option<Onset>, reply: &Reply) -> bool {
    match onset {
        None => false,
        Some(Onset::Answer) => !reply.is_reasoning() && reply.opening().is_none(),
        Some(Onset::Calls) => reply.is_calling(),
    }
}

/// Sets the bit of a token.
pub(super) fn permit(tokens: &mut [u32], token: u32) {
    if let Some(word) = tokens.get_mut(token as usize / 32) {
        *word |= 1 << (token % 32);
    }
}
