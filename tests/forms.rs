//! Forms of answers: whatever a model draws among the tokens that may come next, the answer has the form, and calls of
//! tools are read again as what they are.

#[path = "tokenizer/sketch.rs"]
mod sketch;
mod support;

use serde_json::{Value as Json, json};
use sketch::{CONTROL, EOS, Sketch, USER, gpt2, spm, text};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use support::models;
use wisplm::chat::{self, Clock, Conversation, Templates};
use wisplm::gguf::Value;
use wisplm::runtime::Onset;
use wisplm::tokenizer::Tokenizer;
use wisplm_constraint::{Code, Format, Tokenize, Vocabulary};

const CLOCK: Clock = Clock { year: 2026, month: 11, day: 21, hour: 18, minute: 5, second: 9 };
/// The most tokens of an answer.
const LIMIT: usize = 4000;

struct Model {
    tokenizer: Arc<Tokenizer>,
    vocabulary: Vocabulary,
}

struct Own(Arc<Tokenizer>);

impl Tokenize for Own {
    fn tokens(&self, text: &str) -> Vec<u32> {
        self.0.encode_within(text).unwrap()
    }
}

/// A vocabulary that `tests/tokenizer/expected.mjs` has fetched.
fn vocabulary(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(format!("target/tokenizer/llama.cpp/models/ggml-vocab-{name}.gguf"))
}

impl Model {
    fn open(path: &Path) -> Self {
        Self::of(Tokenizer::from_metadata(&models::metadata(path)).unwrap())
    }

    /// Of bytes, with marks that are tokens: some matched in any text, some control tokens.
    fn marked() -> Self {
        let marks = [
            ("<tool_call>", USER, 0.0),
            ("</tool_call>", CONTROL, 0.0),
            ("[TOOL_CALLS]", CONTROL, 0.0),
            ("[ARGS]", CONTROL, 0.0),
            ("<|tool_call>", USER, 0.0),
            ("<|\"|>", CONTROL, 0.0),
        ];
        Self::of(spm(&marks).with(EOS, Value::U32(2)).build().unwrap())
    }

    fn of(tokenizer: Tokenizer) -> Self {
        let tokenizer = Arc::new(tokenizer);
        let tokens = 0..tokenizer.vocab_size() as u32;
        // As `Engine::token_bytes` has them.
        let words: Vec<Vec<u8>> = tokens
            .clone()
            .map(|token| match tokenizer.token_text(token).filter(|_| tokenizer.is_control(token)) {
                Some(name) => [&[u8::MAX], name.as_bytes()].concat(),
                None => tokenizer.token_bytes(token).unwrap(),
            })
            .collect();
        let ends: Vec<u32> = tokens.filter(|token| tokenizer.is_end(*token)).collect();
        let own = Box::new(Own(Arc::clone(&tokenizer)));
        Model { vocabulary: Vocabulary::new(&words, &ends, own).unwrap(), tokenizer }
    }

    /// An answer of the form, each of whose tokens is drawn from those allowed, as likely as any other.
    fn answer(&self, format: Format, draw: &mut impl FnMut(usize) -> usize) -> Vec<u32> {
        let mut matcher = self.vocabulary.compile(format).unwrap();
        let mut answer = Vec::new();
        while answer.len() < LIMIT {
            answer.extend(matcher.force().unwrap());
            if matcher.is_finished() {
                return answer;
            }
            let mask = matcher.mask().unwrap();
            let count: u32 = mask.iter().map(|word| word.count_ones()).sum();
            let mut left = draw(count as usize);
            let mut tokens = (0..self.tokenizer.vocab_size() as u32)
                .filter(|token| mask[*token as usize / 32] >> (token % 32) & 1 == 1);
            let mut token = tokens.next().expect("some token may come next");
            for next in tokens {
                if left == 0 {
                    break;
                }
                (token, left) = (next, left - 1);
            }
            if self.tokenizer.is_end(token) {
                return answer;
            }
            matcher.take(&[token]).unwrap();
            answer.push(token);
        }
        panic!("no end: {}", self.text(&answer));
    }

