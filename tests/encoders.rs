//! Encoders: embeddings and heads against their originals, alone and beside others, on the CPU and on the GPU.

mod support;

use std::rc::Rc;
use support::draft::Draft;
use support::gpu::open;
use support::models::{json, load, load_fixture, load_fixture_on, numbers, tokens};
use support::numbers::largest_error;
use support::oracles;
use wisplm::error::Code;
use wisplm::gguf::{Array, Value};
use wisplm::gpu::Gpu;
use wisplm::loader::Model;
use wisplm::task::{Embedding, Pooling, head};

/// How far a logit of a float model may be from float32's: keys and values are rounded, sums have another order.
const LOGIT_ERROR: f32 = 0.002;

fn finish(model: &mut Model, mut run: Embedding, pause: bool) -> Vec<Vec<f32>> {
    while !run.advance(&mut model.executor, &mut || pause).expect("the run succeeds") {}
    run.take_vectors()
}

fn on(gpu: Option<&Rc<Gpu>>, name: &str) -> Model {
    let file = format!("tiny/{name}.gguf");
    gpu.map_or_else(|| load_fixture(&file), |gpu| load_fixture_on(gpu, &file))
}

/// Texts of all lengths, far more than a step takes.
fn texts() -> Vec<Vec<u32>> {
    let text = |k: usize| {
        let words = (0..(k * 37) % 60).map(|i| 5 + ((k * 131 + i * 17) % 245) as u32);
        [2].into_iter().chain(words).chain([3]).collect()
    };
    (0..40).map(text).collect()
}

fn scores_of_heads(gpu: Option<&Rc<Gpu>>) {
    for name in ["bert-labels", "bert-rank"] {
        let mut model = on(gpu, name);
        let answers = json(&format!("tiny/{name}.json"));
        let texts = answers["texts"].as_array().expect("a list");
        let inputs: Vec<_> = texts.iter().map(|text| tokens(&text["tokens"])).collect();
        let run = Embedding::of_head(&model.executor, inputs).expect("the texts fit");
        let got = finish(&mut model, run, false);
        for (got, text) in got.iter().zip(texts) {
            let error = largest_error(got, &numbers(&text["logits"]));
            println!("{name}: logits off by {error:.6}");
            assert!(error <= LOGIT_ERROR, "{name}: {error}");
        }
        let refused = Embedding::new(&model.executor, vec![vec![2, 3]], Pooling::Cls, true).err();
        assert_eq!(refused.expect("no embeddings").code, Code::UnsupportedModel);
    }
}

#[test]
fn heads_score_as_their_originals() {
    scores_of_heads(None);
}

#[test]
fn heads_score_as_their_originals_on_the_gpu() {
    scores_of_heads(Some(&open()));
}

fn alone_and_together(gpu: Option<&Rc<Gpu>>) {
    // A software driver takes its time.
    let names: &[&str] = if gpu.is_some() { &["bert-labels"] } else { &["bert-0", "bert-labels"] };
    let texts = || texts()[..if gpu.is_some() { 25 } else { 40 }].to_vec();
    for &name in names {
        let mut model = on(gpu, name);
        let begin = |model: &Model, texts| match name {
            "bert-labels" => Embedding::of_head(&model.executor, texts).unwrap(),
            _ => Embedding::new(&model.executor, texts, Pooling::Mean, true).unwrap(),
        };
        let run = begin(&model, texts());
        let together = finish(&mut model, run, false);
        let run = begin(&model, texts());
        let paused = finish(&mut model, run, true);
        assert_eq!(paused, together, "{name}: the same after any number of pauses");
        for (k, text) in texts().into_iter().enumerate() {
            let run = begin(&model, vec![text]);
            assert_eq!(finish(&mut model, run, false), together[k..k + 1], "{name}: text {k} alone");
        }
    }
}

#[test]
fn vectors_do_not_depend_on_the_texts_beside() {
    alone_and_together(None);
}

