//! A loaded model, from the worker's side: one run at a time, in slices.

use super::JsResult;
use super::answer::Asked;
use super::helper::core;
use crate::chat::{self, Clock, Conversation, Parts, Reply};
use crate::cpu::{self, Team, Trial};
use crate::error::{Code, Error, Result};
use crate::executor::Executor;
use crate::loader::Model;
use crate::plan::Head;
use crate::runtime::{Finish, Generation, Kept, Likelihood, Onset, Options, Progress, Saving, Score};
use crate::task::{self, Classification, Embedding, Pooling, Prompting, Task, head};
use crate::tokenizer::Tokenizer;
use js_sys::{Date, Promise};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashMap;
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::future_to_promise;

/// Bytes of a page of WebAssembly memory.
const PAGE: usize = 65_536;

/// The logarithm of a probability that is as good as none: JSON has no infinity.
const LOWEST: f32 = -9999.0;

/// Does one run (generate, score, embed, head) at a time.
#[wasm_bindgen]
pub struct Engine {
    pub(super) model: Model,
    pub(super) run: Option<Run>,
    /// What runs that belong to no session have left.
    pub(super) kept: Kept,
    pub(super) sessions: HashMap<u32, Kept>,
    /// The session that the run belongs to.
    pub(super) owner: Option<u32>,
    /// Tells the parts of the answer that is being generated.
    pub(super) reply: Reply,
    /// When the form of that answer begins, if it has one.
    pub(super) onset: Option<Onset>,
    /// What the last classification has left for the next.
    classified: Option<task::Kept>,
    /// Those of a finished run, one after the other.
    vectors: Vec<f32>,
    pub(super) saved: Vec<u8>,
}

pub(super) enum Run {
    Generation(Box<Generation>),
    Score(Score),
    Embedding(Embedding),
    Classification(Box<Classification>),
    /// Of a session.
    Saving(u32, Saving),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct EmbedOptions {
    pooling: Option<Pooling>,
    normalize: Option<bool>,
}

#[wasm_bindgen]
impl Engine {
    /// What the page shows as `model.info`.
    pub fn info(&self) -> String {
        let Model { executor, tokenizer, info, refusal, .. } = &self.model;
        json!({
            "architecture": info.architecture,
            "name": info.name,
            "parameters": info.parameters,
            "quantization": info.quantization,
            "contextLength": executor.plan().context_length,
            "trainedContextLength": info.trained_context_length,
            "vocabSize": tokenizer.vocab_size(),
            "embeddingLength": executor.plan().embedding_length(),
            "pooling": info.pooling.map(Pooling::as_str),
            "labels": info.labels,
            "adapters": self.model.adapters().map(named).collect::<Vec<_>>(),
            "generates": matches!(executor.plan().head, Head::Logits { .. }),
            "chats": self.model.templates.choose(false).is_ok(),
            "thinks": self.model.templates.choose(false).is_ok_and(chat::can_be_told_not_to_reason),
            "device": executor.device(),
            "refusal": refusal,
            "identity": self.model.identity,
            "memory": { "weights": executor.weight_bytes(), "kv": executor.cache_capacity() },
        })
        .to_string()
    }

    /// How sessions are stored now: what was stored in another way is of no use.
    pub fn layout(&self) -> String {
        let scales: Vec<f32> = self.model.adapters().map(|(_, scale)| scale).collect();
        format!("{} {scales:?}", self.model.executor.layout())
    }

    /// Uses the model's adapters with these scales, one for each. Drops the run in progress, and all keys and values,
    /// which are those of the model as it was.
    #[wasm_bindgen(js_name = setAdapters)]
    pub fn set_adapters(&mut self, scales: &[f32]) -> JsResult<()> {
        self.cancel();
        self.classified = None;
        self.kept.clear();
        self.sessions.clear();
        Ok(self.model.set_adapters(scales)?)
    }

    /// Bytes in use now: `weights`, `kv` of the current run, of sessions and of what is kept for later runs, and `peak`,
    /// all that was ever taken.
    pub fn memory(&self) -> String {
        let run = match &self.run {
            Some(Run::Generation(generation)) => generation.cache_bytes(),
            _ => 0,
        };
        let kept = self.sessions.values().chain([&self.kept]).map(Kept::bytes);
        let kv = run + kept.sum::<u64>() + self.classified.as_ref().map_or(0, task::Kept::bytes);
        let peak = core::arch::wasm32::memory_size(0) * PAGE;
        json!({ "weights": self.model.executor.weight_bytes(), "kv": kv, "peak": peak }).to_string()
    }

