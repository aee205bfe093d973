//! Tiny vocabularies, built in code.

// Each test binary uses its part.
#![allow(dead_code)]

use wisplm::gguf::{Array, Metadata, Value};
use wisplm::tokenizer::Tokenizer;

// Kinds of tokens, as the files number them.
pub const NORMAL: i32 = 1;
pub const UNKNOWN: i32 = 2;
pub const CONTROL: i32 = 3;
pub const USER: i32 = 4;
pub const BYTE: i32 = 6;

/// Metadata to be, of which a test changes what it is about.
#[derive(Clone, Default)]
pub struct Sketch(Vec<(&'static str, Value)>);

impl Sketch {
    pub fn with(mut self, key: &'static str, value: Value) -> Self {
        self.0.retain(|(other, _)| *other != key);
        self.0.push((key, value));
        self
    }

    pub fn without(mut self, key: &str) -> Self {
        self.0.retain(|(other, _)| *other != key);
        self
    }

    pub fn tokens(self, tokens: &[(&str, i32)]) -> Self {
        self.with(TOKENS, strings(tokens.iter().map(|(text, _)| *text)))
            .with(TYPES, Value::Array(Array::I32(tokens.iter().map(|(_, kind)| *kind).collect())))
    }

    pub fn metadata(&self) -> Metadata {
        let mut metadata = Metadata::new();
        for (key, value) in &self.0 {
            metadata.insert(*key, value.clone()).unwrap();
        }
        metadata
    }

    pub fn build(&self) -> wisplm::error::Result<Tokenizer> {
        Tokenizer::from_metadata(&self.metadata())
    }
}

pub const MODEL: &str = "tokenizer.ggml.model";
pub const PRE: &str = "tokenizer.ggml.pre";
pub const TOKENS: &str = "tokenizer.ggml.tokens";
pub const TYPES: &str = "tokenizer.ggml.token_type";
pub const SCORES: &str = "tokenizer.ggml.scores";
pub const MERGES: &str = "tokenizer.ggml.merges";
pub const BOS: &str = "tokenizer.ggml.bos_token_id";
pub const EOS: &str = "tokenizer.ggml.eos_token_id";
pub const ADD_BOS: &str = "tokenizer.ggml.add_bos_token";
pub const ADD_EOS: &str = "tokenizer.ggml.add_eos_token";
pub const ADD_SPACE: &str = "tokenizer.ggml.add_space_prefix";

pub fn text(text: &str) -> Value {
    Value::String(text.into())
}

pub fn strings<S: AsRef<str>>(strings: impl IntoIterator<Item = S>) -> Value {
    Value::Array(Array::Strings(strings.into_iter().collect()))
}

/// GPT-2's 256 characters, in the order of their bytes.
pub fn alphabet() -> Vec<String> {
    let mut moved = 256..;
    (0..256u32)
        .map(|byte| match byte {
            33..=126 | 161..=172 | 174..=255 => byte,
            _ => moved.next().unwrap(),
        })
        .map(|code| char::from_u32(code).unwrap().to_string())
        .collect()
}

/// A byte-level vocabulary: bytes (ids 0 to 255), a few merges, and special tokens from 261.
pub fn gpt2() -> Sketch {
    let alphabet = alphabet();
    let mut tokens: Vec<(&str, i32)> = alphabet.iter().map(|text| (text.as_str(), NORMAL)).collect();
    tokens.extend([("he", NORMAL), ("ll", NORMAL), ("hell", NORMAL), ("hello", NORMAL), ("Ġhello", NORMAL)]);
    tokens.extend([("<|im_start|>", CONTROL), ("<|im_end|>", CONTROL), ("<think>", USER), ("<think", USER)]);
    Sketch::default()
        .with(MODEL, text("gpt2"))
        .with(PRE, text("smollm"))
        .tokens(&tokens)
        .with(MERGES, strings(["h e", "l l", "he ll", "hell o", "Ġ hello"]))
        .with(BOS, Value::U32(261))
        .with(EOS, Value::U32(262))
}

/// A SentencePiece vocabulary: `<unk> <s> </s>`, bytes (ids 3 to 258), then what `more` has, with scores.
pub fn spm(more: &[(&str, i32, f32)]) -> Sketch {
    let bytes: Vec<String> = (0..=255).map(|byte| format!("<0x{byte:02X}>")).collect();
    let mut tokens = vec![("<unk>", UNKNOWN), ("<s>", CONTROL), ("</s>", CONTROL)];
    tokens.extend(bytes.iter().map(|text| (text.as_str(), BYTE)));
    tokens.extend(more.iter().map(|(text, kind, _)| (*text, *kind)));
    let mut scores = vec![0.0; 259];
    scores.extend(more.iter().map(|(_, _, score)| *score));
    Sketch::default()
        .with(MODEL, text("llama"))
        .tokens(&tokens)
        .with(SCORES, Value::Array(Array::F32(scores)))
}

pub fn bert() -> Sketch {
    let tokens = [
        ("[PAD]", CONTROL),
        ("[UNK]", CONTROL),
        ("[CLS]", CONTROL),
        ("[SEP]", CONTROL),
        ("▁hello", NORMAL),
        ("▁ele", NORMAL),
        ("phant", NORMAL),
        ("▁,", NORMAL),
        ("▁漢", NORMAL),
    ];
    Sketch::default()
        .with(MODEL, text("bert"))
        .tokens(&tokens)
        .with("tokenizer.ggml.unknown_token_id", Value::U32(1))
        .with("tokenizer.ggml.cls_token_id", Value::U32(2))
        .with("tokenizer.ggml.seperator_token_id", Value::U32(3))
}