    /// The text with the names of control tokens.
    fn text(&self, answer: &[u32]) -> String {
        let mut bytes = Vec::new();
        for &token in answer {
            match self.tokenizer.is_control(token) {
                true => bytes.extend(self.tokenizer.token_text(token).unwrap().as_bytes()),
                false => bytes.extend(self.tokenizer.token_bytes(token).unwrap()),
            }
        }
        String::from_utf8(bytes).expect("whole characters")
    }
}

/// Numbers that look random, the same in every run.
fn random(mut state: u64) -> impl FnMut(usize) -> usize {
    move |below| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below.max(1)
    }
}

fn tools() -> Json {
    let text = json!({ "type": "string", "maxLength": 8 });
    let parameters = json!({
        "type": "object",
        "properties": { "city": text, "days": { "type": "integer", "minimum": 1, "maximum": 9 } },
        "required": ["city", "days"],
        "additionalProperties": false,
    });
    let place = json!({
        "type": "object",
        "properties": { "road": text, "number": { "type": "integer", "minimum": 1, "maximum": 99 } },
        "required": ["number"],
        "additionalProperties": false,
    });
    let many = json!({
        "properties": {
            "unit": { "enum": ["°C", "\"F\"", "1", ""], "description": "one of those" },
            "by": { "const": "hour" },
            "Tags": { "type": "array", "items": text, "minItems": 1, "maxItems": 3 },
            "numbers": { "type": "array", "items": { "type": "integer", "minimum": 0, "maximum": 20 }, "maxItems": 3 },
            "place": place,
            "places": { "type": "array", "items": { "$ref": "#/$defs/place" }, "maxItems": 2 },
            "perhaps": { "anyOf": [text, { "type": "null" }] },
            "day": { "type": "string", "format": "date" },
            "code": { "type": "string", "pattern": "^[0-9]{3}$" },
            "mixed": { "enum": ["a", 1, null, true] },
            "sure": { "type": "boolean" },
            "an odd {key}": { "type": "boolean" },
        },
        "required": ["unit", "Tags", "code"],
        "additionalProperties": false,
        "$defs": { "place": place },
    });
    let plain = {
        let mut many = many.clone();
        many["properties"].as_object_mut().unwrap().shift_remove("an odd {key}");
        many
    };
    json!([
        { "type": "function", "function": { "name": "weather", "parameters": parameters } },
        { "type": "function", "function": { "name": "the \"time\"", "parameters": { "properties": {}, "additionalProperties": false } } },
        { "type": "function", "function": { "name": "many", "parameters": many } },
        { "type": "function", "function": { "name": "plain", "parameters": plain } },
    ])
}

/// Whether a schema accepts a value, as far as it is made of the keywords above.
fn accepts(root: &Json, schema: &Json, value: &Json) -> bool {
    let number = |key: &str| schema[key].as_f64();
    let within = |size: f64, least: &str, most: &str| {
        number(least).is_none_or(|least| least <= size) && number(most).is_none_or(|most| size <= most)
    };
    let sized = match value {
        Json::Number(number) => within(number.as_f64().unwrap(), "minimum", "maximum"),
        Json::String(text) => within(text.chars().count() as f64, "minLength", "maxLength"),
        Json::Array(items) => within(items.len() as f64, "minItems", "maxItems"),
        _ => true,
    };
    let typed = match schema["type"].as_str() {
        None => true,
        Some("integer") => value.is_i64(),
        Some("string") => value.is_string(),
        Some("boolean") => value.is_boolean(),
        Some("array") => value.is_array(),
        Some("object") => value.is_object(),
        Some(other) => other == "null" && value.is_null(),
    };
    let matches = |pattern: &str| regex::Regex::new(pattern).unwrap().is_match(value.as_str().unwrap());
    let patterned = schema["pattern"].as_str().is_none_or(matches)
        && (schema["format"] != "date" || matches(r"^\d{4}-\d\d-\d\d$"));
    let chosen = schema["enum"].as_array().is_none_or(|all| all.contains(value))
        && schema.get("const").is_none_or(|only| only == value)
        && schema["anyOf"].as_array().is_none_or(|all| all.iter().any(|one| accepts(root, one, value)))
        && schema["$ref"].as_str().is_none_or(|to| accepts(root, root.pointer(&to[1..]).unwrap(), value));
    let items = value.as_array().into_iter().flatten();
    let parts = items.clone().all(|item| schema.get("items").is_none_or(|of| accepts(root, of, item)))
        && value.as_object().is_none_or(|entries| {
            schema["required"]
                .as_array()
                .is_none_or(|all| all.iter().all(|key| entries.contains_key(key.as_str().unwrap())))
                && entries.iter().all(|(key, value)| accepts(root, &schema["properties"][key], value))
        });
    sized && typed && patterned && chosen && parts
}