    pub fn tokenize(&self, text: &str, bos: Option<bool>, special: bool) -> JsResult<Vec<u32>> {
        Ok(self.model.tokenizer.encode(text, special, bos)?)
    }

    pub fn detokenize(&self, tokens: &[u32]) -> JsResult<String> {
        Ok(self.model.tokenizer.decode(tokens)?)
    }

    /// How many tokens the prompt has that the model's template makes of a conversation.
    #[wasm_bindgen(js_name = countPrompt)]
    pub fn count_prompt(&self, conversation: &str) -> JsResult<u32> {
        Ok(self.prompt(conversation)?.tokens.len() as u32)
    }

    /// The form of the tool calls in an answer to a conversation, as JSON: its `grammar`, and `begins`, which is when it
    /// does, as options take it. None if they have none. An answer that is `led` has a form of its own beside it.
    #[wasm_bindgen(js_name = callForm)]
    pub fn call_form(&self, conversation: &str, led: bool) -> JsResult<Option<String>> {
        let Model { templates, tokenizer, .. } = &self.model;
        let form = chat::form(templates, tokenizer, &Conversation::from_json(conversation)?, led)?;
        Ok(form.map(|(grammar, onset)| json!({ "grammar": grammar, "begins": onset }).to_string()))
    }

    /// Begins an answer to a conversation, or goes on with one as `generate` does. Says, as JSON, what `Begun` has.
    pub fn chat(&mut self, conversation: &str, answered: &[u32], options: &str) -> JsResult<String> {
        self.cancel();
        let conversation = Conversation::from_json(conversation)?;
        let options = Options::from_json(options)?;
        let Model { templates, tokenizer, .. } = &self.model;
        let clock = clock();
        let prompt = chat::prompt(templates, tokenizer, &conversation, clock)?;
        let points = self.partings(Some(&conversation), &prompt.tokens, clock);
        let asked = Asked { tokens: prompt.tokens, reply: prompt.reply, points, ..Asked::default() };
        Ok(self.answer(asked, answered, &options)?)
    }

