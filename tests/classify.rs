//! Classification by generative models: what comes of many prompts and answers at once is what each would have alone.

#[path = "tokenizer/sketch.rs"]
mod sketch;
mod support;

use sketch::{Sketch, text};

use std::rc::Rc;
use support::gpu::open;
use support::models::{json, load, load_fixture, load_fixture_on, path, tokens};
use wisplm::chat::{Clock, Templates};
use wisplm::executor::Executor;
use wisplm::loader::Model;
use wisplm::runtime::Score;
use wisplm::task::{Answers, Classification, Kept, Prefix, Prompting, Query, Task};

const CLOCK: Clock = Clock { year: 2026, month: 11, day: 21, hour: 18, minute: 5, second: 9 };

/// The sum of the log-probabilities of `answer` after `prompt`, as `score()` has it.
fn scored(executor: &mut Executor, prompt: &[u32], answer: &[u32]) -> f32 {
    let mut score = Score::new(executor, &[prompt, answer].concat()).unwrap();
    while !score.advance(executor, &mut || false).unwrap() {}
    score.logprobs()[prompt.len()..].iter().flatten().sum()
}

/// Runs to the end, in slices; the logits, and what is left for the next run.
fn run(executor: &mut Executor, queries: Vec<Query>, prefix: Option<Prefix>) -> (Vec<Vec<f32>>, Prefix) {
    let mut answers = Answers::new(executor, queries, prefix).unwrap();
    while !answers.advance(executor, &mut || true).unwrap() {}
    let (done, total) = answers.progress();
    assert_eq!(done, total);
    answers.finish()
}

/// Prompts with much in common, some longer than a window, and answers of one token and of several.
fn queries(text: &[u32], counts: &[usize]) -> Vec<Query> {
    let answers: Rc<[Vec<u32>]> = [vec![5], vec![9, 3], vec![7, 1, 4], vec![9]].into();
    let prompts = counts.iter().map(|count| [&text[..24], &text[30..][..*count]].concat());
    prompts.map(|prompt| Query { prompt, answers: Rc::clone(&answers) }).collect()
}

fn compare(model: &mut Model, name: &str, counts: &[usize], tolerance: f32) {
    let text = tokens(&json(&format!("tiny/{name}.json"))["tokens"]);
    let executor = &mut model.executor;
    let (together, prefix) = run(executor, queries(&text, counts), None);
    // With what that run had in common; and with a prompt that has only a part of it in common.
    let (again, prefix) = run(executor, queries(&text, counts), Some(prefix));
    let mut odd = queries(&text, counts);
    odd[0].prompt[20] += 1;
    let (apart, _) = run(executor, odd, Some(prefix.clone()));
    let (after, _) = run(executor, queries(&text, counts), Some(prefix));
    let mut worst = 0.0_f32;
    for (index, Query { prompt, answers }) in queries(&text, counts).iter().enumerate() {
        for (k, answer) in answers.iter().enumerate() {
            let want = scored(executor, prompt, answer);
            let mut got = vec![together[index][k], again[index][k], after[index][k]];
            got.extend((index > 0).then_some(apart[index][k]));
            worst = got.iter().fold(worst, |worst, got| worst.max((got - want).abs()));
        }
    }
    println!("{name}: at most {worst:.6} from the scores of each answer alone");
    assert!(worst <= tolerance, "{name}: {worst}");
}

#[test]
fn many_answers_at_once_are_scored_as_each_alone() {
    // The same sums in the same order; a cache that was continued is the cache that was never left.
    for name in ["llama-0", "gemma3-0", "qwen35-0"] {
        let mut model = load_fixture(&format!("tiny/{name}.gguf"));
        compare(&mut model, name, &[3, 40, 1, 9, 90, 12, 30, 2], 1e-5);
    }
}

#[test]
fn so_they_are_on_a_gpu() {
    // Its sums depend on how rows are cut.
    let mut model = load_fixture_on(&open(), "tiny/llama-0.gguf");
    compare(&mut model, "llama-0", &[3, 40, 1], 2e-3);
}

fn templates(source: &str) -> Templates {
    let key = "tokenizer.chat_template";
    Templates::from_metadata(&Sketch::default().with(key, text(source)).metadata())
}

fn classify(model: &mut Model, task: &str, texts: &[&str], kept: Option<&Kept>) -> (Vec<Vec<f32>>, Kept) {
    let Model { executor, tokenizer, templates, .. } = model;
    let prompting = Prompting { tokenizer, templates, clock: CLOCK };
    let texts: Vec<String> = texts.iter().map(|text| text.to_string()).collect();
    let task = Task::from_json(task).unwrap();
    let mut run = Classification::new(executor, &prompting, task, &texts, 0, kept).unwrap();
    while !run.advance(executor, &mut || false).unwrap() {}
    assert_eq!(run.progress(), (texts.len(), texts.len()));
    run.finish()
}

#[test]
fn a_real_model_tells_labels() {
    let mut model = load(&std::fs::read(path("SmolLM2-135M-Instruct.Q4_1.gguf")).unwrap(), 1 << 20).unwrap();
    let task = r#"{ "labels": ["positive", "negative"], "examples": [
        { "text": "I love it.", "label": "positive" }, { "text": "It is awful.", "label": "negative" }] }"#;
    let texts =
        ["What a wonderful evening, thank you!", "The worst food I ever had.", "Great, I am so happy."];
    let (logits, kept) = classify(&mut model, task, &texts, None);
    for (text, logits) in texts.iter().zip(&logits) {
        println!("{text}: {logits:?}");
        assert_eq!(logits[0] > logits[1], !text.contains("worst"), "{text}");
    }
    assert!(kept.bytes() > 0);
    // One by one, with what was kept, they are the same to the bit.
    for (text, logits) in texts.iter().zip(&logits) {
        assert_eq!(&classify(&mut model, task, &[text], Some(&kept)).0[0], logits, "{text}");
    }
    let several = task.replacen('{', r#"{ "multiLabel": true, "#, 1);
    let (logits, _) = classify(&mut model, &several, &texts, None);
    println!("each by itself: {logits:?}");
    assert!(logits.iter().all(|logits| logits.len() == 2));
}

#[test]
fn labels_are_no_thoughts() {
    let mut model = load_fixture("tiny/llama-0.gguf");
    let mut scores = |end: &str| {
        let source = format!("{{# </think> #}}{{{{ messages[0].content ~ {end:?} }}}}");
        model.templates = templates(&source);
        classify(&mut model, r#"{ "labels": ["a", "bc"] }"#, &["b"], None).0
    };
    assert_eq!(scores("<think>\n"), scores("<think>\n\n</think>\n\n"));
}

#[test]
fn a_task_that_makes_no_sense_is_refused() {
    for task in [
        r#"{ "labels": [] }"#,
        r#"{ "labels": ["one"] }"#,
        r#"{ "labels": ["a", "a"] }"#,
        r#"{ "labels": ["a", " "] }"#,
        r#"{ "labels": ["a", "b"], "examples": [{ "text": "x", "label": "c" }] }"#,
        r#"{ "labels": ["a", "b"], "examples": [{ "text": "x", "label": ["a", "b"] }] }"#,
        r#"{ "labels": ["a", "b"], "unknown": 1 }"#,
        "3",
    ] {
        assert!(Task::from_json(task).is_err(), "{task}");
    }
}