#[test]
fn prescribed_calls_are_read_as_calls() {
    let key = "tokenizer.chat_template";
    // Marks are tokens of one, and text for the others.
    let models = [
        Model::marked(),
        Model::open(&vocabulary("qwen35")),
        Model::open(&models::path("SmolLM2-135M-Instruct.Q4_1.gguf")),
    ];
    let signs = [
        "<tool_call>",
        "[TOOL_CALLS]",
        "[TOOL_CALLS] [ARGS]",
        "<|python_tag|>",
        "<|tool|> <|/tool|>",
        "<tool_call> <function=",
        "<|tool_call> <tool_call|>",
    ];
    let mut draw = random(7);
    for (model, sign) in models.iter().flat_map(|model| signs.iter().map(move |sign| (model, sign))) {
        let template = format!("{{# {sign} #}}{{{{ tools }}}}");
        let templates = Templates::from_metadata(&Sketch::default().with(key, text(&template)).metadata());
        for choice in [json!("required"), json!({ "name": "many" }), json!({ "name": "plain" })] {
            let asked = json!({ "messages": [{ "role": "user" }], "tools": tools(), "toolChoice": choice });
            let asked = Conversation::from_json(&asked.to_string()).unwrap();
            let (grammar, onset) = chat::form(&templates, &model.tokenizer, &asked, false).unwrap().unwrap();
            assert_eq!(onset, Onset::Answer);
            for _ in 0..3 {
                let answer = model.answer(Format::Grammar(grammar.clone()), &mut draw);
                let prompt = chat::prompt(&templates, &model.tokenizer, &asked, CLOCK).unwrap();
                let mut reply = prompt.reply;
                let mut parts = reply.push(&model.text(&answer));
                parts += reply.finish(false);
                assert!(!parts.calls.is_empty() && parts.text.is_empty(), "{sign}: {}", model.text(&answer));
                for call in &parts.calls {
                    let all = tools();
                    let tool = all.as_array().unwrap().iter().map(|tool| &tool["function"]);
                    let tool = tool.clone().find(|tool| tool["name"] == call.name).unwrap();
                    let (schema, value) = (&tool["parameters"], Json::Object(call.arguments.clone()));
                    let text = model.text(&answer);
                    assert!(choice["name"].is_null() || choice["name"] == call.name, "{text}");
                    assert!(accepts(schema, schema, &value), "{sign}: {text} is read as {value}");
                    let known = |key: &String| schema["properties"].get(key).is_some();
                    assert!(call.arguments.keys().all(known), "{text}");
                }
            }
        }
    }
}

/// What calls of a tool are read as if they have the form.
fn read_if_formed(model: &Model, template: &str, parameters: Json, calls: &str) -> Option<Json> {
    let template = format!("{{# {template} #}}{{{{ tools }}}}");
    let key = "tokenizer.chat_template";
    let templates = Templates::from_metadata(&Sketch::default().with(key, text(&template)).metadata());
    let tools = json!([{ "type": "function", "function": { "name": "f", "parameters": parameters } }]);
    let asked = json!({ "messages": [{ "role": "user" }], "tools": tools, "toolChoice": "required" });
    let asked = Conversation::from_json(&asked.to_string()).unwrap();
    let (grammar, _) = chat::form(&templates, &model.tokenizer, &asked, false).unwrap().unwrap();
    let mut matcher = model.vocabulary.compile(Format::Grammar(grammar)).unwrap();
    matcher.take(&model.tokenizer.encode_within(calls).unwrap()).ok()?;
    let mut reply = chat::prompt(&templates, &model.tokenizer, &asked, CLOCK).unwrap().reply;
    let mut parts = reply.push(calls);
    parts += reply.finish(false);
    assert!(matcher.is_finished() || matcher.mask().is_ok());
    Some(parts.calls.into_iter().map(|call| Json::Object(call.arguments)).collect())
}

