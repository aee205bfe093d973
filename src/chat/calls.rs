//! Tool calls as models write them: one line of a table and one small parser per format.
//!
//! A format is told by what the template mentions. What looks like a call and cannot be read stays text.

use super::form::{Piece, Script};
use serde::Serialize;
use serde_json::{Map, Value};

/// A call of one of the tools.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ToolCall {
    /// The model's own name of the call; most give none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    pub name: String,
    pub arguments: Map<String, Value>,
}

/// How a family writes calls.
#[derive(Debug)]
pub struct Format {
    /// What its templates mention, all of it.
    signs: &'static [&'static str],
    /// What a call begins with, wherever it stands in an answer.
    pub open: &'static str,
    /// What an answer begins with that is nothing but a call.
    pub whole: Option<&'static str>,
    /// How calls can be prescribed.
    pub script: Option<Script>,
    read: fn(&str) -> Option<Vec<ToolCall>>,
}

impl Format {
    /// The calls of an answer from the first one on; `None` if that is something else.
    pub fn read(&self, text: &str) -> Option<Vec<ToolCall>> {
        (self.read)(text.trim()).filter(|calls| !calls.is_empty())
    }
}

const FORMATS: &[Format] = &[
    Format {
        signs: &["<|tool_call>", "<tool_call|>"],
        open: "<|tool_call>",
        whole: None,
        script: None,
        read: gemma,
    },
    Format {
        signs: &["[TOOL_CALLS]", "[ARGS]"],
        open: "[TOOL_CALLS]",
        whole: None,
        script: Some(MINISTRAL),
        read: ministral,
    },
    Format {
        signs: &["[TOOL_CALLS]"],
        open: "[TOOL_CALLS]",
        whole: None,
        script: Some(MISTRAL),
        read: mistral,
    },
    Format {
        signs: &["<tool_call>", "<function="],
        open: "<tool_call>",
        whole: None,
        script: None,
        read: tagged,
    },
    Format { signs: &["<tool_call>"], open: "<tool_call>", whole: None, script: Some(HERMES), read: hermes },
    Format {
        signs: &["<|python_tag|>"],
        open: "<|python_tag|>",
        whole: Some("{"),
        script: Some(LLAMA),
        read: llama,
    },
    Format {
        signs: &["\"parameters\": dictionary of argument name"],
        open: "<|python_tag|>",
        whole: Some("{"),
        script: Some(LLAMA),
        read: llama,
    },
];

/// A call that is an object with the name first; `key` leads over to the arguments.
const fn in_json(key: &'static str) -> [Piece; 5] {
    [Piece::Text("{\"name\": "), Piece::Quoted, Piece::Text(key), Piece::Arguments, Piece::Text("}")]
}

const HERMES: Script = Script {
    open: &["<tool_call>", "\n"],
    call: &in_json(", \"arguments\": "),
    between: Some(&["\n", "</tool_call>", "\n", "<tool_call>", "\n"]),
    close: &["\n", "</tool_call>"],
};

const LLAMA: Script = Script { open: &[], call: &in_json(", \"parameters\": "), between: None, close: &[] };

const MISTRAL: Script = Script {
    open: &["[TOOL_CALLS]", "["],
    call: &in_json(", \"arguments\": "),
    between: Some(&[", "]),
    close: &["]"],
};

const MINISTRAL: Script = Script {
    open: &["[TOOL_CALLS]"],
    call: &[Piece::Name, Piece::Text("[ARGS]"), Piece::Arguments],
    between: Some(&["[TOOL_CALLS]"]),
    close: &[],
};

/// The format of the model that the template belongs to.
pub fn format_of(template: &str) -> Option<&'static Format> {
    FORMATS.iter().find(|format| format.signs.iter().all(|sign| template.contains(sign)))
}

/// `{"name": …, "arguments": {…}}`, or `parameters`, perhaps with an id.
fn from_json(mut call: Value) -> Option<ToolCall> {
    let name = call.get("name")?.as_str()?.to_owned();
    let id = call.get("id").and_then(Value::as_str).map(str::to_owned);
    let key = ["arguments", "parameters"].into_iter().find(|key| call.get(key).is_some());
    let arguments = match key.and_then(|key| call.get_mut(key)).map(Value::take) {
        None | Some(Value::Null) => Map::new(),
        Some(Value::Object(arguments)) => arguments,
        // Some models put the JSON into a string once more.
        Some(Value::String(text)) => serde_json::from_str(&text).ok()?,
        Some(_) => return None,
    };
    Some(ToolCall { id, name, arguments })
}

