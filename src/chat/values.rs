//! The grammar of the arguments in calls, where a family writes them otherwise than as an object in JSON.
//!
//! Texts stand bare between marks, unless their schema asks for more than a choice or a length; whatever has no way of
//! its own to be written is JSON.

use crate::error::{Error, Result};
use crate::tokenizer::Tokenizer;
use serde_json::{Map, Value, json};

/// How arguments are written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Syntax {
    /// `{"key": value, …}`
    Json,
    /// `<parameter=key>`, a line or more, and `</parameter>`, each on lines of their own.
    Tags,
    /// `{key:value,…}`, with texts between `<|"|>`, in the order of the keys, as the template shows them.
    Bare,
}

impl Syntax {
    /// What ends a parameter.
    pub const CLOSE: &str = "</parameter>";
    /// What texts stand between.
    pub const QUOTE: &str = "<|\"|>";
}

/// Keywords that ask for nothing.
const ANNOTATIONS: &[&str] = &[
    "title",
    "description",
    "default",
    "examples",
    "deprecated",
    "readOnly",
    "writeOnly",
    "nullable",
    "$schema",
    "$id",
    "$comment",
    "$defs",
    "definitions",
    "x-guidance",
];

/// The texts that a schema accepts, as an expression of a terminal. None if it accepts other values, asks for more than
/// can be said so, or for a text that has `stop` within.
pub fn texts(schema: &Value, stop: &str) -> Option<String> {
    let schema = schema.as_object()?;
    let is_string = schema.get("type").is_none_or(|kind| kind == "string");
    let choices = match (schema.get("enum"), schema.get("const")) {
        (Some(Value::Array(choices)), None) => Some(choices.iter().collect::<Vec<_>>()),
        (None, choice) => choice.map(|choice| vec![choice]),
        _ => return None,
    };
    if let Some(choices) = choices {
        let choice = |choice: &Value| choice.as_str().filter(|text| !text.contains(stop)).map(quoted);
        let choices: Vec<String> = choices.into_iter().map(choice).collect::<Option<_>>()?;
        let says_all = is_string && !choices.is_empty() && knows(schema, &["type", "enum", "const"]);
        return says_all.then(|| format!("({})", choices.join(" | ")));
    }
    if !is_string || !schema.contains_key("type") || !knows(schema, &["type", "minLength", "maxLength"]) {
        return None;
    }
    let least = schema.get("minLength").map_or(Some(0), Value::as_u64)?;
    let most = match schema.get("maxLength") {
        Some(most) => most.as_u64()?.to_string(),
        None => String::new(),
    };
    Some(format!("/(?s:.{{{least},{most}}})/"))
}

/// Whether a schema has no keywords but these and those that ask for nothing.
fn knows(schema: &Map<String, Value>, keywords: &[&str]) -> bool {
    schema.keys().all(|key| keywords.contains(&key.as_str()) || ANNOTATIONS.contains(&key.as_str()))
}

/// A text as a literal of the grammar.
pub fn quoted(text: &str) -> String {
    json!(text).to_string().replace('\u{7f}', "\\u007f")
}

/// A text in the grammar; where it is a control token, that token.
pub fn literal(tokenizer: &Tokenizer, text: &str) -> String {
    match tokenizer.token_id(text).filter(|token| tokenizer.is_control(*token)) {
        Some(token) => format!("<[{token}]>"),
        None => quoted(text),
    }
}

/// A property of an object.
struct Member<'s> {
    key: &'s str,
    schema: &'s Value,
    required: bool,
}

