//! Generating, scoring and embedding on tiny models: what ends a run, what repeats it, and what is refused.

mod support;

use support::draft::Draft;
use support::models::{load, load_fixture};
use wisplm::error::{Code, Error};
use wisplm::gguf::Value;
use wisplm::loader::{Loader, Model};
use wisplm::runtime::{Finish, Generation, Options, Progress, Score};
use wisplm::task::{Embedding, Pooling};

const PROMPT: [u32; 5] = [10, 200, 31, 99, 4];
/// The end-of-sequence token of the tiny vocabularies.
const EOS: u32 = 259;

/// What a generation brought.
#[derive(Debug, PartialEq)]
struct Answer {
    tokens: Vec<u32>,
    text: String,
    finish: Finish,
}

fn greedy() -> Options {
    // Without the end: random models like it as much as any other token.
    Options { temperature: 0.0, max_tokens: Some(40), ignore_eos: true, ..Options::default() }
}

fn sampled(seed: Option<u32>) -> Options {
    Options { temperature: 1.0, top_k: 0, top_p: 1.0, min_p: 0.0, seed, ..greedy() }
}

fn begin(model: &Model, prompt: &[u32], options: &Options) -> Result<Generation, Error> {
    Generation::new(&model.executor, &model.tokenizer, prompt, options, 1)
}

/// Runs to the end, pausing wherever `pause` says so.
fn finish(model: &mut Model, mut run: Generation, pause: &mut dyn FnMut() -> bool) -> Answer {
    let (mut tokens, mut all) = (Vec::new(), String::new());
    loop {
        match run.advance(&mut model.executor, &model.tokenizer, pause).expect("the run goes on") {
            Progress::Prefill { done, total } => assert!(done <= total),
            Progress::Waiting => panic!("the CPU waits for nothing"),
            Progress::Token { token, text, .. } => {
                tokens.push(token);
                all.push_str(&text);
            }
            Progress::Finished { text, finish } => {
                all.push_str(&text);
                assert!(run.usage().answer >= tokens.len());
                return Answer { tokens, text: all, finish };
            }
        }
    }
}

fn generate(model: &mut Model, prompt: &[u32], options: &Options) -> Answer {
    let run = begin(model, prompt, options).expect("the options are good");
    finish(model, run, &mut || false)
}

#[test]
fn a_form_that_allows_no_token_is_refused() {
    let mut model = load_fixture("tiny/llama-0.gguf");
    let mut run = begin(&model, &PROMPT, &greedy()).unwrap();
    run.set_formed(true);
    // Token 500 is none of the model's.
    let mut beyond = [0; 16];
    beyond[500 / 32] = 1 << (500 % 32);
    for allowed in [&[][..], &[0; 9], &beyond] {
        assert_eq!(run.allow(allowed).unwrap_err().code, Code::ConstraintUnsatisfiable);
        assert!(run.awaits_permit());
    }
    run.allow(&[1 << 7]).unwrap();
    let Progress::Token { token, .. } =
        run.advance(&mut model.executor, &model.tokenizer, &mut || false).unwrap()
    else {
        panic!("a token comes");
    };
    assert_eq!(token, 7);
}

#[test]
fn greedy_answers_are_always_the_same() {
    for name in ["llama-0", "llama-1", "gemma3-0", "gemma3-1"] {
        let mut model = load_fixture(&format!("tiny/{name}.gguf"));
        let first = generate(&mut model, &PROMPT, &greedy());
        assert_eq!((first.tokens.len(), &first.finish), (40, &Finish::Length));
        assert_eq!(generate(&mut model, &PROMPT, &greedy()), first, "{name}");
        let mut again = load_fixture(&format!("tiny/{name}.gguf"));
        assert_eq!(generate(&mut again, &PROMPT, &greedy()), first, "{name}");
        // Each token is the most probable one after those before it, as a run of its own computes it.
        let sequence: Vec<u32> = PROMPT.iter().chain(&first.tokens).copied().collect();
        for length in [PROMPT.len(), PROMPT.len() + 1, PROMPT.len() + 39] {
            let mut cache = model.executor.new_cache();
            model.executor.begin(&mut [(&mut cache, &sequence[..length])]).unwrap();
            model.executor.advance(&mut [&mut cache], &mut || false).unwrap();
            let mut logits = Vec::new();
            model.executor.logits(length - 1..length, &mut logits).unwrap();
            let best = (0..).zip(&logits).max_by(|a, b| a.1.total_cmp(b.1)).map(|(token, _)| token);
            assert_eq!(best, Some(sequence[length]), "{name}");
        }
        assert_eq!(first.text, model.tokenizer.decode(&first.tokens).unwrap(), "{name}");
    }
}

