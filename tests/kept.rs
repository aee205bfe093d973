//! Runs that begin where earlier ones have been: what they need not compute, and that they say the same.

mod support;

use std::rc::Rc;
use support::draft::Draft;
use support::gpu::open;
use support::models::{json, tokens};
use wisplm::cpu::KvType;
use wisplm::error::Code;
use wisplm::gguf::Value;
use wisplm::gpu::Gpu;
use wisplm::loader::{Loader, Model};
use wisplm::runtime::{Finish, Generation, Kept, Options, Progress, Saving, Usage};

/// Attention to everything, through windows, and recurrences.
const FAMILIES: [&str; 3] = ["llama-0", "gemma3-0", "qwen35-0"];

/// A model, and what its runs leave.
struct Desk {
    model: Model,
    kept: Kept,
}

/// A tiny model with a context of so many tokens, and a text.
fn load(gpu: Option<&Rc<Gpu>>, name: &str, context: usize) -> (Desk, Vec<u32>) {
    load_with(gpu, name, context, KvType::F16)
}

fn load_with(gpu: Option<&Rc<Gpu>>, name: &str, context: usize, kv_type: KvType) -> (Desk, Vec<u32>) {
    let mut draft = Draft::tiny(name);
    draft.set(&format!("{}.context_length", draft.family()), Value::U32(context as u32));
    let mut loader = Loader::new(1, None, None).with_kv_type(kv_type);
    if let Some(gpu) = gpu {
        loader = loader.on(gpu);
    }
    loader.push(&draft.file()).unwrap();
    let model = loader.finish().unwrap();
    let text = tokens(&json(&format!("tiny/{name}.json"))["tokens"]);
    (Desk { kept: Kept::new(&model.executor), model }, text.iter().cycle().take(900).copied().collect())
}

fn greedy(most: u32) -> Options {
    Options { temperature: 0.0, max_tokens: Some(most), ignore_eos: true, ..Options::default() }
}

impl Desk {
    fn begin(&mut self, prompt: &[u32], most: u32) -> Generation {
        let Model { executor, tokenizer, .. } = &mut self.model;
        let run = Generation::new(executor, tokenizer, prompt, &greedy(most), 1).unwrap();
        run.after(self.kept.begin(executor, prompt).unwrap())
    }

    fn finish(&mut self, mut run: Generation) -> (Vec<u32>, Usage) {
        let mut answer = vec![];
        loop {
            match run.advance(&mut self.model.executor, &self.model.tokenizer, &mut || false).unwrap() {
                Progress::Token { token, .. } => answer.push(token),
                Progress::Finished { .. } => break,
                _ => {}
            }
        }
        let usage = run.usage();
        self.model.executor.cancel();
        self.kept.keep(run.into_sequences());
        (answer, usage)
    }

    /// An answer of 12 tokens. Sequences with states are forked at `point`, those with windows at the prompt's end.
    fn ask(&mut self, prompt: &[u32], point: usize) -> (Vec<u32>, usize) {
        let executor = &self.model.executor;
        let point = if executor.plan().states.is_empty() { prompt.len() } else { point };
        let parts = !executor.goes_back();
        let run = self.begin(prompt, 12).forked_at(Vec::from_iter(parts.then_some(point)));
        let (answer, usage) = self.finish(run);
        assert_eq!((usage.prompt, usage.answer), (prompt.len(), answer.len()));
        (answer, usage.cached)
    }

    /// The same where nothing is kept.
    fn ask_anew(&mut self, prompt: &[u32]) -> Vec<u32> {
        let kept = Kept::new(&self.model.executor);
        let kept = std::mem::replace(&mut self.kept, kept);
        let (answer, cached) = self.ask(prompt, prompt.len());
        assert_eq!(cached, 0);
        self.kept = kept;
        answer
    }
}