/// The properties of an object of which a schema says no more than which there are and must be.
fn members<'s>(schema: &'s Value) -> Option<Vec<Member<'s>>> {
    let schema = schema.as_object()?;
    let known = knows(schema, &["type", "properties", "required", "additionalProperties"]);
    let properties = schema.get("properties").and_then(Value::as_object).filter(|_| known)?;
    let is_object = schema.get("type").is_none_or(|kind| kind == "object");
    let closed = schema.get("additionalProperties") == Some(&Value::Bool(false));
    let required: Vec<&str> = match schema.get("required") {
        Some(required) => required.as_array()?.iter().map(Value::as_str).collect::<Option<_>>()?,
        None => vec![],
    };
    let all_there = required.iter().all(|key| properties.contains_key(*key));
    let member = |(key, schema): (&'s String, &'s Value)| Member {
        key: key.as_str(),
        schema,
        required: required.contains(&key.as_str()),
    };
    let any = closed || !properties.is_empty();
    (is_object && all_there && any).then(|| properties.iter().map(member).collect())
}

/// Rules of a grammar that is being written.
pub struct Rules<'t> {
    tokenizer: &'t Tokenizer,
    /// The whole schema, which parts of it may refer to.
    root: &'t Map<String, Value>,
    /// What the names of rules begin with.
    prefix: &'t str,
    count: usize,
    lark: String,
}

impl<'t> Rules<'t> {
    pub fn new(tokenizer: &'t Tokenizer, root: &'t Map<String, Value>, prefix: &'t str) -> Self {
        Rules { tokenizer, root, prefix, count: 0, lark: String::new() }
    }

    /// The rules of the arguments that the schema accepts: `NAME: …`, and others that this one needs.
    pub fn arguments(mut self, name: &str, syntax: Syntax) -> Result<String> {
        let schema = Value::Object(self.root.clone());
        let whole = match syntax {
            Syntax::Json => self.json(&schema),
            Syntax::Tags => self.parameters(&schema)?,
            Syntax::Bare => self.object(&schema).unwrap_or_else(|| self.json(&schema)),
        };
        Ok(format!("{name}: {whole}\n{}", self.lark))
    }

    fn add(&mut self, kind: &str, body: &str) -> String {
        let name = format!("{kind}{}-{}", self.prefix, self.count);
        self.count += 1;
        self.lark += &format!("{name}: {body}\n");
        name
    }

    fn json(&self, schema: &Value) -> String {
        let mut schema = match schema {
            Value::Object(schema) => schema.clone(),
            Value::Bool(true) => Map::new(),
            other => return format!("%json {}", json!({ "not": other })),
        };
        for key in ["$defs", "definitions", "x-guidance"] {
            if let Some(value) = self.root.get(key) {
                schema.insert(key.into(), value.clone());
            }
        }
        format!("%json {}", Value::Object(schema))
    }

    /// A terminal: one of the texts, none of which has `stop` within, and what ends it.
    fn bare(&mut self, texts: &str, stop: &str, open: &str, close: &str) -> String {
        let any = "/(?s:.*)/";
        let stop = quoted(stop);
        let body = format!("{open} ({texts} & ~({any} {stop} {any})) {close}");
        self.add("TEXT", body.trim())
    }

    /// Parameters between tags.
    fn parameters(&mut self, schema: &Value) -> Result<String> {
        let Some(members) = members(schema) else { return self.free(schema) };
        let mut all = String::new();
        for Member { key, schema, required } in members {
            if key.is_empty() || key.contains(['>', '\n']) {
                return Err(inexpressible(&format!("the name {key:?} of a property")));
            }
            let value = self.parameter(schema);
            let parameter = format!("{} {value}", quoted(&format!("<parameter={key}>\n")));
            all += &if required { format!("{parameter} ") } else { format!("({parameter})? ") };
        }
        Ok(if all.is_empty() { quoted("") } else { all })
    }