#[test]
fn a_seed_repeats_an_answer_and_another_does_not() {
    let mut model = load_fixture("tiny/llama-0.gguf");
    let first = generate(&mut model, &PROMPT, &sampled(Some(7)));
    assert_eq!(generate(&mut model, &PROMPT, &sampled(Some(7))), first);
    assert_ne!(generate(&mut model, &PROMPT, &sampled(Some(8))).tokens, first.tokens);
    assert_ne!(generate(&mut model, &PROMPT, &greedy()).tokens, first.tokens);
    // Without a seed, the one that the caller drew.
    let drawn = generate(&mut model, &PROMPT, &sampled(None));
    assert_eq!(generate(&mut model, &PROMPT, &sampled(Some(1))), drawn);
}

#[test]
fn answers_have_at_most_max_tokens() {
    let mut model = load_fixture("tiny/llama-0.gguf");
    for limit in [0, 1, 2, 17] {
        let answer = generate(&mut model, &PROMPT, &Options { max_tokens: Some(limit), ..greedy() });
        assert_eq!((answer.tokens.len(), answer.finish), (limit as usize, Finish::Length));
    }
}

#[test]
fn answers_end_with_the_context() {
    let bytes = Draft::tiny("llama-0").file();
    let mut loader = Loader::new(1, None, Some(40));
    loader.push(&bytes).unwrap();
    let mut model = loader.finish().unwrap();
    for (prompt, limit) in [(5, None), (5, Some(1_000)), (39, None), (39, Some(5))] {
        let options = Options { max_tokens: limit, ..greedy() };
        let answer = generate(&mut model, &vec![7; prompt], &options);
        assert_eq!((prompt + answer.tokens.len(), answer.finish), (40, Finish::Length));
    }
    for prompt in [40, 41, 5_000] {
        let Err(error) = begin(&model, &vec![7; prompt], &greedy()) else { panic!("{prompt} tokens began") };
        assert_eq!(error.code, Code::ContextOverflow, "{error}");
        assert!(error.message.contains(&format!("{prompt} tokens")) && error.message.contains("holds 40"));
        assert_eq!(generate(&mut model, &[7; 5], &greedy()).tokens.len(), 35, "after the error");
    }
    // Scoring needs no room for an answer.
    assert!(Score::new(&model.executor, &[7; 40]).is_ok());
    let error = Score::new(&model.executor, &[7; 41]).err().expect("41 tokens do not fit");
    assert_eq!(error.code, Code::ContextOverflow);
}

#[test]
fn stop_texts_end_an_answer_and_are_not_shown() {
    let mut model = load_fixture("tiny/llama-0.gguf");
    // Letters only, so that every token is a character.
    let mut options = greedy();
    options.logit_bias = (0..264).filter(|token| !(97..123).contains(token)).map(|t| (t, -1e9)).collect();
    let whole = generate(&mut model, &PROMPT, &options);
    assert_eq!(whole.text.chars().count(), 40);
    for (at, length) in [(0, 1), (3, 2), (10, 5), (38, 2)] {
        let stop = &whole.text[at..at + length];
        let first = whole.text.find(stop).unwrap();
        let stops = vec!["not there".into(), stop.into()];
        let answer = generate(&mut model, &PROMPT, &Options { stop: stops, ..options.clone() });
        assert_eq!(answer.text, whole.text[..first], "stop {stop:?}");
        assert_eq!(answer.finish, Finish::Stop(Some(stop.into())));
        assert_eq!(answer.tokens, whole.tokens[..first + length]);
    }
    // The beginning of a stop text that does not come is shown in the end.
    let almost = format!("{}!", &whole.text[35..]);
    let answer = generate(&mut model, &PROMPT, &Options { stop: vec![almost], ..options.clone() });
    assert_eq!(answer, whole);
}

#[test]
fn the_end_token_ends_an_answer_unless_it_is_ignored() {
    let mut model = load_fixture("tiny/llama-0.gguf");
    assert!(model.tokenizer.is_end(EOS));
    let mut options = Options { ignore_eos: false, ..greedy() };
    options.logit_bias = [(EOS, 1e9)].into();
    let answer = generate(&mut model, &PROMPT, &options);
    assert_eq!(answer, Answer { tokens: vec![], text: String::new(), finish: Finish::Stop(None) });
    options.ignore_eos = true;
    let answer = generate(&mut model, &PROMPT, &options);
    assert_eq!((answer.tokens, answer.finish), (vec![EOS; 40], Finish::Length));
}