#[test]
fn texts_stand_as_they_are() {
    let model = Model::open(&models::path("SmolLM2-135M-Instruct.Q4_1.gguf"));
    let text = || json!({ "properties": { "a": { "type": "string" }, "b": {} }, "required": ["a"] });
    let tags = |a: &str| {
        format!("<tool_call>\n<function=f>\n<parameter=a>\n{a}\n</parameter>\n</function>\n</tool_call>")
    };
    let bare = |a: &str| format!("<|tool_call>call:f{{a:<|\"|>{a}<|\"|>}}<tool_call|>");
    for a in [
        "",
        "42",
        "null",
        "\"q\"",
        "\n a\n\n",
        "</tool_call>",
        "</param",
        "{b:1},",
        "fn f() { \"\\n\" }",
        "é\u{1f600}",
    ] {
        let read = |template, calls: String| read_if_formed(&model, template, text(), &calls);
        assert_eq!(read("<tool_call> <function=", tags(a)), Some(json!([{ "a": a }])), "{a:?}");
        assert_eq!(read("<|tool_call> <tool_call|>", bare(a)), Some(json!([{ "a": a }])), "{a:?}");
        let quoted = format!(r#"{{"name": "f", "arguments": {{"a": {}}}}}"#, json!(a));
        assert_eq!(
            read("<tool_call>", format!("<tool_call>\n{quoted}\n</tool_call>")),
            Some(json!([{ "a": a }])),
            "{quoted}"
        );
    }
    // What would end a text too early is no part of it.
    assert_eq!(read_if_formed(&model, "<tool_call> <function=", text(), &tags("a</parameter>b")), None);
    assert_eq!(read_if_formed(&model, "<|tool_call> <tool_call|>", text(), &bare("a<|\"|>b")), None);
    // Values of any kind are JSON, texts among them; so are those of which more is asked.
    let both = "<parameter=b>\n\"1\"\n</parameter>\n";
    let calls = tags("x").replace("</function>", &format!("{both}</function>"));
    assert_eq!(
        read_if_formed(&model, "<tool_call> <function=", text(), &calls),
        Some(json!([{ "a": "x", "b": "1" }]))
    );
    // Without a schema there may be parameters of any name.
    let free = calls.replace("\"1\"", "[1, 2]");
    assert_eq!(
        read_if_formed(&model, "<tool_call> <function=", Json::Null, &free),
        Some(json!([{ "a": "x", "b": [1, 2] }]))
    );
    assert_eq!(
        read_if_formed(
            &model,
            "<|tool_call> <tool_call|>",
            Json::Null,
            "<|tool_call>call:f{\"a\": [{}]}<tool_call|>"
        ),
        Some(json!([{ "a": [{}] }]))
    );
}

#[test]
fn what_a_syntax_has_no_place_for_is_refused() {
    let model = Model::marked();
    for (sign, tool, what) in [
        (
            "<tool_call> <function=",
            json!({ "name": "f", "parameters": { "properties": { "a>": {} } } }),
            "a>",
        ),
        (
            "<tool_call> <function=",
            json!({ "name": "f", "parameters": { "properties": { "a": {} }, "minProperties": 1 } }),
            "f: ",
        ),
        ("<tool_call> <function=", json!({ "name": "f", "parameters": { "anyOf": [] } }), "f: "),
        ("<tool_call> <function=", json!({ "name": "f>" }), "f>"),
        ("<|tool_call> <tool_call|>", json!({ "name": "f{" }), "f{"),
    ] {
        let template = format!("{{# {sign} #}}{{{{ tools }}}}");
        let key = "tokenizer.chat_template";
        let templates = Templates::from_metadata(&Sketch::default().with(key, text(&template)).metadata());
        let asked =
            json!({ "messages": [{ "role": "user" }], "tools": [{ "type": "function", "function": tool }] });
        let asked = Conversation::from_json(&asked.to_string()).unwrap();
        let error = chat::form(&templates, &model.tokenizer, &asked, false).unwrap_err();
        assert_eq!(error.code.as_str(), "invalid-argument");
        assert!(error.message.contains(what), "{error}");
    }
}

#[test]
fn an_answer_may_have_its_own_form_or_that_of_a_call() {
    let model = Model::open(&models::path("SmolLM2-135M-Instruct.Q4_1.gguf"));
    let key = "tokenizer.chat_template";
    let mut draw = random(11);
    for sign in ["<tool_call>", "<|tool_call> <tool_call|>", "<tool_call> <function=", "<|python_tag|>"] {
        let template = format!("{{# {sign} #}}{{{{ tools }}}}");
        let templates = Templates::from_metadata(&Sketch::default().with(key, text(&template)).metadata());
        let asked = json!({ "messages": [{ "role": "user" }], "tools": tools() });
        let asked = Conversation::from_json(&asked.to_string()).unwrap();
        let form = chat::form(&templates, &model.tokenizer, &asked, true);
        if sign == "<|python_tag|>" {
            assert!(form.unwrap_err().message.contains("do not go together"));
            continue;
        }
        let (grammar, onset) = form.unwrap().unwrap();
        assert_eq!(onset, Onset::Answer);
        let forms = [
            json!({ "schema": { "type": "object", "properties": { "name": { "enum": ["Bob"] } }, "required": ["name"], "additionalProperties": false } }),
            json!({ "choices": ["{\"name\": \"Bob\"}"] }),
            json!({ "regex": "\\{\"name\": \"Bob\"\\}" }),
            json!({ "grammar": "start: \"{\" rest\nrest: \"\\\"name\\\": \\\"Bob\\\"}\"" }),
        ];
        let mut seen = [0, 0];
        for form in forms {
            let either = json!({ "either": [{ "grammar": grammar.clone() }, form] });
            for _ in 0..12 {
                let format = Format::from_json(&either.to_string()).unwrap();
                let answer = model.text(&model.answer(format, &mut draw));
                let mut reply = chat::prompt(&templates, &model.tokenizer, &asked, CLOCK).unwrap().reply;
                let mut parts = reply.push(&answer);
                parts += reply.finish(false);
                seen[usize::from(parts.calls.is_empty())] += 1;
                assert!(parts.text.is_empty() != parts.calls.is_empty(), "{answer}");
                assert!(!parts.calls.is_empty() || parts.text == r#"{"name": "Bob"}"#, "{answer}");
            }
        }
        assert!(seen[0] > 0 && seen[1] > 0, "{sign}: {seen:?}");
    }
}

#[test]
fn only_calls_that_begin_are_prescribed_unless_one_is_asked_for() {
    let key = "tokenizer.chat_template";
    let (marked, plain) = (Model::marked(), gpt2().build().unwrap());
    let form_of = |tokenizer: &Tokenizer, sign: &str, choice: Json| {
        let template = format!("{{# {sign} #}}{{{{ tools }}}}");
        let templates = Templates::from_metadata(&Sketch::default().with(key, text(&template)).metadata());
        let asked = json!({ "messages": [{ "role": "user" }], "tools": tools(), "toolChoice": choice });
        let asked = Conversation::from_json(&asked.to_string()).unwrap();
        chat::form(&templates, tokenizer, &asked, false).map(|form| form.map(|(_, onset)| onset))
    };
    let form = |sign: &str, choice: Json| form_of(&marked.tokenizer, sign, choice);
    assert_eq!(form("<tool_call>", json!("auto")).unwrap(), Some(Onset::Calls));
    assert_eq!(form("<tool_call>", Json::Null).unwrap(), Some(Onset::Calls));
    assert_eq!(form("<tool_call>", json!("none")).unwrap(), None);
    // Not a token there.
    assert_eq!(form_of(&plain, "<tool_call>", json!("auto")).unwrap(), None);
    assert_eq!(form("<tool_call> <function=", json!("auto")).unwrap(), Some(Onset::Calls));
    assert!(form("<tool_call>", json!({ "name": "sum" })).is_err());
    assert_eq!(form("<|python_tag|>", json!("auto")).unwrap(), Some(Onset::Answer));
    assert_eq!(form("<|python_tag|>", json!("none")).unwrap(), None);
    let none = json!({ "messages": [{ "role": "user" }], "toolChoice": "required" });
    assert!(Conversation::from_json(&none.to_string()).is_err());
}

#[test]
fn an_answer_that_begins_as_a_call_without_a_mark_is_one() {
    let model = Model::open(&models::path("SmolLM2-135M-Instruct.Q4_1.gguf"));
    let key = "tokenizer.chat_template";
    let templates =
        Templates::from_metadata(&Sketch::default().with(key, text("{{ tools }} <|python_tag|>")).metadata());
    let parameters = json!({ "properties": { "a": { "type": "integer" } }, "required": ["a"], "additionalProperties": false });
    let tool = json!({ "type": "function", "function": { "name": "f", "parameters": parameters } });
    let asked = json!({ "messages": [{ "role": "user" }], "tools": [tool] });
    let asked = Conversation::from_json(&asked.to_string()).unwrap();
    let (grammar, _) = chat::form(&templates, &model.tokenizer, &asked, false).unwrap().unwrap();
    for (answer, fine) in [
        (r#"{"name": "f", "parameters": {"a": 1}}"#, true),
        (r#"<|python_tag|>{"name": "f", "parameters": {"a": 1}}"#, true),
        (r#"{"name": "g""#, false),
        (r#"{"name": "f", "parameters": {"a": "x""#, false),
        (" {", false),
        ("Hello {\"name\": 3}\n\nthere 😀", true),
        ("\n\nWell", true),
    ] {
        let mut matcher = model.vocabulary.compile(Format::Grammar(grammar.clone())).unwrap();
        let taken = matcher.take(&model.tokenizer.encode_within(answer).unwrap());
        assert_eq!(taken.is_ok(), fine, "{answer}");
    }
}

#[test]
fn a_form_that_cannot_be_had_is_refused_before_the_first_token() {
    let model = Model::open(&models::path("SmolLM2-135M-Instruct.Q4_1.gguf"));
    let refusal = |json: &str| {
        let format = Format::from_json(json).and_then(|format| model.vocabulary.compile(format).map(|_| ()));
        format.expect_err(json).code
    };
    for json in [
        r#"{ "schema": { "type": "integer", "minimum": 3, "maximum": 2 } }"#,
        r#"{ "schema": false }"#,
        r##"{ "schema": { "type": "object", "properties": { "n": { "$ref": "#" } }, "required": ["n"] } }"##,
    ] {
        assert_eq!(refusal(json), Code::ConstraintUnsatisfiable, "{json}");
    }
    let nested = format!(r#"{{ "schema": {}1{} }}"#, "[".repeat(10_000), "]".repeat(10_000));
    let large = format!(r#"{{ "grammar": "{}" }}"#, "a".repeat(2 << 20));
    for json in [
        r#"{ "schema": 3 }"#,
        r#"{ "schema": { "type": "sum" } }"#,
        r#"{ "schema": { "not": {} } }"#,
        r#"{ "schema": { "$ref": "https://example.org/" } }"#,
        r#"{ "regex": "(a" }"#,
        r#"{ "regex": "(?=a)b" }"#,
        r#"{ "choices": [] }"#,
        r#"{ "grammar": "root ::= \"a\"" }"#,
        r#"{ "grammar": "start: other" }"#,
        r#"{ "grammar": "" }"#,
        r#"{ "form": 1 }"#,
        "3",
        &nested,
        &large,
    ] {
        assert_eq!(refusal(json), Code::InvalidArgument, "{}", &json[..json.len().min(60)]);
    }
    let mut draw = random(3);
    for json in [
        r#"{ "choices": ["yes", "no", "\"\n"] }"#,
        r#"{ "regex": "[a-c]{3}-\\d" }"#,
        r#"{ "grammar": "start: \"a\" start? \"b\"" }"#,
    ] {
        println!("{json}: {}", model.text(&model.answer(Format::from_json(json).unwrap(), &mut draw)));
    }
}
