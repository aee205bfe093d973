//! Tokenizers from metadata that lies, and texts that are too much.

#[path = "tokenizer/sketch.rs"]
mod sketch;

use std::time::{Duration, Instant};

use sketch::*;
use wisplm::error::Code;
use wisplm::gguf::{Array, Value};

#[test]
fn metadata_that_cannot_be_right() {
    let ints = |n| Value::Array(Array::I32(vec![1; n]));
    let floats = |n| Value::Array(Array::F32(vec![0.0; n]));
    let plain = || spm(&[("a", NORMAL, 0.0)]);
    let nan = Value::Array(Array::F32(vec![f32::NAN; 260]));
    let negative = Value::Array(Array::I32(vec![-1; 265]));
    let unknown = "tokenizer.ggml.unknown_token_id";
    let cases = [
        (gpt2().without(MODEL), Code::InvalidModel, MODEL),
        (gpt2().with(MODEL, Value::U32(1)), Code::InvalidModel, MODEL),
        (gpt2().with(MODEL, text("t5")), Code::UnsupportedModel, MODEL),
        (gpt2().with(PRE, text("bogus")), Code::UnsupportedModel, PRE),
        (gpt2().with(PRE, Value::Bool(true)), Code::InvalidModel, PRE),
        (gpt2().without(TOKENS), Code::InvalidModel, TOKENS),
        (gpt2().with(TOKENS, ints(3)), Code::InvalidModel, TOKENS),
        (gpt2().with(TOKENS, strings([""; 0])), Code::InvalidModel, TOKENS),
        (gpt2().with(TYPES, ints(264)), Code::InvalidModel, TYPES),
        (gpt2().with(TYPES, floats(265)), Code::InvalidModel, TYPES),
        (gpt2().with(TYPES, negative), Code::InvalidModel, TYPES),
        (gpt2().without(MERGES), Code::InvalidModel, MERGES),
        (gpt2().with(MERGES, ints(2)), Code::InvalidModel, MERGES),
        (gpt2().with(BOS, text("1")), Code::InvalidModel, BOS),
        (gpt2().with(BOS, Value::I32(-1)), Code::InvalidModel, BOS),
        (gpt2().with(ADD_BOS, Value::U32(1)), Code::InvalidModel, ADD_BOS),
        (plain().with(ADD_SPACE, Value::U32(1)), Code::InvalidModel, ADD_SPACE),
        (plain().with(SCORES, floats(259)), Code::InvalidModel, SCORES),
        (plain().with(SCORES, strings(["a"])), Code::InvalidModel, SCORES),
        (plain().with(SCORES, nan), Code::InvalidModel, SCORES),
        (bert().without(unknown), Code::InvalidModel, unknown),
    ];
    for (sketch, code, key) in cases {
        let error = sketch.build().map(|_| ()).unwrap_err();
        assert_eq!((error.code, error.key.as_deref()), (code, Some(key)), "{error}");
    }
    assert!(gpt2().build().is_ok());
}

#[test]
fn metadata_that_can_be_lived_with() {
    // No types, no scores, scores as integers, ids out of range, merges of unknown or cut-off or doubled parts.
    let junk =
        ["h e", "nope e", "e", "", " ", "  ", "e ", "h e", "l l", "he ll", "hell o", "Ġ hello", "é è", "ÿ Ā"];
    let sketches = [
        gpt2().without(TYPES),
        gpt2().with(BOS, Value::U32(9999)),
        gpt2().with(MERGES, strings(junk)),
        gpt2().with(PRE, text("")),
        gpt2().without(PRE),
        gpt2().with(PRE, text("default")),
    ];
    for sketch in sketches {
        let ids = sketch.build().unwrap().encode("hello hello", false, None).unwrap();
        assert_eq!(ids, [259, 260]);
    }
    let plain = spm(&[
        ("a", NORMAL, 0.0),
        ("▁a", NORMAL, 0.0),
        ("", NORMAL, 0.0),
        ("a", USER, 0.0),
        ("▁", NORMAL, 0.0),
    ]);
    for sketch in [plain.clone().without(SCORES), plain.with(SCORES, Value::Array(Array::I32(vec![0; 264])))]
    {
        let tokenizer = sketch.build().unwrap();
        let ids = tokenizer.encode("ab", false, None).unwrap();
        assert_eq!(tokenizer.decode(&ids).unwrap(), "ab");
        assert_eq!(tokenizer.decode(&[261]).unwrap(), "");
    }
}

