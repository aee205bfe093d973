//! Every vocabulary at hand against llama.cpp, and tiktoken's against tiktoken: the same ids for thousands of generated
//! strings, with control tokens matched and not, and the text back again.
//!
//! `tests/tokenizer/expected.mjs` asks llama.cpp and leaves its answers in `target/tokenizer/`.

mod support;

use std::path::{Path, PathBuf};
use std::time::Instant;

use support::models;
use wisplm::tokenizer::Tokenizer;

/// What llama.cpp made of the strings.
#[derive(serde::Deserialize)]
struct Expected {
    /// The model file.
    path: PathBuf,
    bos: Option<u32>,
    ends: Vec<u32>,
    texts: Vec<String>,
    plain: Vec<Vec<u32>>,
    special: Vec<Vec<u32>>,
    /// What tiktoken made of those that are not long.
    tiktoken: Option<Vec<Option<Vec<u32>>>>,
}

impl Expected {
    fn read(name: &str) -> Self {
        let path =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tokenizer").join(format!("{name}.json"));
        let json = std::fs::read(&path).unwrap_or_else(|error| {
            panic!(
                "{}: {error}\nrun `make test`, or in tests/tokenizer: npm install --no-save --ignore-scripts --omit=optional && \
                 node expected.mjs",
                path.display()
            )
        });
        serde_json::from_slice(&json).unwrap()
    }
}

/// Compares all. `changed` is how a text comes back, if at all.
fn compare(name: &str, changed: Option<fn(&str) -> String>) {
    compare_with(name, changed, false);
}

/// The same; where llama.cpp `approximates`, tiktoken says what is right, and llama.cpp is only compared with where it
/// agrees.
fn compare_with(name: &str, changed: Option<fn(&str) -> String>, approximates: bool) {
    let expected = Expected::read(name);
    assert!(expected.texts.len() >= 2000, "{name}: only {} strings", expected.texts.len());
    let metadata = models::metadata(&expected.path);
    let start = Instant::now();
    let tokenizer = Tokenizer::from_metadata(&metadata).unwrap();
    let built = start.elapsed();
    drop(metadata);

    let mut compared = 0;
    let mut wrong = Vec::new();
    let agreed = |index: usize| {
        let right = expected.tiktoken.as_ref().and_then(|all| all[index].as_ref());
        !approximates || right.is_none_or(|ids| *ids == expected.plain[index])
    };
    let of_llama_cpp = |ids: &[Vec<u32>]| -> Vec<Option<Vec<u32>>> {
        ids.iter().enumerate().map(|(index, ids)| agreed(index).then(|| ids.clone())).collect()
    };
    let (plain, special) = (of_llama_cpp(&expected.plain), of_llama_cpp(&expected.special));
    let tiktoken = expected.tiktoken.iter().map(|ids| ("tiktoken", false, ids));
    for (whose, special, all_ids) in
        [("llama.cpp", false, &plain), ("llama.cpp", true, &special)].into_iter().chain(tiktoken)
    {
        for (text, ids) in expected.texts.iter().zip(all_ids) {
            let Some(ids) = ids else { continue };
            let ours = tokenizer.encode(text, special, Some(false)).unwrap();
            compared += 1;
            if ours != *ids {
                let at = ours.iter().zip(ids).take_while(|(a, b)| a == b).count();
                let show = |ids: &[u32]| {
                    let end = ids.len().min(at + 8);
                    ids[at..end].iter().map(|&id| (id, tokenizer.token_text(id).unwrap())).collect::<Vec<_>>()
                };
                wrong.push(format!(
                    "{whose}, special {special}, {text:?}, token {at}:\n  ours   {:?}\n  theirs {:?}",
                    show(&ours),
                    show(ids)
                ));
            }
        }
    }
    if let Some(changed) = changed {
        for text in &expected.texts {
            for bos in [Some(false), None] {
                let ids = tokenizer.encode(text, false, bos).unwrap();
                let back = tokenizer.decode(&ids).unwrap();
                if back != changed(text) {
                    wrong.push(format!("{text:?} comes back as {back:?}"));
                }
                let mut detokenizer = tokenizer.detokenizer();
                let mut pieces: String = ids.iter().map(|&id| detokenizer.push(&tokenizer, id)).collect();
                pieces.push_str(&detokenizer.finish());
                assert_eq!(pieces, back, "{name}: pieces of {text:?}");
            }
        }
    }
    // Text of unknown origin must not steer the model, not by a detour over merges either.
    let controls =
        (0..tokenizer.vocab_size() as u32).filter(|&id| changed.is_some() && tokenizer.is_control(id));
    for id in controls {
        let text = tokenizer.token_text(id).unwrap();
        let ids = tokenizer.encode(&format!("{text}x{text}"), false, Some(false)).unwrap();
        if ids.iter().any(|&id| tokenizer.is_control(id)) {
            wrong.push(format!("{text:?} as plain text becomes {ids:?}"));
        }
    }
    let ends: Vec<u32> = (0..tokenizer.vocab_size() as u32).filter(|&id| tokenizer.is_end(id)).collect();
    assert_eq!(ends, expected.ends, "{name}: tokens that end a generation");
    let first = tokenizer.encode("x", false, None).unwrap()[0];
    assert_eq!(Some(first).filter(|&id| tokenizer.is_control(id)), expected.bos, "{name}: BOS");

    println!("{name}: {compared} comparisons over {} strings, built in {built:.0?}", expected.texts.len());
    assert!(
        wrong.is_empty(),
        "{name}: {} differences\n{}",
        wrong.len(),
        wrong[..wrong.len().min(20)].join("\n")
    );
}