/// `<tool_call>{json}</tool_call>`, again and again.
fn hermes(text: &str) -> Option<Vec<ToolCall>> {
    blocks(text, "<tool_call>", "</tool_call>")?.into_iter().map(|block| from_json(json(block)?)).collect()
}

/// `<tool_call><function=NAME><parameter=P>VALUE</parameter></function></tool_call>`; texts stand bare.
fn tagged(text: &str) -> Option<Vec<ToolCall>> {
    let call = |block: &str| {
        let (name, mut rest) = block.trim().strip_prefix("<function=")?.split_once('>')?;
        let mut arguments = Map::new();
        while let Some((_, parameter)) = rest.split_once("<parameter=") {
            let (key, value) = parameter.split_once('>')?;
            let (value, after) = value.split_once("</parameter>")?;
            let value = value.strip_prefix('\n').unwrap_or(value);
            let value = value.strip_suffix('\n').unwrap_or(value);
            arguments.insert(key.to_owned(), json(value).unwrap_or_else(|| value.into()));
            rest = after;
        }
        Some(ToolCall { id: None, name: name.to_owned(), arguments })
    };
    blocks(text, "<tool_call>", "</tool_call>")?.into_iter().map(call).collect()
}

/// `[TOOL_CALLS][{json}, …]`.
fn mistral(text: &str) -> Option<Vec<ToolCall>> {
    let Value::Array(calls) = json(text.strip_prefix("[TOOL_CALLS]")?)? else { return None };
    calls.into_iter().map(from_json).collect()
}

/// `[TOOL_CALLS]NAME[ARGS]{json}`, again and again.
fn ministral(text: &str) -> Option<Vec<ToolCall>> {
    let call = |call: &str| {
        let (name, arguments) = call.split_once("[ARGS]")?;
        let name = name.trim().to_owned();
        Some(ToolCall { id: None, name, arguments: serde_json::from_str(arguments.trim()).ok()? })
    };
    text.strip_prefix("[TOOL_CALLS]")?.split("[TOOL_CALLS]").map(call).collect()
}

/// `{json}`, perhaps behind `<|python_tag|>`; several are parted by semicolons.
fn llama(text: &str) -> Option<Vec<ToolCall>> {
    let text = text.strip_prefix("<|python_tag|>").unwrap_or(text);
    if let Some(call) = json(text) {
        return Some(vec![from_json(call)?]);
    }
    text.split(';').map(|call| from_json(json(call)?)).collect()
}

/// `<|tool_call>call:NAME{key:value,…}<tool_call|>`, values as in JSON but with bare keys and texts between `<|"|>`.
fn gemma(text: &str) -> Option<Vec<ToolCall>> {
    let call = |block: &str| {
        let block = block.trim().strip_prefix("call:")?;
        let (name, arguments) = block.split_at(block.find('{')?);
        let Value::Object(arguments) = json(&loose(arguments)?)? else { return None };
        Some(ToolCall { id: None, name: name.trim().to_owned(), arguments })
    };
    blocks(text, "<|tool_call>", "<tool_call|>")?.into_iter().map(call).collect()
}

/// JSON of Gemma's way to write values.
fn loose(text: &str) -> Option<String> {
    const QUOTE: &str = "<|\"|>";
    let mut json = String::new();
    let mut rest = text;
    while !rest.is_empty() {
        if let Some(quoted) = rest.strip_prefix(QUOTE) {
            let (inside, after) = quoted.split_once(QUOTE)?;
            json.push_str(&Value::from(inside).to_string());
            rest = after;
            continue;
        }
        let end = rest.find(['{', '}', '[', ']', ',', ':', '<']).filter(|&at| at > 0).unwrap_or(1);
        let (token, after) = rest.split_at_checked(end)?;
        if after.trim_start().starts_with(':') && !token.trim().is_empty() && !token.trim().starts_with('"') {
            json.push_str(&Value::from(token.trim()).to_string());
        } else {
            json.push_str(token);
        }
        rest = after;
    }
    Some(json)
}