    /// Parameters with whatever names, of an object that has no properties of its own.
    fn free(&mut self, schema: &Value) -> Result<String> {
        let schema = schema
            .as_object()
            .filter(|schema| knows(schema, &["type", "additionalProperties", "properties"]));
        let of = schema.map(|schema| schema.get("additionalProperties").cloned().unwrap_or(true.into()));
        let named = schema
            .and_then(|schema| schema.get("properties")?.as_object())
            .is_some_and(|all| !all.is_empty());
        let Some(of) = of.filter(|_| !named) else {
            return Err(inexpressible(
                "a schema with more than type, properties, required and additionalProperties",
            ));
        };
        let anything = json!({ "type": "string" });
        let value = self.parameter(if of == Value::Bool(true) { &anything } else { &of });
        let key = self.add("TEXT", r#""<parameter=" /[^<>\s]+/ ">\n""#);
        Ok(format!("({key} {value})*"))
    }

    /// A parameter's value and what ends it.
    fn parameter(&mut self, schema: &Value) -> String {
        let close = quoted(&format!("\n{}\n", Syntax::CLOSE));
        match texts(schema, Syntax::CLOSE) {
            Some(texts) => self.bare(&texts, Syntax::CLOSE, "", &close),
            None => format!("{} {close}", self.json(schema)),
        }
    }

    /// An object with bare keys, in their order; with commas between those that are there.
    fn object(&mut self, schema: &Value) -> Option<String> {
        let mut members = members(schema)?;
        let is_bare = |key: &str| {
            !key.is_empty() && !key.contains(|c: char| c.is_whitespace() || r#"{}[],:<>""#.contains(c))
        };
        if !members.iter().all(|member| is_bare(member.key)) {
            return None;
        }
        members.sort_by_key(|member| member.key.to_lowercase());
        // From the last to the first: what may follow where none is written yet, and where one is.
        let (mut first, mut later) = (quoted(""), quoted(""));
        for Member { key, schema, required } in members.into_iter().rev() {
            let value = self.value(schema);
            let member = format!("{} {value} {later}", quoted(&format!("{key}:")));
            let or = |without: &str| if required { String::new() } else { format!(" | {without}") };
            let (begins, goes_on) =
                (format!("{member}{}", or(&first)), format!("\",\" {member}{}", or(&later)));
            (first, later) = (self.add("rule", &begins), self.add("rule", &goes_on));
        }
        Some(format!("\"{{\" {first} \"}}\""))
    }

    fn value(&mut self, schema: &Value) -> String {
        if let Some(texts) = texts(schema, Syntax::QUOTE) {
            let quote = literal(self.tokenizer, Syntax::QUOTE);
            // Of a terminal no control token can be part.
            return match quote.starts_with('<') {
                true => format!("{quote} {} {quote}", self.bare(&texts, Syntax::QUOTE, "", "")),
                false => self.bare(&texts, Syntax::QUOTE, &quote, &quote),
            };
        }
        self.object(schema).or_else(|| self.list(schema)).unwrap_or_else(|| self.json(schema))
    }

    fn list(&mut self, schema: &Value) -> Option<String> {
        let keywords =
            schema.as_object().filter(|all| knows(all, &["type", "items", "minItems", "maxItems"]))?;
        let items =
            keywords.get("items").filter(|_| keywords.get("type").is_some_and(|kind| kind == "array"))?;
        let bound = |key: &str| keywords.get(key).map(Value::as_u64);
        let least = bound("minItems").unwrap_or(Some(0))?;
        let most = bound("maxItems").map_or(Some(None), |most| most.map(Some))?;
        if most.is_some_and(|most| most < least.max(1)) {
            return None;
        }
        let item = self.value(items);
        let item = self.add("rule", &item);
        let more = match (least.saturating_sub(1), most) {
            (0, None) => "*".to_owned(),
            (least, None) => format!("{{{least},}}"),
            (least, Some(most)) => format!("{{{least},{}}}", most - 1),
        };
        let all = format!("{item} (\",\" {item}){more}");
        Some(format!("\"[\" {} \"]\"", if least == 0 { format!("({all})?") } else { all }))
    }
}

/// The error of what a family's way to write calls has no place for.
pub fn inexpressible(what: &str) -> Error {
    Error::invalid_argument(format!("{what} cannot be had in this model's way to write calls"))
}