#[test]
fn vectors_do_not_depend_on_the_texts_beside_on_the_gpu() {
    alone_and_together(Some(&open()));
}

/// The GPU pools what it has: the host reads a vector of each text and not the states of its tokens.
#[test]
fn vectors_are_pooled_on_the_gpu() {
    let gpu = open();
    let mut model = load_fixture_on(&gpu, "tiny/bert-0.gguf");
    let width = model.executor.plan().embedding_length();
    let texts = texts()[..6].to_vec();
    // Each text's states, and what the host would make of them.
    let mut states = vec![];
    for tokens in &texts {
        let (mut cache, mut of_text) = (model.executor.new_cache(), vec![]);
        model.executor.begin(&mut [(&mut cache, tokens)]).unwrap();
        assert!(model.executor.advance(&mut [&mut cache], &mut || false).unwrap());
        assert!(model.executor.hidden(0..tokens.len(), &mut of_text).unwrap());
        states.push(of_text);
    }
    for pooling in [Pooling::Mean, Pooling::Cls, Pooling::Last] {
        for normalize in [false, true] {
            let run = Embedding::new(&model.executor, texts.clone(), pooling, normalize).unwrap();
            let before = gpu.counts().read;
            let got = finish(&mut model, run, false);
            let read = gpu.counts().read - before;
            for (got, states) in got.iter().zip(&states) {
                let rows = match pooling {
                    Pooling::Mean => &states[..],
                    Pooling::Cls => &states[..width],
                    Pooling::Last => &states[states.len() - width..],
                };
                let error = largest_error(got, &oracles::mean(rows, width, normalize));
                // Sums of tens of values, and a root.
                assert!(error <= 1e-5, "{pooling:?}, {normalize}: {error}");
            }
            assert_eq!(read, (4 * texts.len() * width.next_multiple_of(32)) as u64);
        }
    }
}

#[test]
fn labels_have_names() {
    let model = load_fixture("tiny/bert-labels.gguf");
    assert_eq!(model.info.labels.as_deref().unwrap(), ["joy", "anger", "fear", "none", "awe"]);
    assert_eq!(model.info.pooling, None);
    let model = load_fixture("tiny/bert-rank.gguf");
    assert_eq!(model.info.labels.as_deref().unwrap(), ["LABEL_0"]);
    let pair = head::pair(&model.tokenizer, "aa ba", "ca").unwrap();
    assert_eq!(pair, [2, 5, 6, 3, 7, 3]);

    let refusal = |draft: &Draft| load(&draft.file(), 4096).err().expect("a refusal");
    let mut draft = Draft::tiny("bert-labels");
    draft.set("bert.classifier.output_labels", Value::Array(Array::Bool(vec![true])));
    assert!(load(&draft.file(), 4096).is_ok(), "names that are no strings are none");
    let names = match Draft::tiny("bert-0").keys.iter().find(|(key, _)| key == "tokenizer.ggml.tokens") {
        Some((_, names)) => names.clone(),
        None => panic!("a vocabulary"),
    };
    let error = refusal(draft.set("bert.classifier.output_labels", names));
    assert_eq!(error.code, Code::InvalidModel);
    assert_eq!(error.key.as_deref(), Some("bert.classifier.output_labels"));
    let error = refusal(&Draft::tiny("bert-rank").without("cls.output.weight"));
    assert_eq!((error.code, error.tensor.as_deref()), (Code::InvalidModel, Some("cls.output.weight")));
    let error = refusal(&Draft::tiny("bert-labels").without("cls.output.weight"));
    assert_eq!(error.code, Code::InvalidModel, "a pooler with five names: {error}");
    // Said to embed, it does.
    let mut draft = Draft::tiny("bert-labels");
    let model = load(&draft.set("bert.pooling_type", Value::U32(1)).file(), 4096).unwrap();
    assert_eq!((model.info.labels, model.info.pooling), (None, Some(Pooling::Mean)));
}
