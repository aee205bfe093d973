//! The form of tool calls, as a grammar: the names are those of tools, and the arguments what their schemas accept.
//!
//! The grammar is in Lark's syntax, as `constraint/` reads it. Families that write calls in a syntax of their own, and not
//! as JSON, have none: their calls are only read.

use super::calls::Format;
use super::conversation::{Choice, Conversation};
use crate::error::{Error, Result};
use crate::tokenizer::Tokenizer;
use serde_json::{Value, json};

/// When an answer's form begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Onset {
    /// With what is said.
    #[default]
    Answer,
    /// Behind what opens a call of a tool, if there is one.
    Calls,
}

/// How a family writes calls, as far as that is JSON. Marks may be tokens of their own.
#[derive(Debug)]
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
#[derive(Debug)]
pub enum Piece {
    Text(&'static str),
    /// The tool's name.
    Name,
    /// The same as a JSON string.
    Quoted,
    Arguments,
}

/// The grammar of the calls that a conversation may have, and when it begins. None where nothing is prescribed.
pub fn form(
    format: Option<&'static Format>,
    tokenizer: &Tokenizer,
    conversation: &Conversation,
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
    let must = matches!(choice, Some(Choice::Tool { .. } | Choice::Required));
    let Some(script) = &format.script else {
        return match must {
            false => Ok(None),
            true => Err(Error::invalid_argument(
                "toolChoice: this model's way to write calls cannot be prescribed",
            )),
        };
    };
    // What opens the calls has to be a token, or the model may have begun the call with it.
    let marked = script.open.first().is_some_and(|mark| tokenizer.token_id(mark).is_some());
    let onset = match (must, marked) {
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
    let mut lark = format!("start: {opening}call {more} {}\n", written(script.close));
    let names: Vec<String> = (0..wanted.len()).map(|index| format!("call{index}")).collect();
    lark += &format!("call: {}\n", names.join(" | "));
    for (index, tool) in wanted.iter().enumerate() {
        let name = name_of(tool).ok_or_else(|| {
            Error::invalid_argument(format!(
                "tools[{index}] must be {{ type: \"function\", function: {{ name }} }}"
            ))
        })?;
        let pieces: String = script
            .call
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) => literal(tokenizer, text) + " ",
                Piece::Name => literal(tokenizer, name) + " ",
                Piece::Quoted => literal(tokenizer, &json!(name).to_string()) + " ",
                Piece::Arguments => format!("arguments{index} "),
            })
            .collect();
        lark += &format!("call{index}: {pieces}\narguments{index}: %json {}\n", arguments(tool));
    }
    Ok(Some((lark, onset)))
}

fn name_of(tool: &Value) -> Option<&str> {
    tool.get("function").unwrap_or(tool).get("name")?.as_str()
}

/// The schema of a tool's arguments, which are an object.
fn arguments(tool: &Value) -> Value {
    let given = tool.get("function").unwrap_or(tool).get("parameters").cloned();
    let mut schema = given.filter(Value::is_object).unwrap_or_else(|| json!({}));
    schema["type"] = "object".into();
    if schema.get("x-guidance").is_none() {
        schema["x-guidance"] =
            json!({ "item_separator": ", ", "key_separator": ": ", "whitespace_flexible": false });
    }
    schema
}

/// A text in the grammar; where it is a control token, that token.
fn literal(tokenizer: &Tokenizer, text: &str) -> String {
    match tokenizer.token_id(text).filter(|token| tokenizer.is_control(*token)) {
        Some(token) => format!("<[{token}]>"),
        None => json!(text).to_string(),
    }
}
