//! Answers: what they begin with, and whose they are.

use super::JsResult;
use super::engine::{Engine, Run, clock};
use super::form::has_begun;
use crate::chat::{self, Clock, Conversation, Gone, Overflow, Reply};
use crate::error::{Error, Result};
use crate::loader::Model;
use crate::runtime::{Generation, Kept, Options, Saving};
use serde::{Deserialize, Serialize};
use wasm_bindgen::prelude::*;

/// What an answer begins with.
#[derive(Default)]
pub(super) struct Asked {
    pub tokens: Vec<u32>,
    pub reply: Reply,
    /// Where later prompts may part from this one.
    pub points: Vec<usize>,
    pub owner: Option<u32>,
    /// The tokens that stay where others slide, if they do.
    pub slides: Option<usize>,
    pub gone: Gone,
}

/// What is known of an answer that has begun.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Begun {
    prompt_tokens: usize,
    cached_tokens: usize,
    /// Of a session's conversation.
    gone: Gone,
}

#[wasm_bindgen]
impl Engine {
    /// The same in a session, which begins with its first answer. Of a conversation that outgrows the context, what
    /// `overflow` says is left out, beside what is `gone` already, as JSON.
    pub fn send(
        &mut self,
        session: u32,
        conversation: &str,
        answered: &[u32],
        options: &str,
        overflow: &str,
        gone: &str,
    ) -> JsResult<String> {
        self.cancel();
        let conversation = Conversation::from_json(conversation)?;
        let options = Options::from_json(options)?;
        let overflow: Overflow = read("overflow", overflow)?;
        let gone: Gone = read("gone", gone)?;
        let Model { templates, tokenizer, executor, .. } = &self.model;
        let (context, answer) =
            (executor.plan().context_length, options.max_tokens.map(|most| most as usize));
        let clock = clock();
        let mut fitted =
            chat::fit(templates, tokenizer, &conversation, clock, overflow, gone, context, answer)?;
        let rest = conversation.without_messages(fitted.gone.messages);
        let mut points = self.partings(Some(&rest), &fitted.prompt.tokens, clock);
        fitted.cut(&mut points);
        let tokens = fitted.prompt.tokens;
        let slides = (overflow == Overflow::Slide).then_some(fitted.head);
        let reply = fitted.prompt.reply;
        let asked = Asked { tokens, reply, points, owner: Some(session), slides, gone: fitted.gone };
        Ok(self.answer(asked, answered, &options)?)
    }

    /// Has a session begin where another one is.
    #[wasm_bindgen(js_name = cloneSession)]
    pub fn clone_session(&mut self, session: u32, clone: u32) -> JsResult<()> {
        self.cancel();
        if let Some(kept) = self.sessions.get(&session) {
            let fork = kept.fork(&mut self.model.executor)?;
            self.sessions.insert(clone, fork);
        }
        Ok(())
    }

    /// Begins to save what a session has.
    #[wasm_bindgen(js_name = saveSession)]
    pub fn save_session(&mut self, session: u32) {
        self.cancel();
        self.run = Some(Run::Saving(session, Saving::default()));
    }

    /// The bytes of a session that is saved.
    #[wasm_bindgen(js_name = takeSaved)]
    pub fn take_saved(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.saved)
    }

    /// Has a session begin where one was saved, of the same model and layout.
    #[wasm_bindgen(js_name = restoreSession)]
    pub fn restore_session(&mut self, session: u32, bytes: &[u8]) -> JsResult<()> {
        self.cancel();
        let kept = Kept::restore(&mut self.model.executor, bytes)?;
        self.sessions.insert(session, kept);
        Ok(())
    }

    /// Frees what a session has.
    #[wasm_bindgen(js_name = closeSession)]
    pub fn close_session(&mut self, session: u32) {
        self.sessions.remove(&session);
        self.model.executor.release();
    }
}

impl Engine {
    /// Where a run over a prompt is forked, for prompts that part from it. Only sequences that cannot go back have to be:
    /// those with windows at the prompt's end, from where they go back over a step; those with states where the prompts
    /// of its conversation part, before its last message and before the answer, which templates show otherwise later.
    pub(super) fn partings(
        &self,
        conversation: Option<&Conversation>,
        prompt: &[u32],
        clock: Clock,
    ) -> Vec<usize> {
        let Model { executor, templates, tokenizer, .. } = &self.model;
        if executor.goes_back() {
            return vec![];
        }
        if executor.plan().states.is_empty() {
            return vec![prompt.len()];
        }
        let Some(conversation) = conversation else {
            // The same prompt again, or one with another end: a token is always left to compute.
            return prompt.len().checked_sub(1).into_iter().collect();
        };
        let all = conversation.messages.len();
        let shared = |count| chat::shared(templates, tokenizer, conversation, count, prompt, clock);
        let mut points: Vec<usize> = (all.saturating_sub(1).max(1)..=all).map(shared).collect();
        points.sort_unstable();
        points.dedup();
        points.retain(|point| (1..prompt.len()).contains(point));
        points
    }

    pub(super) fn answer(&mut self, asked: Asked, answered: &[u32], options: &Options) -> Result<String> {
        let Asked { tokens, mut reply, points, owner, slides, gone } = asked;
        let Model { executor, tokenizer, .. } = &mut self.model;
        // The worker draws a seed where the caller gives none.
        let mut generation = Generation::new(executor, tokenizer, &tokens, options, 0)?;
        let kept = match owner {
            None => &mut self.kept,
            Some(session) => self.sessions.entry(session).or_insert_with(|| Kept::new(executor)),
        };
        generation = generation.after(kept.begin(executor, &tokens)?).forked_at(points);
        if let Some(head) = slides {
            generation = generation.sliding(head, options);
        }
        // What was told before is not told again.
        generation.follow(tokenizer, answered, |token, text| drop(reply.push_token(tokenizer, token, text)));
        self.onset = options.formed;
        generation.set_formed(has_begun(self.onset, &reply));
        let begun = Begun { prompt_tokens: tokens.len(), cached_tokens: generation.usage().cached, gone };
        self.reply = reply;
        self.owner = owner;
        self.run = Some(Run::Generation(Box::new(generation)));
        serde_json::to_string(&begun).map_err(|error| Error::internal(error.to_string()))
    }
}

/// An option of the worker's.
fn read<'a, T: Deserialize<'a>>(option: &str, json: &'a str) -> Result<T> {
    serde_json::from_str(json).map_err(|error| Error::invalid_argument(format!("{option}: {error}")))
}