fn turns_compute_what_is_new(gpu: Option<&Rc<Gpu>>, history: usize) {
    for name in FAMILIES {
        let (mut desk, text) = load(gpu, name, 1024);
        // A turn: a history, an answer, and the next prompt, which has both and 20 tokens more.
        let first = &text[..history];
        let (answer, cached) = desk.ask(first, history - 5);
        assert_eq!((cached, &answer), (0, &desk.ask_anew(first)), "{name}");
        let second = [first, &answer, &text[40..60]].concat();
        let (again, cached) = desk.ask(&second, second.len() - 5);
        // The last token of the answer was chosen and not computed.
        assert_eq!(second.len() - cached, 21, "{name}");
        assert_eq!(again, desk.ask_anew(&second), "{name}");
        // What templates do that leave out what a model has thought: the answer is shown otherwise.
        let third = [&second[..second.len() - 5], &again[6..], &text[70..90]].concat();
        let (answer, cached) = desk.ask(&third, third.len() - 5);
        assert_eq!(cached, second.len() - 5, "{name}: from where the answer was invited");
        assert_eq!(answer, desk.ask_anew(&third), "{name}");
        // The same again: all but what is needed for logits.
        let (again, cached) = desk.ask(&third, third.len() - 1);
        let least = if desk.model.executor.goes_back() { third.len() - 1 } else { third.len() - 5 };
        assert!(again == answer && cached >= least, "{name}: {cached} of {}", third.len());
        // Nothing in common but too little to be worth it.
        let other = [&text[..5], &text[300..340]].concat();
        let (answer, cached) = desk.ask(&other, 40);
        assert_eq!((cached, answer), (0, desk.ask_anew(&other)), "{name}");
    }
}

#[test]
fn turns_on_the_cpu_compute_what_is_new() {
    turns_compute_what_is_new(None, 700);
}

/// On one device: its pipelines are compiled once.
#[test]
fn runs_on_the_gpu_begin_where_others_have_been() {
    let gpu = open();
    turns_compute_what_is_new(Some(&gpu), 100);
    give_up(Some(&gpu), &FAMILIES[..1]);
    slide(Some(&gpu));
    save(Some(&gpu), 150);
}

#[test]
fn what_is_saved_can_be_gone_on_with() {
    save(None, 600);
}

fn saved(desk: &mut Desk) -> Vec<u8> {
    let mut saving = Saving::default();
    loop {
        if let Some(bytes) = saving.advance(&mut desk.model.executor, &desk.kept).unwrap() {
            return bytes;
        }
    }
}

fn save(gpu: Option<&Rc<Gpu>>, history: usize) {
    for (name, kv_type) in FAMILIES.into_iter().flat_map(|name| [(name, KvType::F16), (name, KvType::Q8_0)]) {
        let (mut desk, text) = load_with(gpu, name, 1024, kv_type);
        let first = &text[..history];
        let (answer, _) = desk.ask(first, history - 5);
        let bytes = saved(&mut desk);
        let second = [first, &answer, &text[40..60]].concat();
        let want = desk.ask(&second, second.len() - 5);
        // The other template's way, from where the answer was invited.
        let third = [&first[..history - 3], &text[70..90]].concat();
        let want_third = desk.ask_anew(&third);

        let (mut other, _) = load_with(gpu, name, 1024, kv_type);
        assert_eq!(other.model.identity, desk.model.identity);
        assert_eq!(other.model.executor.layout(), desk.model.executor.layout());
        other.kept = Kept::restore(&mut other.model.executor, &bytes).unwrap();
        assert_eq!(saved(&mut other), bytes, "{name}");
        assert_eq!(other.ask(&second, second.len() - 5), want, "{name}");
        other.kept = Kept::restore(&mut other.model.executor, &bytes).unwrap();
        let (answer, cached) = other.ask(&third, third.len() - 5);
        assert!(answer == want_third && cached >= history - 5, "{name}: {cached}");

        // Whatever is wrong with them, bytes are refused or make a sound cache.
        let executor = &mut other.model.executor;
        for len in [0, 3, 4, 7, 100, bytes.len() / 2, bytes.len() - 1] {
            let error = Kept::restore(executor, &bytes[..len]).err().expect("bytes are missing");
            assert_eq!(error.code, Code::Integrity);
        }
        assert!(Kept::restore(executor, &[&bytes[..], &[0]].concat()).is_err());
        for at in (0..bytes.len()).step_by(bytes.len() / 97) {
            for value in [0, 0x7f, 0x80, 0xff] {
                let mut bytes = bytes.clone();
                let end = bytes.len().min(at + 4);
                bytes[at..end].fill(value);
                if let Ok(kept) = Kept::restore(executor, &bytes) {
                    drop(kept);
                }
            }
        }
        let mut wild = bytes.clone();
        wild[bytes.len() / 2..].fill(0xff);
        assert!(Kept::restore(executor, &wild).is_err(), "{name}");
    }
}

#[test]
fn models_are_known_by_their_weights() {
    let identity = |file: &[u8], chunk: usize| {
        let mut loader = Loader::new(1, None, None);
        file.chunks(chunk).try_for_each(|chunk| loader.push(chunk)).unwrap();
        loader.finish().unwrap().identity
    };
    let mut draft = Draft::tiny("llama-0");
    let file = draft.file();
    let whole = identity(&file, file.len());
    assert_eq!(whole.len(), 64);
    for chunk in [7, 1000, 65_536] {
        assert_eq!(identity(&file, chunk), whole);
    }
    draft.tensors[3].bytes[0] ^= 1;
    assert_ne!(identity(&draft.file(), 1000), whole);
}