    /// Begins an answer to a prompt, or goes on with one that an engine before this one has begun: with the tokens
    /// `answered`, and by the same options, the seed among them.
    pub fn generate(&mut self, prompt: &[u32], answered: &[u32], options: &str) -> JsResult<String> {
        self.cancel();
        let points = self.partings(None, prompt, clock());
        let asked = Asked { tokens: prompt.to_vec(), points, ..Asked::default() };
        Ok(self.answer(asked, answered, &Options::from_json(options)?)?)
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

    /// Begins scoring.
    pub fn score(&mut self, tokens: &[u32]) -> JsResult<()> {
        self.cancel();
        self.run = Some(Run::Score(Score::new(&self.model.executor, tokens)?));
        Ok(())
    }

    /// The tokens of a pair of texts, for a head.
    #[wasm_bindgen(js_name = tokenizePair)]
    pub fn tokenize_pair(&self, query: &str, document: &str) -> JsResult<Vec<u32>> {
        Ok(head::pair(&self.model.tokenizer, query, document)?)
    }

    /// Begins embedding texts, whose tokens stand one after the other and are as many as `lengths` says.
    pub fn embed(&mut self, tokens: &[u32], lengths: &[u32], options: &str) -> JsResult<()> {
        self.cancel();
        let options: EmbedOptions = serde_json::from_str(options)
            .map_err(|error| Error::invalid_argument(format!("options: {error}")))?;
        let pooling = options.pooling.or(self.model.info.pooling).unwrap_or(Pooling::Mean);
        let normalize = options.normalize.unwrap_or(true);
        let texts = texts(tokens, lengths)?;
        self.run = Some(Run::Embedding(Embedding::new(&self.model.executor, texts, pooling, normalize)?));
        Ok(())
    }

    /// Begins scoring the labels of texts, or pairs of texts, given in the same way.
    pub fn head(&mut self, tokens: &[u32], lengths: &[u32]) -> JsResult<()> {
        self.cancel();
        let texts = texts(tokens, lengths)?;
        self.run = Some(Run::Embedding(Embedding::of_head(&self.model.executor, texts)?));
        Ok(())
    }

    /// Begins telling the labels of texts, as `task` asks. What it has in common with the last such run is kept. Errors
    /// name a text by its place, of which there are `first` more before these.
    pub fn classify(&mut self, task: &str, texts: Vec<String>, first: usize) -> JsResult<()> {
        self.cancel();
        let task = Task::from_json(task)?;
        let Model { executor, tokenizer, templates, .. } = &mut self.model;
        let prompting = Prompting { tokenizer, templates, clock: clock() };
        let run = Classification::new(executor, &prompting, task, &texts, first, self.classified.as_ref())?;
        self.run = Some(Run::Classification(Box::new(run)));
        Ok(())
    }

    /// Works for about `budget_ms` and says, as JSON, how far the run has come.
    pub fn advance(&mut self, budget_ms: f64) -> JsResult<String> {
        let end = now() + budget_ms;
        let mut slice = self.slice(&mut || now() >= end);
        // What is kept is the first to go where memory is short.
        let short = slice.as_ref().is_err_and(|error| error.code == Code::OutOfMemory);
        if short && self.kept.clear() | self.classified.take().is_some() {
            slice = self.slice(&mut || now() >= end);
        }
        // What failed leaves nothing that is worth keeping.
        if slice.is_err() {
            self.run = None;
        }
        Ok(slice?.to_string())
    }

    /// What there is to wait for before it makes sense to advance again: work of the GPU, or nothing.
    pub fn waiting(&self) -> Option<Promise> {
        let signal = self.model.executor.waiting()?;
        Some(future_to_promise(async move {
            signal.await;
            Ok(JsValue::UNDEFINED)
        }))
    }

    /// Helpers that have come and wait for work.
    pub fn helpers(&self) -> u32 {
        self.model.executor.cpu().map_or(0, |executor| executor.team().core().helpers() as u32)
    }

    /// Computes on this many threads, one of them the caller's, the others helpers'. Drops the run in progress.
    #[wasm_bindgen(js_name = setThreads)]
    pub fn set_threads(&mut self, threads: u32) -> JsResult<()> {
        self.cancel();
        Ok(self.threaded()?.set_threads(threads as usize)?)
    }

    /// Lets the helpers go that are not needed for the threads set.
    #[wasm_bindgen(js_name = dismissOthers)]
    pub fn dismiss_others(&mut self) {
        if let Some(executor) = self.model.executor.cpu_mut() {
            executor.dismiss_others();
        }
    }

    /// Milliseconds of one small step over so many sequences at once, the mean of `steps`, to compare numbers of
    /// threads or of sequences. Drops the run in progress.
    pub fn trial(&mut self, sequences: u32, steps: u32) -> JsResult<f64> {
        self.cancel();
        let executor = self.threaded()?;
        let mut trial = Trial::new(executor, sequences as usize)?;
        let start = now();
        for _ in 0..steps {
            trial.step(executor)?;
        }
        Ok((now() - start) / f64::from(steps))
    }

    /// The vectors of a finished run over texts, equally long, one after the other.
    #[wasm_bindgen(js_name = takeVectors)]
    pub fn take_vectors(&mut self) -> Vec<f32> {
        std::mem::take(&mut self.vectors)
    }

    /// Ends the run in progress. What it has stored is kept.
    pub fn cancel(&mut self) {
        self.model.executor.cancel();
        let Some(Run::Generation(generation)) = self.run.take() else { return };
        let kept = match self.owner {
            None => Some(&mut self.kept),
            Some(session) => self.sessions.get_mut(&session),
        };
        if let Some(kept) = kept {
            kept.keep(generation.into_sequences());
        }
    }
}

impl Engine {
    pub(super) fn new(mut model: Model) -> Result<Self> {
        if let Some(executor) = model.executor.cpu_mut() {
            executor.set_team(Team::of(core()))?;
        }
        Ok(Engine {
            kept: Kept::new(&model.executor),
            model,
            run: None,
            sessions: HashMap::new(),
            owner: None,
            reply: Reply::default(),
            onset: None,
            classified: None,
            vectors: Vec::new(),
            saved: Vec::new(),
        })
    }

    /// Says in a slice what the worker needs to know to lead the answer on: whether the next token waits for it, which
    /// tokens of the slice have the form, and whether the model may reason first.
    fn led(&self, slice: &mut Value, formed: &[u32]) {
        let awaits = matches!(&self.run, Some(Run::Generation(generation)) if generation.awaits_permit());
        slice["awaitsPermit"] = awaits.into();
        slice["formed"] = formed.into();
        slice["mayReason"] = self.reply.opener(&self.model.tokenizer).is_some().into();
    }

