//! Slices of a run: what has become of it so far, as the worker is told.

use super::engine::{Engine, Run};
use super::form::{has_begun, permit};
use crate::chat::{Parts, Reply};
use crate::error::{Error, Result};
use crate::executor::Executor;
use crate::runtime::{Finish, Generation, Kept, Likelihood, Onset, Progress};
use crate::tokenizer::Tokenizer;
use serde_json::{Value, json};

/// The logarithm of a probability that is as good as none: JSON has no infinity.
const LOWEST: f32 = -9999.0;
/// Of how many tasks of classification what their texts have in common is kept.
const MOST_TASKS: usize = 4;

impl Engine {
    pub(super) fn slice(&mut self, pause: &mut dyn FnMut() -> bool) -> Result<Value> {
        let executor = &mut self.model.executor;
        let answer = match &mut self.run {
            None => return Err(no_run()),
            Some(Run::Generation(generation)) => {
                let mut formed = Vec::new();
                let leading = (self.onset, &mut formed);
                let mut slice =
                    generate(generation, &mut self.reply, leading, executor, &self.model.tokenizer, pause)?;
                if slice["state"] == "decode" {
                    self.led(&mut slice, &formed);
                }
                slice
            }
            Some(Run::Score(score)) => match score.advance(executor, pause)? {
                false => prefill(score.progress()),
                true => json!({ "state": "finished", "logprobs": score.logprobs() }),
            },
            Some(Run::Saving(session, saving)) => {
                let nothing = Kept::new(executor);
                match saving.advance(executor, self.sessions.get(session).unwrap_or(&nothing))? {
                    None => prefill((0, 1)),
                    Some(bytes) => {
                        self.saved = bytes;
                        json!({ "state": "finished" })
                    }
                }
            }
            Some(Run::Embedding(embedding)) => match embedding.advance(executor, pause)? {
                false => prefill(embedding.progress()),
                true => {
                    self.vectors = embedding.take_vectors().concat();
                    json!({ "state": "finished" })
                }
            },
            Some(Run::Classification(classification)) => match classification.advance(executor, pause)? {
                false => prefill(classification.progress()),
                true => json!({ "state": "finished" }),
            },
        };
        if answer["state"] != "finished" {
            return Ok(answer);
        }
        match self.run.take() {
            Some(Run::Classification(classification)) => {
                let (logits, kept) = classification.finish();
                self.vectors = logits.concat();
                self.classified.retain(|other| !other.is_like(&kept));
                self.classified.truncate(MOST_TASKS - 1);
                self.classified.push_front(kept);
            }
            run => {
                self.run = run;
                self.cancel();
            }
        }
        Ok(answer)
    }
}

/// What is told of a run that has taken so many tokens, and of how many.
fn prefill((done, total): (usize, usize)) -> Value {
    json!({ "state": "prefill", "done": done, "total": total })
}

pub(super) fn no_run() -> Error {
    Error::internal("no run was begun")
}

/// Tokens until `pause` says to stop, one at least. The first ends the slice: a reader waits for it most. So does one
/// after which it has to be said what the next may be. Those that have the form, if there is one, become `formed`.
fn generate(
    generation: &mut Generation,
    reply: &mut Reply,
    (onset, formed): (Option<Onset>, &mut Vec<u32>),
    executor: &mut Executor,
    tokenizer: &Tokenizer,
    pause: &mut dyn FnMut() -> bool,
) -> Result<Value> {
    let mut tokens = Vec::new();
    let mut likelihoods = Vec::new();
    let mut shown = Parts::default();
    loop {
        match generation.advance(executor, tokenizer, pause)? {
            Progress::Prefill { done, total } if tokens.is_empty() => {
                return Ok(prefill((done, total)));
            }
            Progress::Prefill { .. } => {}
            Progress::Waiting => break,
            Progress::Token { token, text, likelihood } => {
                tokens.push(token);
                likelihoods.extend(likelihood.map(|likelihood| told(tokenizer, token, &likelihood)));
                let led = has_begun(onset, reply);
                shown += reply.push_token(tokenizer, token, &text);
                let goes_on = has_begun(onset, reply);
                generation.set_formed(goes_on);
                // The token with which the model began to reason is not part of the form.
                formed.extend((led && goes_on).then_some(token));
                if let (Some(Onset::Answer), Some(rest)) = (onset, reply.opening())
                    && let Some(next) = tokenizer.encode_within(rest)?.first()
                {
                    let mut only = vec![0; tokenizer.vocab_size().div_ceil(32)];
                    permit(&mut only, *next);
                    generation.allow(&only)?;
                }
            }
            Progress::Finished { text, finish } => {
                shown += reply.push(&text);
                shown += reply.finish(finish == Finish::Length);
                let usage = generation.usage();
                let (reason, stop) = match finish {
                    Finish::Stop(None) if reply.has_called() => ("tool-calls", None),
                    Finish::Stop(stop) => ("stop", stop),
                    Finish::Length => ("length", None),
                };
                let mut end = json!({
                    "state": "finished",
                    "text": shown.text,
                    "reasoning": shown.reasoning,
                    "toolCalls": shown.calls,
                    "tokens": tokens,
                    "likelihoods": likelihoods,
                    "finishReason": reason,
                    "usage": {
                        "promptTokens": usage.prompt,
                        "cachedTokens": usage.cached,
                        "completionTokens": usage.answer,
                    },
                    "slid": usage.slid,
                });
                if let Some(stop) = stop {
                    end["stop"] = stop.into();
                }
                return Ok(end);
            }
        }
        let first = generation.usage().answer == 1;
        if first || generation.awaits_permit() || pause() {
            break;
        }
    }
    Ok(decoded(shown, tokens, &likelihoods))
}

pub(super) fn decoded(shown: Parts, tokens: Vec<u32>, likelihoods: &[Value]) -> Value {
    json!({
        "state": "decode",
        "text": shown.text,
        "reasoning": shown.reasoning,
        "toolCalls": shown.calls,
        "tokens": tokens,
        "likelihoods": likelihoods,
    })
}

/// How likely a token was, as the page is told.
fn told(tokenizer: &Tokenizer, token: u32, Likelihood { logprob, top }: &Likelihood) -> Value {
    let named = |token: u32, logprob: f32| {
        let bytes = tokenizer.token_bytes(token).unwrap_or_default();
        // A control token has no text of its own, but a name.
        let text = match bytes.is_empty() {
            true => tokenizer.token_text(token).unwrap_or_default().into(),
            false => String::from_utf8_lossy(&bytes),
        };
        json!({ "token": token, "text": text, "logprob": logprob.max(LOWEST) })
    };
    let mut told = named(token, *logprob);
    told["top"] = top.iter().map(|(token, logprob)| named(*token, *logprob)).collect();
    told
}
