//! The form of tool calls, as a grammar: the names are those of tools, and the arguments what their schemas accept.
//!
//! The grammar is in Lark's syntax, as `constraint/` reads it.

use super::calls::Format;
use super::conversation::{Choice, Conversation};
use super::values::{Rules, Syntax, inexpressible, literal};
use crate::error::{Error, Result};
use crate::runtime::Onset;
use crate::tokenizer::Tokenizer;
use serde_json::{Map, Value, json};

/// How a family writes calls. Marks may be tokens of their own.
#[derive(Debug, Clone, Copy)]
pub struct Script {
    /// What the answer begins with, the mark that opens the calls first.
    pub open: &'static [&'static str],
    /// What a call is made of: see [`Piece`].
    pub call: &'static [Piece],
    /// What stands between two calls; none where there can be only one.
    pub between: Option<&'static [&'static str]>,
    pub close: &'static [&'static str],
}

/// A part of a call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Piece {
    Text(&'static str),
    /// The tool's name.
    Name,
    /// The same as a JSON string.
    Quoted,
    Arguments(Syntax),
}

/// The grammar of the calls that a conversation may have, and when it begins: with the answer if that is `led` from its
/// beginning. None where nothing is prescribed.
pub fn form(
    format: Option<&'static Format>,
    tokenizer: &Tokenizer,
    conversation: &Conversation,
    led: bool,
) -> Result<Option<(String, Onset)>> {
    let (Some(format), Some(tools)) = (format, &conversation.tools) else { return Ok(None) };
    let choice = conversation.tool_choice.as_ref();
    let wanted: Vec<&Value> = match choice {
        Some(Choice::Tool { name }) => tools.iter().filter(|tool| name_of(tool) == Some(name)).collect(),
        _ => tools.iter().collect(),
    };
    if let (Some(Choice::Tool { name }), true) = (choice, wanted.is_empty()) {
        return Err(Error::invalid_argument(format!("toolChoice: there is no tool {name:?}")));
    }
    let script = &format.script;
    let must = matches!(choice, Some(Choice::Tool { .. } | Choice::Required));
    // What a call begins with cannot be told there from what another form may begin with.
    if led && !must && script.open.is_empty() {
        return Err(Error::invalid_argument(
            "format and tools do not go together with this model, whose calls begin as an answer may: leave one out",
        ));
    }
    // What opens the calls has to be a token, or the model may have begun the call with it.
    let marked = script.open.first().is_some_and(|mark| tokenizer.token_id(mark).is_some());
    // Where nothing marks a call, an answer that begins as one does is one, and any other is text.
    let whole = format.whole.filter(|_| !led && !must && !conversation.continue_assistant);
    let onset = match (led || must || whole.is_some(), marked) {
        (true, _) => Onset::Answer,
        (false, true) => Onset::Calls,
        (false, false) => return Ok(None),
    };
    let written =
        |texts: &[&str]| -> String { texts.iter().map(|text| literal(tokenizer, text) + " ").collect() };
    let opening = match onset {
        Onset::Answer => written(script.open),
        Onset::Calls => written(&script.open[1..]),
    };
    let more = match (script.between, choice) {
        (Some(between), None | Some(Choice::Auto | Choice::Required)) => {
            format!("({}call)*", written(between))
        }
        _ => String::new(),
    };
    let calls = format!("{opening}call {more} {}", written(script.close));
    let mut lark = match whole {
        None => format!("start: {calls}\n"),
        Some(begins) => {
            let mark = literal(tokenizer, format.open);
            let begins = begins.escape_default();
            format!("start: {calls} | {mark} {calls} | TEXT\nTEXT: /(?s:\\s*[^\\s{begins}].*)/\n")
        }
    };
    let names: Vec<String> = (0..wanted.len()).map(|index| format!("call{index}")).collect();
    lark += &format!("call: {}\n", names.join(" | "));
    for (index, tool) in wanted.iter().enumerate() {
        let name = name_of(tool).ok_or_else(|| {
            Error::invalid_argument(format!(
                "tools[{index}] must be {{ type: \"function\", function: {{ name }} }}"
            ))
        })?;
        if script.call.contains(&Piece::Name) && name.contains(['>', '{', '[', '\n']) {
            return Err(inexpressible(&format!("tools: the name {name:?}")));
        }
        let mut pieces = String::new();
        for piece in script.call {
            pieces += &match piece {
                Piece::Text(text) => literal(tokenizer, text),
                Piece::Name => literal(tokenizer, name),
                Piece::Quoted => literal(tokenizer, &json!(name).to_string()),
                Piece::Arguments(syntax) => {
                    let rules = Rules::new(tokenizer, &arguments(tool), &index.to_string())
                        .arguments(&format!("arguments{index}"), *syntax)
                        .map_err(|error| Error {
                            message: format!("tools: {name}: {}", error.message),
                            ..error
                        })?;
                    lark += &rules;
                    format!("arguments{index}")
                }
            };
            pieces.push(' ');
        }
        lark += &format!("call{index}: {pieces}\n");
    }
    Ok(Some((lark, onset)))
}

/// The name of a tool.
pub fn name_of(tool: &Value) -> Option<&str> {
    tool.get("function").unwrap_or(tool).get("name")?.as_str()
}

/// The schema of a tool's arguments, as it is given.
pub fn schema_of(tool: &Value) -> &Value {
    tool.get("function").unwrap_or(tool).get("parameters").unwrap_or(&Value::Null)
}

/// The same, which are an object in any case.
fn arguments(tool: &Value) -> Map<String, Value> {
    let mut schema = schema_of(tool).as_object().cloned().unwrap_or_default();
    schema.insert("type".into(), "object".into());
    let white_space = json!({ "item_separator": ", ", "key_separator": ": ", "whitespace_flexible": false });
    schema.entry("x-guidance").or_insert(white_space);
    schema
}