    fn prompt(&self, conversation: &str) -> Result<chat::Prompt> {
        let conversation = Conversation::from_json(conversation)?;
        chat::prompt(&self.model.templates, &self.model.tokenizer, &conversation, clock())
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

    /// The executor that has threads.
    fn threaded(&mut self) -> Result<&mut cpu::Executor> {
        let executor = self.model.executor.cpu_mut();
        executor.ok_or_else(|| Error::internal("threads are asked for, and the GPU computes"))
    }

    fn slice(&mut self, pause: &mut dyn FnMut() -> bool) -> Result<Value> {
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
            Some(Run::Score(score)) => {
                let finished = score.advance(executor, pause)?;
                let (done, total) = score.progress();
                match finished {
                    false => json!({ "state": "prefill", "done": done, "total": total }),
                    true => json!({ "state": "finished", "logprobs": score.logprobs() }),
                }
            }
            Some(Run::Saving(session, saving)) => {
                let nothing = Kept::new(executor);
                match saving.advance(executor, self.sessions.get(session).unwrap_or(&nothing))? {
                    None => json!({ "state": "prefill", "done": 0, "total": 1 }),
                    Some(bytes) => {
                        self.saved = bytes;
                        json!({ "state": "finished" })
                    }
                }
            }
            Some(Run::Embedding(embedding)) => {
                let finished = embedding.advance(executor, pause)?;
                let (done, total) = embedding.progress();
                match finished {
                    false => json!({ "state": "prefill", "done": done, "total": total }),
                    true => {
                        self.vectors = embedding.take_vectors().concat();
                        json!({ "state": "finished" })
                    }
                }
            }
            Some(Run::Classification(classification)) => {
                let finished = classification.advance(executor, pause)?;
                let (done, total) = classification.progress();
                match finished {
                    false => json!({ "state": "prefill", "done": done, "total": total }),
                    true => json!({ "state": "finished" }),
                }
            }
        };
        if answer["state"] != "finished" {
            return Ok(answer);
        }
        match self.run.take() {
            Some(Run::Classification(classification)) => {
                let (logits, kept) = classification.finish();
                self.vectors = logits.concat();
                self.classified = Some(kept);
            }
            run => {
                self.run = run;
                self.cancel();
            }
        }
        Ok(answer)
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

fn no_run() -> Error {
    Error::internal("no run was begun")
}

/// Sets the bit of a token.
fn permit(tokens: &mut [u32], token: u32) {
    if let Some(word) = tokens.get_mut(token as usize / 32) {
        *word |= 1 << (token % 32);
    }
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
                return Ok(json!({ "state": "prefill", "done": done, "total": total }));
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
                shown += reply.finish();
                let usage = generation.usage();
                let (reason, stop) = match finish {
                    Finish::Stop(None) if !shown.calls.is_empty() => ("tool-calls", None),
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

fn decoded(shown: Parts, tokens: Vec<u32>, likelihoods: &[Value]) -> Value {
    let Parts { reasoning, text, .. } = shown;
    json!({
        "state": "decode",
        "text": text,
        "reasoning": reasoning,
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

/// An adapter, as the page is told.
fn named((name, scale): (&str, f32)) -> Value {
    json!({ "name": name, "scale": scale })
}

/// Texts of these lengths.
fn texts(mut tokens: &[u32], lengths: &[u32]) -> Result<Vec<Vec<u32>>> {
    let cut = |length: &u32| {
        let (text, rest) = tokens.split_at_checked(*length as usize)?;
        tokens = rest;
        Some(text.to_vec())
    };
    let texts: Option<Vec<_>> = lengths.iter().map(cut).collect();
    texts.ok_or_else(|| Error::internal("there are fewer tokens than the texts have"))
}

/// What the page's clock shows.
pub(super) fn clock() -> Clock {
    let now = Date::new_0();
    Clock {
        year: now.get_full_year() as i32,
        month: now.get_month() + 1,
        day: now.get_date(),
        hour: now.get_hours(),
        minute: now.get_minutes(),
        second: now.get_seconds(),
    }
}

/// Milliseconds of the worker's clock.
pub(super) fn now() -> f64 {
    #[wasm_bindgen]
    extern "C" {
        #[wasm_bindgen(js_namespace = performance, js_name = now)]
        fn performance_now() -> f64;
    }
    performance_now()
}