/// A pause wherever one is possible, and a cancelled run before, change nothing.
#[test]
fn interruptions_change_no_token() {
    for name in ["llama-0", "gemma3-0"] {
        let mut model = load_fixture(&format!("tiny/{name}.gguf"));
        let prompt: Vec<u32> = (0..300).map(|k| k * 31 % 256).collect();
        for options in [greedy(), sampled(Some(3))] {
            let whole = generate(&mut model, &prompt, &options);
            let mut pauses = 0;
            let run = begin(&model, &prompt, &options).unwrap();
            let paused = finish(&mut model, run, &mut || {
                pauses += 1;
                true
            });
            assert_eq!(paused, whole, "{name}");
            // Three steps of prefill, 39 of decoding, all their products and attention.
            let ops = model
                .executor
                .cpu()
                .unwrap()
                .program(1)
                .steps
                .iter()
                .filter(|step| step.takes_time())
                .count();
            assert!(pauses >= 42 * ops, "{name}: {pauses} pauses, {ops} ops");

            // Dropped after so many ops, in the middle of a step: the next run has nothing of it.
            for after in [1, ops / 2, ops + 3] {
                let mut dropped = begin(&model, &[9; 200], &options).unwrap();
                for _ in 0..after {
                    dropped.advance(&mut model.executor, &model.tokenizer, &mut || true).unwrap();
                }
                model.executor.cancel();
                assert_eq!(generate(&mut model, &prompt, &options), whole, "{name} after {after} ops");
            }
        }
    }
}

/// What a lost device has said is taken as said; the rest is what it would have been.
#[test]
fn an_answer_goes_on_in_another_run() {
    let mut model = load_fixture("tiny/llama-0.gguf");
    let penalized = Options { presence_penalty: 0.5, frequency_penalty: 0.3, ..sampled(Some(5)) };
    let whole = generate(&mut model, &PROMPT, &greedy());
    // Of several bytes to a character, and with one half of a text that ends the answer.
    let stopped = Options { stop: vec![whole.text.chars().skip(9).take(3).collect()], ..greedy() };
    for options in [greedy(), sampled(Some(3)), penalized, stopped] {
        let whole = generate(&mut model, &PROMPT, &options);
        for told in 0..whole.tokens.len() {
            let mut first = begin(&model, &PROMPT, &options).unwrap();
            let mut shown = String::new();
            let mut tokens = vec![];
            while tokens.len() < told {
                match first.advance(&mut model.executor, &model.tokenizer, &mut || false).unwrap() {
                    Progress::Token { token, text, .. } => {
                        tokens.push(token);
                        shown += &text;
                    }
                    other => assert!(matches!(other, Progress::Prefill { .. }), "{other:?}"),
                }
            }
            drop(first);
            let mut second = begin(&model, &PROMPT, &options).unwrap();
            second.follow(&model.tokenizer, &tokens, |_, _| {});
            let rest = finish(&mut model, second, &mut || false);
            assert_eq!([tokens, rest.tokens].concat(), whole.tokens, "after {told}");
            assert_eq!((shown + &rest.text, rest.finish), (whole.text.clone(), whole.finish.clone()));
        }
    }
}

/// What a form prescribes takes one step, however many tokens it has.
#[test]
fn tokens_that_nobody_chooses_take_one_step() {
    let mut model = load_fixture("tiny/llama-0.gguf");
    let whole = generate(&mut model, &PROMPT, &greedy()).tokens;
    let ops = |model: &Model, rows: usize| {
        let steps = &model.executor.cpu().unwrap().program(rows).steps;
        steps.iter().filter(|step| step.takes_time()).count()
    };
    let mut run = begin(&model, &PROMPT, &greedy()).unwrap();
    while !matches!(
        run.advance(&mut model.executor, &model.tokenizer, &mut || false).unwrap(),
        Progress::Token { .. }
    ) {}
    for count in [1, 20] {
        let from = run.usage().answer;
        run.follow(&model.tokenizer, &whole[from..][..count], |_, _| {});
        let mut pauses = 0;
        let next = loop {
            let mut pause = || {
                pauses += 1;
                false
            };
            match run.advance(&mut model.executor, &model.tokenizer, &mut pause).unwrap() {
                Progress::Token { token, .. } => break token,
                other => assert!(matches!(other, Progress::Prefill { .. }), "{other:?}"),
            }
        };
        assert_eq!(next, whole[from + count]);
        let one = ops(&model, count + 1);
        println!("{count} tokens: {pauses} pauses, {one} ops");
        assert!((one..2 * one).contains(&pauses), "{count} tokens: {pauses} pauses, {one} ops");
    }
}