#[test]
fn a_run_that_was_given_up_leaves_what_it_has_computed() {
    give_up(None, &FAMILIES);
}

#[test]
fn answers_slide_through_the_context() {
    slide(None);
}

fn give_up(gpu: Option<&Rc<Gpu>>, families: &[&str]) {
    for name in families {
        let (mut desk, text) = load(gpu, name, 1024);
        let prompt = &text[..600];
        let mut run = desk.begin(prompt, 12);
        for _ in 0..2 {
            let progress = run.advance(&mut desk.model.executor, &desk.model.tokenizer, &mut || false);
            assert!(matches!(progress, Ok(Progress::Prefill { .. })), "{name}: {progress:?}");
        }
        desk.model.executor.cancel();
        desk.kept.keep(run.into_sequences());
        let (answer, cached) = desk.ask(prompt, 599);
        assert!((200..600).contains(&cached), "{name}: {cached}");
        assert_eq!(answer, desk.ask_anew(prompt), "{name}");
    }
}

#[test]
fn conversations_take_turns() {
    for name in FAMILIES {
        let (mut desk, text) = load(None, name, 1024);
        let mut prompts = [text[..300].to_vec(), text[50..350].to_vec(), text[100..400].to_vec()];
        for turn in 0..3 {
            for prompt in &mut prompts {
                let (answer, cached) = desk.ask(prompt, prompt.len() - 1);
                if turn > 0 {
                    assert_eq!(prompt.len() - cached, 6, "{name}");
                }
                prompt.extend(answer);
                prompt.extend(&text[turn..turn + 5]);
            }
        }
        let bytes = desk.kept.bytes();
        assert!(bytes > 0 && bytes < 8 * desk.model.executor.cache_capacity(), "{name}: {bytes}");
        assert!(desk.kept.clear() && !desk.kept.clear() && desk.kept.bytes() == 0);
    }
}

#[test]
fn what_is_kept_is_bounded() {
    for name in FAMILIES {
        let (mut desk, text) = load(None, name, 1024);
        let mut most = 0;
        for k in 0..40 {
            desk.ask(&text[k..k + 100], 90);
            most = most.max(if k < 20 { desk.kept.bytes() } else { 0 });
            assert!(k < 20 || desk.kept.bytes() <= most, "{name}");
        }
    }
}

/// An answer that is longer than the context, token by token the one of the sequence that is left each time.
fn slide(gpu: Option<&Rc<Gpu>>) {
    const CONTEXT: usize = 64;
    for name in FAMILIES {
        let (mut desk, text) = load(gpu, name, CONTEXT);
        let (prompt, head) = (&text[..40], 10);
        let run = desk.begin(prompt, 0).sliding(head, &greedy(100));
        let (answer, usage) = desk.finish(run);
        assert_eq!((answer.len(), usage.answer, usage.slid), (100, 100, 85), "{name}");
        let mut sequence = prompt.to_vec();
        for (k, token) in answer.iter().enumerate().take(60) {
            if sequence.len() > CONTEXT {
                sequence.drain(head..head + sequence.len() - CONTEXT * 3 / 4);
            }
            if [0, 24, 25, 26, 41, 42, 50].contains(&k) {
                let mut cache = desk.model.executor.new_cache();
                let mut logits = vec![];
                desk.model.executor.begin(&mut [(&mut cache, &sequence)]).unwrap();
                desk.model.executor.advance(&mut [&mut cache], &mut || false).unwrap();
                desk.model.executor.logits(sequence.len() - 1..sequence.len(), &mut logits).unwrap();
                let best = logits.iter().copied().fold(f32::MIN, f32::max);
                // On the GPU rows at once are summed up in another order than one by one.
                assert!(best - logits[*token as usize] <= 1e-3, "{name}: token {k}");
            }
            sequence.push(*token);
        }
    }
}

#[test]
fn an_answer_that_does_not_slide_ends_with_the_context() {
    let (mut desk, text) = load(None, "llama-0", 64);
    let mut run = desk.begin(&text[..40], 100);
    loop {
        let progress = run.advance(&mut desk.model.executor, &desk.model.tokenizer, &mut || false);
        if let Progress::Finished { finish, .. } = progress.unwrap() {
            break assert_eq!(finish, Finish::Length);
        }
    }
    assert_eq!((run.usage().answer, run.usage().slid), (24, 0));
}
