//! A loaded model, from the worker's side: one run at a time, in slices.

use super::JsResult;
use super::answer::Asked;
use super::helper::core;
use crate::chat::{self, Clock, Conversation, Reply};
use crate::cpu::{self, Team, Trial};
use crate::error::{Code, Error, Result};
use crate::gpu::{self, Signal};
use crate::loader::Model;
use crate::plan::Head;
use crate::runtime::{Generation, Kept, Onset, Options, Saving, Score};
use crate::task::{self, Classification, Embedding, Pooling, Prompting, Task, head};
use js_sys::{Date, Promise};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::{HashMap, VecDeque};
use wasm_bindgen::prelude::*;
use wasm_bindgen_futures::future_to_promise;

/// Bytes of a page of WebAssembly memory.
const PAGE: usize = 65_536;

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
    /// What the last classifications have left for the next, one of each task.
    pub(super) classified: VecDeque<task::Kept>,
    /// Those of a finished run, one after the other.
    pub(super) vectors: Vec<f32>,
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
        self.classified.clear();
        self.kept.clear();
        self.sessions.clear();
        Ok(self.model.set_adapters(scales)?)
    }

    /// Bytes in use now: `weights`, `kv` of the current run, of sessions and of what is kept for later runs, and `peak`,
    /// all that was ever taken, of a GPU too.
    pub fn memory(&self) -> String {
        let run = match &self.run {
            Some(Run::Generation(generation)) => generation.cache_bytes(),
            _ => 0,
        };
        let kept = self.sessions.values().chain([&self.kept]).map(Kept::bytes);
        let kv = run + kept.sum::<u64>() + self.classified.iter().map(task::Kept::bytes).sum::<u64>();
        let heap = (core::arch::wasm32::memory_size(0) * PAGE) as u64;
        let peak = heap + self.model.executor.gpu().map_or(0, gpu::Executor::peak_bytes);
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

    /// Begins telling the labels of texts, as `task` asks. What runs of a task have in common is kept. Errors
    /// name a text by its place, of which there are `first` more before these.
    pub fn classify(&mut self, task: &str, texts: Vec<String>, first: usize) -> JsResult<()> {
        self.cancel();
        let task = Task::from_json(task)?;
        let Model { executor, tokenizer, templates, .. } = &mut self.model;
        let prompting = Prompting { tokenizer, templates, clock: clock() };
        let kept = self.classified.iter().find(|kept| kept.is_of(&task));
        let run = Classification::new(executor, &prompting, task, &texts, first, kept)?;
        self.run = Some(Run::Classification(Box::new(run)));
        Ok(())
    }

    /// Works for about `budget_ms` and says, as JSON, how far the run has come.
    pub fn advance(&mut self, budget_ms: f64) -> JsResult<String> {
        let end = now() + budget_ms;
        let mut slice = self.slice(&mut || now() >= end);
        // What is kept is the first to go where memory is short.
        let short = slice.as_ref().is_err_and(|error| error.code == Code::OutOfMemory);
        if short && self.kept.clear() | !std::mem::take(&mut self.classified).is_empty() {
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
        self.model.executor.waiting().map(promise)
    }

    /// Makes ready what no run has taken so far, for the time when nothing else is to be done: what to wait for before
    /// there may be more of it, or nothing if all is ready.
    #[wasm_bindgen(js_name = makeReady)]
    pub fn make_ready(&self) -> Option<Promise> {
        self.model.executor.make_ready().map(promise)
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
            classified: VecDeque::new(),
            vectors: Vec::new(),
            saved: Vec::new(),
        })
    }

    fn prompt(&self, conversation: &str) -> Result<chat::Prompt> {
        let conversation = Conversation::from_json(conversation)?;
        chat::prompt(&self.model.templates, &self.model.tokenizer, &conversation, clock())
    }

    /// The executor that has threads.
    fn threaded(&mut self) -> Result<&mut cpu::Executor> {
        let executor = self.model.executor.cpu_mut();
        executor.ok_or_else(|| Error::internal("threads are asked for, and the GPU computes"))
    }
}

fn promise(signal: Signal) -> Promise {
    future_to_promise(async move {
        signal.await;
        Ok(JsValue::UNDEFINED)
    })
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