/// What stands between the marks; between the blocks there is white space, and the last mark may be missing.
fn blocks<'t>(text: &'t str, open: &str, close: &str) -> Option<Vec<&'t str>> {
    let mut blocks = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (block, after) =
            rest.strip_prefix(open).map(|block| block.split_once(close).unwrap_or((block, "")))?;
        blocks.push(block);
        rest = after.trim_start();
    }
    Some(blocks)
}

fn json(text: &str) -> Option<Value> {
    serde_json::from_str(text.trim()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(template: &str, text: &str) -> Value {
        json!(format_of(template).expect("a format").read(text))
    }

    #[test]
    fn every_format_is_read() {
        let sum = json!([{ "name": "sum", "arguments": { "a": 1, "b": "two\n", "c": [true, null, { "d": 1.5 }] } }]);
        let arguments = r#"{"a": 1, "b": "two\n", "c": [true, null, {"d": 1.5}]}"#;
        let hermes = format!("<tool_call>\n{{\"name\": \"sum\", \"arguments\": {arguments}}}\n</tool_call>");
        assert_eq!(read("<tool_call>", &hermes), sum);
        assert_eq!(read("<tool_call>", hermes.trim_end_matches("\n</tool_call>")), sum);
        let two = read("<tool_call>", &format!("{hermes}\n{hermes}"));
        assert_eq!(two, json!([sum[0], sum[0]]));
        let tagged = "<tool_call>\n<function=sum>\n<parameter=a>\n1\n</parameter>\n<parameter=b>\ntwo\n\n</parameter>\n\
            <parameter=c>\n[true, null, {\"d\": 1.5}]\n</parameter>\n</function>\n</tool_call>";
        assert_eq!(read("<tool_call> <function=", tagged), sum);
        let mistral =
            format!("[TOOL_CALLS][{{\"name\": \"sum\", \"arguments\": {arguments}, \"id\": \"abcdefghi\"}}]");
        assert_eq!(read("[TOOL_CALLS]", &mistral)[0]["id"], "abcdefghi");
        assert_eq!(read("[TOOL_CALLS] [ARGS]", &format!("[TOOL_CALLS]sum[ARGS]{arguments}")), sum);
        let llama = format!("{{\"name\": \"sum\", \"parameters\": {arguments}}}");
        assert_eq!(read("<|python_tag|>", &format!("<|python_tag|>{llama}")), sum);
        assert_eq!(read("<|python_tag|>", &format!("{llama}; {llama}")), json!([sum[0], sum[0]]));
        let gemma = "<|tool_call>call:sum{a:1,b:<|\"|>two\n<|\"|>,c:[true,null,{d:1.5}]}<tool_call|>";
        assert_eq!(read("<|tool_call> <tool_call|>", gemma), sum);
    }

    #[test]
    fn what_is_no_call_is_none() {
        for (template, text) in [
            ("<tool_call>", "<tool_call>{\"name\": 3}</tool_call>"),
            ("<tool_call>", "<tool_call>{\"name\": \"a\", \"arguments\": [1]}</tool_call>"),
            ("<tool_call>", "<tool_call>{</tool_call>"),
            ("<tool_call>", ""),
            ("<tool_call> <function=", "<tool_call><function=a><parameter=b>1</function></tool_call>"),
            ("[TOOL_CALLS]", "[TOOL_CALLS]{}"),
            ("[TOOL_CALLS] [ARGS]", "[TOOL_CALLS]a"),
            ("<|python_tag|>", "{\"answer\": 3}"),
            ("<|python_tag|>", "print(1)"),
            ("<|tool_call> <tool_call|>", "<|tool_call>call:a{b:<|\"|>c}<tool_call|>"),
            ("<|tool_call> <tool_call|>", "<|tool_call>call:é{é<}"),
        ] {
            assert_eq!(format_of(template).expect("a format").read(text), None, "{text}");
        }
        assert!(format_of("{{ messages }}").is_none());
    }
}
