//! Tokenizers over tiny vocabularies built here: rules one by one, and metadata that lies.

use std::time::{Duration, Instant};

use wisplm::error::Code;
use wisplm::gguf::{Array, Metadata, Value};
use wisplm::tokenizer::Tokenizer;

const NORMAL: i32 = 1;
const UNKNOWN: i32 = 2;
const CONTROL: i32 = 3;
const USER: i32 = 4;
const BYTE: i32 = 6;

/// Metadata to be, of which a test changes what it is about.
#[derive(Clone, Default)]
struct Sketch(Vec<(&'static str, Value)>);

impl Sketch {
    fn with(mut self, key: &'static str, value: Value) -> Self {
        self.0.retain(|(other, _)| *other != key);
        self.0.push((key, value));
        self
    }

    fn without(mut self, key: &str) -> Self {
        self.0.retain(|(other, _)| *other != key);
        self
    }

    fn tokens(self, tokens: &[(&str, i32)]) -> Self {
        self.with(TOKENS, strings(tokens.iter().map(|(text, _)| *text)))
            .with(TYPES, Value::Array(Array::I32(tokens.iter().map(|(_, kind)| *kind).collect())))
    }

    fn metadata(&self) -> Metadata {
        let mut metadata = Metadata::new();
        for (key, value) in &self.0 {
            metadata.insert(*key, value.clone()).unwrap();
        }
        metadata
    }

    fn build(&self) -> wisplm::error::Result<Tokenizer> {
        Tokenizer::from_metadata(&self.metadata())
    }
}

const MODEL: &str = "tokenizer.ggml.model";
const PRE: &str = "tokenizer.ggml.pre";
const TOKENS: &str = "tokenizer.ggml.tokens";
const TYPES: &str = "tokenizer.ggml.token_type";
const SCORES: &str = "tokenizer.ggml.scores";
const MERGES: &str = "tokenizer.ggml.merges";
const BOS: &str = "tokenizer.ggml.bos_token_id";
const EOS: &str = "tokenizer.ggml.eos_token_id";
const ADD_BOS: &str = "tokenizer.ggml.add_bos_token";
const ADD_EOS: &str = "tokenizer.ggml.add_eos_token";
const ADD_SPACE: &str = "tokenizer.ggml.add_space_prefix";

fn text(text: &str) -> Value {
    Value::String(text.into())
}

fn strings<S: AsRef<str>>(strings: impl IntoIterator<Item = S>) -> Value {
    Value::Array(Array::Strings(strings.into_iter().collect()))
}

/// GPT-2's 256 characters, in the order of their bytes.
fn alphabet() -> Vec<String> {
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
fn gpt2() -> Sketch {
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
fn spm(more: &[(&str, i32, f32)]) -> Sketch {
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

fn bert() -> Sketch {
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

#[test]
fn merges_by_rank() {
    let tokenizer = gpt2().build().unwrap();
    assert_eq!(tokenizer.encode("hello hello", false, None).unwrap(), [259, 260]);
    assert_eq!(tokenizer.encode("hell", false, None).unwrap(), [258]);
    assert_eq!(tokenizer.encode("lll", false, None).unwrap(), [257, u32::from(b'l')]);
    assert!(tokenizer.encode("", false, None).unwrap().is_empty());
}

#[test]
fn some_pre_tokenizers_take_whole_words() {
    // No merge leads to the token.
    let sketch = gpt2().with(MERGES, strings(["h e"]));
    assert_eq!(sketch.build().unwrap().encode("hello", false, None).unwrap().len(), 4);
    let tokenizer = sketch.with(PRE, text("llama-bpe")).build().unwrap();
    assert_eq!(tokenizer.encode("hello", false, Some(false)).unwrap(), [259]);
}

#[test]
fn control_tokens_only_on_request() {
    let tokenizer = gpt2().build().unwrap();
    let message = "<|im_start|>hello<|im_end|>";
    assert_eq!(tokenizer.encode(message, true, None).unwrap(), [261, 259, 262]);
    let plain = tokenizer.encode(message, false, None).unwrap();
    assert!(plain.iter().all(|&id| id < 261), "{plain:?}");
    assert_eq!(tokenizer.decode(&plain).unwrap(), message);
    // A control token has no text.
    assert_eq!(tokenizer.decode(&[261, 259, 262]).unwrap(), "hello");
    assert_eq!(tokenizer.token_bytes(261), Some(vec![]));
    assert_eq!(tokenizer.token_text(261), Some("<|im_start|>"));
    assert!(tokenizer.is_control(261) && !tokenizer.is_control(263) && !tokenizer.is_control(9999));
}

#[test]
fn user_defined_tokens_always() {
    let tokenizer = gpt2().build().unwrap();
    for special in [false, true] {
        // The longer token wins.
        let ids = tokenizer.encode("<think>hello<think", special, None).unwrap();
        assert_eq!(ids, [263, 259, 264]);
        assert_eq!(tokenizer.decode(&ids).unwrap(), "<think>hello<think");
    }
    assert_eq!(tokenizer.token_bytes(263).as_deref(), Some(&b"<think>"[..]));
}

#[test]
fn where_special_tokens_overlap_the_longer_wins() {
    let tokenizer = spm(&[("aXX", USER, 0.0), ("XXbb", USER, 0.0), ("a", NORMAL, 0.0)]);
    let tokenizer = tokenizer.with(ADD_SPACE, Value::Bool(false)).build().unwrap();
    assert_eq!(tokenizer.encode("aXXbb", false, Some(false)).unwrap(), [261, 260]);
}

#[test]
fn begin_and_end() {
    let ids = |sketch: Sketch, bos| sketch.build().unwrap().encode("hello", false, bos).unwrap();
    assert_eq!(ids(gpt2(), None), [259]);
    assert_eq!(ids(gpt2(), Some(true)), [261, 259]);
    let both = gpt2().with(ADD_BOS, Value::Bool(true)).with(ADD_EOS, Value::Bool(true));
    assert_eq!(ids(both.clone(), None), [261, 259, 262]);
    assert_eq!(ids(both.clone(), Some(false)), [259]);
    // The default depends on the pre-tokenizer.
    assert_eq!(ids(gpt2().with(PRE, text("llama-bpe")), None), [261, 259]);
    assert_eq!(ids(gpt2().with(PRE, text("llama-bpe")).with(ADD_BOS, Value::Bool(false)), None), [259]);

    let tokenizer = both.build().unwrap();
    // A rendered chat may begin with BOS already.
    assert_eq!(tokenizer.encode("<|im_start|>hello", true, None).unwrap(), [261, 259, 262]);
    assert_eq!(tokenizer.encode("", false, None).unwrap(), [261, 262]);
    assert_eq!((tokenizer.bos(), tokenizer.eos()), (Some(261), Some(262)));

    let tokenizer = gpt2().without(BOS).build().unwrap();
    let error = tokenizer.encode("hello", false, Some(true)).unwrap_err();
    assert_eq!(error.code, Code::InvalidArgument);
    assert_eq!(tokenizer.encode("hello", false, None).unwrap(), [259]);
}

#[test]
fn ends_of_generation() {
    let tokenizer = gpt2().with(EOS, Value::U32(10)).with("tokenizer.ggml.eot_token_id", Value::U32(11));
    let tokenizer = tokenizer.build().unwrap();
    let ends: Vec<u32> = (0..300).filter(|&id| tokenizer.is_end(id)).collect();
    assert_eq!(ends, [10, 11, 262]);

    // Known by their text, also where the file has the wrong kind; but not Gemma 4's `</s>`, which is HTML.
    let more = [("<end_of_turn>", NORMAL, 0.0), ("<|fim_pad|>", NORMAL, 0.0)];
    let tokenizer = spm(&more).build().unwrap();
    assert!([2, 259, 260].iter().all(|&id| tokenizer.is_end(id) && tokenizer.is_control(id)));
    let tokenizer = spm(&[("<|tool_response>", USER, 0.0)]).build().unwrap();
    assert!(tokenizer.is_end(259) && !tokenizer.is_end(2));
    let harmony = [("<|return|>", CONTROL, 0.0), ("<|call|>", CONTROL, 0.0), ("<|end|>", CONTROL, 0.0)];
    let tokenizer = spm(&harmony).build().unwrap();
    assert!(tokenizer.is_end(259) && tokenizer.is_end(260) && !tokenizer.is_end(261));
}

#[test]
fn merges_by_score_and_falls_back_to_bytes() {
    let more = [
        ("▁", NORMAL, -9.0),
        ("a", NORMAL, -9.0),
        ("b", NORMAL, -9.0),
        ("ab", NORMAL, -2.0),
        ("ba", NORMAL, -1.0),
        ("aa", NORMAL, -3.0),
        ("▁a", NORMAL, -4.0),
    ];
    let tokenizer = spm(&more).build().unwrap();
    let ids = |text| tokenizer.encode(text, false, None).unwrap();
    // `ba` has the higher score, of equal ones the leftmost is merged.
    assert_eq!(ids("aba"), [1, 265, 263]);
    assert_eq!(ids("baaa"), [1, 259, 263, 264]);
    assert_eq!(ids("é"), [1, 259, 3 + 0xc3, 3 + 0xa9]);
    for text in ["aba", " a", "  a ", "é\u{1f468}\u{200d}\u{1f469}", "\n\ta", "", " "] {
        assert_eq!(tokenizer.decode(&ids(text)).unwrap(), text);
    }
    assert_eq!(tokenizer.decode(&ids("a▁b")).unwrap(), "a b");
}

#[test]
fn the_space_in_front() {
    let more = [("▁", NORMAL, -1.0), ("a", NORMAL, -2.0), ("<tool>", USER, 0.0), ("▁a", NORMAL, -0.5)];
    let tokenizer = spm(&more).build().unwrap();
    // It is added behind special tokens too, and taken away again.
    let ids = tokenizer.encode("a<tool>a<tool> a", false, None).unwrap();
    assert_eq!(ids, [1, 262, 261, 262, 261, 259, 262]);
    assert_eq!(tokenizer.decode(&ids).unwrap(), "a<tool>a<tool> a");
    // What goes on after a text keeps its space; what follows a special token does not.
    let mut detokenizer = tokenizer.detokenizer_after(Some(260));
    assert_eq!(detokenizer.push(&tokenizer, 262), " a");
    let mut detokenizer = tokenizer.detokenizer_after(Some(261));
    assert_eq!(
        (detokenizer.push(&tokenizer, 262), detokenizer.push(&tokenizer, 262)),
        ("a".into(), " a".into())
    );

    let tokenizer = spm(&more).with(ADD_SPACE, Value::Bool(false)).build().unwrap();
    let ids = tokenizer.encode("a a<tool>a", false, None).unwrap();
    assert_eq!(ids, [1, 260, 262, 261, 260]);
    assert_eq!(tokenizer.decode(&ids).unwrap(), "a a<tool>a");
}

#[test]
fn phi_3_swallows_space_behind_special_tokens() {
    let more = [("▁a", NORMAL, -0.5), ("a", NORMAL, -2.0), ("<|user|>", CONTROL, 0.0), ("▁", NORMAL, -3.0)];
    let sketch = spm(&more).with("general.name", text("Phi-3 Mini"));
    let tokenizer = sketch.build().unwrap();
    assert_eq!(tokenizer.encode("<|user|> \n a", true, Some(false)).unwrap(), [261, 259]);
    assert_eq!(tokenizer.encode("<s>\na", true, Some(false)).unwrap().len(), 4);
}

#[test]
fn words_and_pieces_of_bert() {
    let tokenizer = bert().build().unwrap();
    let ids = |text| tokenizer.encode(text, false, None).unwrap();
    assert_eq!(ids("Hello, ÉLÉPHANT"), [2, 4, 7, 5, 6, 3]);
    assert_eq!(ids("漢漢hello"), [2, 8, 8, 4, 3]);
    assert_eq!(ids("hellox \u{0}hel\u{ad}lo"), [2, 1, 4, 3]);
    assert_eq!(tokenizer.encode("hello[SEP]", true, Some(false)).unwrap(), [4, 3]);
    assert_eq!(tokenizer.encode("hello", false, Some(true)).unwrap(), [2, 4, 3]);
    assert_eq!(tokenizer.decode(&ids("Hello  elephant")).unwrap(), "hello elephant");

    let cased = bert().with("tokenizer.ggml.normalizer.lowercase", Value::Bool(false)).build().unwrap();
    assert_eq!(cased.encode("Hello hello", false, Some(false)).unwrap(), [1, 4]);
}

#[test]
fn characters_come_whole() {
    let tokenizer = gpt2().build().unwrap();
    let samples = [
        "\u{1f468}\u{200d}\u{1f469}\u{200d}\u{1f467}\u{1f3fd} \u{1f1e9}\u{1f1ea}",
        "ひらがなカタカナ",
        "กินน้ำที่ตลาด",
        "if(a&&b){c=d??e;}",
    ];
    for sample in samples {
        let mut detokenizer = tokenizer.detokenizer();
        let mut back = String::new();
        for id in tokenizer.encode(sample, false, None).unwrap() {
            let piece = detokenizer.push(&tokenizer, id);
            assert!(!piece.contains('\u{fffd}'));
            back.push_str(&piece);
        }
        assert_eq!(back, sample);
        assert_eq!(detokenizer.finish(), "");
    }
}

#[test]
fn broken_bytes_come_as_replacements() {
    let tokenizer = gpt2().build().unwrap();
    for bytes in
        [&b"a\xf0\x9f\x98"[..], b"\xf0\x9fa", b"\x80\x80", b"\xc3\xc3\xa9", b"\xff\xe3\x81", b"\xed\xa0\x80x"]
    {
        let ids: Vec<u32> = bytes.iter().map(|&byte| u32::from(byte)).collect();
        assert_eq!(tokenizer.decode(&ids).unwrap(), String::from_utf8_lossy(bytes));
    }
    let mut detokenizer = tokenizer.detokenizer();
    assert_eq!(detokenizer.push(&tokenizer, 0xe3), "");
    assert_eq!(detokenizer.push(&tokenizer, u32::MAX), "");
    assert_eq!(detokenizer.finish(), "\u{fffd}");
    assert_eq!(detokenizer.finish(), "");
}

#[test]
fn ids_outside_the_vocabulary() {
    let tokenizer = gpt2().build().unwrap();
    for id in [265, u32::MAX] {
        let error = tokenizer.decode(&[259, id]).unwrap_err();
        assert_eq!(error.code, Code::InvalidArgument);
        assert_eq!(
            (tokenizer.token_bytes(id), tokenizer.token_text(id), tokenizer.is_end(id)),
            (None, None, false)
        );
    }
    assert_eq!(tokenizer.decode(&[259]).unwrap(), "hello");
    assert_eq!(tokenizer.vocab_size(), 265);
}

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
fn megabytes_of_one_thing() {
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
        "\n".repeat(1 << 20),
        format!("{}x", " \n\t".repeat(1 << 18)),
        "1".repeat(1 << 20),
        "aB".repeat(1 << 19),
        "<|im_end|><think".repeat(1 << 16),
        "\u{301}".repeat(1 << 19),
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