#[test]
fn bytes_that_are_missing_become_the_unknown() {
    let tokens = [("<unk>", UNKNOWN), ("<s>", CONTROL), ("</s>", CONTROL), ("▁", NORMAL), ("a", NORMAL)];
    let tokenizer = Sketch::default().with(MODEL, text("llama")).tokens(&tokens).build().unwrap();
    assert_eq!(tokenizer.encode("aé", false, None).unwrap(), [1, 3, 4, 0, 0]);
}

#[test]
fn metadata_at_random() {
    let mut state = 1u64;
    let mut below = |n: u64| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) % n
    };
    let parts = ["a", "b", "▁", "Ġ", " ", "<0x61>", "<s>", "é", "<|im_end|>", "\n", "ab", "", "[UNK]", "▁a"];
    let mut built = 0;
    for _ in 0..2000 {
        let mut word =
            |most| (0..below(most)).map(|_| parts[below(parts.len() as u64) as usize]).collect::<String>();
        let tokens: Vec<String> = (0..20).map(|_| word(4)).collect();
        let merges: Vec<String> = (0..20).map(|_| word(6)).collect();
        let input = word(30);
        let count = 16 + below(8);
        let sketch = Sketch::default()
            .with(MODEL, text(["gpt2", "gemma4", "llama", "bert"][below(4) as usize]))
            .with(PRE, text(["default", "llama-bpe", "gpt-4o"][below(3) as usize]))
            .with(TOKENS, strings(tokens))
            .with(MERGES, strings(merges))
            .with(TYPES, Value::Array(Array::I32((0..count).map(|_| below(9) as i32).collect())))
            .with(SCORES, Value::Array(Array::F32((0..count).map(|_| below(5) as f32 - 2.0).collect())))
            .with(BOS, Value::U32(below(25) as u32))
            .with("tokenizer.ggml.unknown_token_id", Value::U32(below(25) as u32));
        let Ok(tokenizer) = sketch.build() else { continue };
        built += 1;
        for special in [false, true] {
            let ids = tokenizer.encode(&input, special, None).unwrap();
            tokenizer.decode(&ids).unwrap();
            assert!(ids.iter().all(|&id| (id as usize) < tokenizer.vocab_size()));
        }
    }
    assert!(built > 500, "{built}");
}

/// Nothing in a text makes the time grow faster than the text: a megabyte takes well under the seconds allowed
/// here, and the square of it would take hours.
#[test]
fn a_megabyte_of_one_thing() {
    let merging =
        spm(&[("a", NORMAL, -3.0), ("aa", NORMAL, -2.0), ("▁", NORMAL, -3.0), ("▁▁", NORMAL, -1.0)]);
    let bytes = gpt2().with(MERGES, strings(["Ġ Ġ", "a a", "h e", "l l"]));
    let mut sketches = vec![merging.build().unwrap(), bert().build().unwrap()];
    for pre in ["smollm", "llama-bpe", "qwen2", "qwen35", "tekken", "gpt-4o", "default", "gpt-2"] {
        sketches.push(bytes.clone().with(PRE, text(pre)).build().unwrap());
    }
    let big = [
        "a".repeat(1 << 20),
        " ".repeat(1 << 20),
        "\n".repeat(1 << 18),
        format!("{}x", " \n\t".repeat(1 << 16)),
        "1".repeat(1 << 18),
        "aB".repeat(1 << 17),
        "<|im_end|><think".repeat(1 << 14),
        "\u{301}".repeat(1 << 17),
    ];
    for tokenizer in &sketches {
        for text in &big {
            let start = Instant::now();
            let ids = tokenizer.encode(text, true, Some(false)).unwrap();
            tokenizer.decode(&ids).unwrap();
            assert!(start.elapsed() < Duration::from_secs(60), "{:?}: {:?}", &text[..2], start.elapsed());
        }
    }
}