#[test]
fn bad_input_is_refused_and_the_next_run_is_good() {
    let mut model = load_fixture("tiny/llama-0.gguf");
    let good = generate(&mut model, &PROMPT, &greedy());
    let vocabulary = model.tokenizer.vocab_size() as u32;
    let mut late = vec![7; 300];
    // After whole steps of 128: a token is looked up there as the one to score before it is run.
    let far: Vec<Vec<u32>> = [0, 1, 127, 128, 129, 256, 299]
        .into_iter()
        .flat_map(|at| [vocabulary, u32::MAX].map(|token| (at, token)))
        .map(|(at, token)| {
            late.fill(7);
            late[at] = token;
            late.clone()
        })
        .collect();
    for input in [vec![]].into_iter().chain(far) {
        let generation = begin(&model, &input, &greedy()).err().expect("the prompt is refused");
        let score = Score::new(&model.executor, &input).err().expect("the text is refused");
        assert_eq!((generation.code, score.code), (Code::InvalidArgument, Code::InvalidArgument));
        assert_eq!(generate(&mut model, &PROMPT, &greedy()), good);
    }
    let embed = Embedding::new(&model.executor, vec![PROMPT.to_vec()], Pooling::Mean, true);
    assert_eq!(embed.err().expect("a decoder does not embed").code, Code::UnsupportedModel);
    assert_eq!(generate(&mut model, &PROMPT, &greedy()), good);
}

#[test]
fn encoders_embed_and_do_nothing_else() {
    let mut model = load_fixture("tiny/bert-1.gguf");
    let embed = |model: &mut Model, tokens: &[u32], normalize| {
        let mut run = Embedding::new(&model.executor, vec![tokens.to_vec()], Pooling::Mean, normalize)?;
        // Interrupted between all ops.
        while !run.advance(&mut model.executor, &mut || true)? {}
        Ok::<_, Error>(run.take_vectors().concat())
    };
    let good = embed(&mut model, &PROMPT, false).unwrap();
    let length = good.iter().map(|x| x * x).sum::<f32>().sqrt();
    let unit = embed(&mut model, &PROMPT, true).unwrap();
    assert!(unit.iter().zip(&good).all(|(unit, x)| (unit - x / length).abs() < 1e-6));

    let context = model.executor.plan().context_length;
    assert!(embed(&mut model, &vec![7; context], false).is_ok());
    for (tokens, code) in [
        (vec![7; context + 1], Code::ContextOverflow),
        (vec![], Code::InvalidArgument),
        (vec![7, 264], Code::InvalidArgument),
        (vec![u32::MAX], Code::InvalidArgument),
    ] {
        assert_eq!(embed(&mut model, &tokens, false).expect_err("the input is refused").code, code);
        assert_eq!(embed(&mut model, &PROMPT, false).unwrap(), good);
    }
    let errors = [
        begin(&model, &PROMPT, &greedy()).err(),
        Score::new(&model.executor, &PROMPT).err(),
        model.executor.logits(0..1, &mut vec![]).err(),
    ];
    assert!(errors.iter().all(|error| error.as_ref().is_some_and(|e| e.code == Code::UnsupportedModel)));
    assert_eq!(embed(&mut model, &PROMPT, false).unwrap(), good);
}

#[test]
fn scores_are_those_of_the_logits() {
    let mut model = load_fixture("tiny/llama-1.gguf");
    let mut single = Score::new(&model.executor, &[5]).unwrap();
    assert!(single.advance(&mut model.executor, &mut || false).unwrap());
    assert_eq!(single.logprobs(), [None]);

    // Capped logits of one size: every token is as probable as any other, up to e^±0.002.
    let mut draft = Draft::tiny("gemma3-0");
    draft.set("gemma3.final_logit_softcapping", Value::F32(0.001));
    let mut model = load(&draft.file(), 4096).unwrap();
    let mut run = Score::new(&model.executor, &[7; 150]).unwrap();
    while !run.advance(&mut model.executor, &mut || true).unwrap() {}
    assert_eq!(run.progress(), (150, 150));
    let uniform = -(264.0_f32).ln();
    assert!(run.logprobs()[1..].iter().all(|logprob| (logprob.unwrap() - uniform).abs() <= 0.002));
}