fn as_is(text: &str) -> String {
    text.to_owned()
}

/// SmolLM2 has no tokens for the bytes 0xF1 and 0xF2: llama.cpp and we drop them, and a character of the planes 4
/// to 11 (Unicode has assigned none) leaves its other three bytes, each of which is broken.
fn without_planes_4_to_11(text: &str) -> String {
    let plane =
        |c| if matches!(c, '\u{40000}'..='\u{bffff}') { "\u{fffd}".repeat(3) } else { String::from(c) };
    text.chars().map(plane).collect()
}

/// In SentencePiece vocabularies `▁` is the space.
fn with_spaces(text: &str) -> String {
    text.replace('▁', " ")
}

#[test]
fn smollm2() {
    compare("smollm2", Some(without_planes_4_to_11));
}

#[test]
fn gemma_3() {
    compare("gemma-3", Some(with_spaces));
}

#[test]
fn llama_bpe() {
    compare("llama-bpe", Some(as_is));
}

#[test]
fn llama_spm() {
    compare("llama-spm", Some(with_spaces));
}

#[test]
fn qwen2() {
    compare("qwen2", Some(as_is));
}

#[test]
fn qwen35() {
    compare("qwen35", Some(as_is));
}

#[test]
fn gemma_4() {
    compare("gemma-4", Some(with_spaces));
}

#[test]
fn phi_3() {
    compare("phi-3", Some(with_spaces));
}

#[test]
fn bert_bge() {
    compare("bert-bge", None);
}

#[test]
fn mistral() {
    for version in ["v1", "v3", "v7"] {
        compare(&format!("mistral-{version}"), Some(with_spaces));
    }
}

#[test]
fn gpt_2() {
    compare("gpt-2", Some(as_is));
}

#[test]
fn cl100k() {
    compare("cl100k", Some(as_is));
}

/// The lines of the table of pre-tokenizers that no vocabulary at hand uses: Llama 3's, renamed.
#[test]
fn other_pre_tokenizers() {
    for name in ["default", "smaug-bpe"] {
        compare(&format!("llama-bpe-as-{name}"), Some(as_is));
    }
}

/// Of these two llama.cpp has approximations, in which marks are no part of a word and only ASCII has two cases; ours are
/// the expressions of the models' own tokenizers, as tiktoken has them.
#[test]
fn pre_tokenizers_that_llama_cpp_approximates() {
    for name in ["tekken", "o200k"] {
        compare_with(name, Some(as_is), true);
    }
}
