//! Tokenizers over tiny vocabularies: rules one by one.

#[path = "tokenizer/sketch.rs"]
mod sketch;

use sketch::*;
use wisplm::error::Code;
use wisplm::gguf::Value;

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
