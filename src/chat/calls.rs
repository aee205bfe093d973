//! Tool calls as models write them: one line of a table and one small parser per format.
//!
//! A format is told by what the template mentions. What looks like a call and cannot be read stays text.

use super::form::{Piece, Script, name_of, schema_of};
use super::values::{Syntax, texts};
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
    pub script: Script,
    read: fn(&str, &[Value]) -> Option<Vec<ToolCall>>,
}

impl Format {
    /// The calls of an answer from the first one on, as what `tools` say they are; `None` if that is something else.
    pub fn read(&self, text: &str, tools: &[Value]) -> Option<Vec<ToolCall>> {
        (self.read)(text.trim(), tools).filter(|calls| !calls.is_empty())
    }
}

const FORMATS: &[Format] = &[
    Format {
        signs: &["<|tool_call>", "<tool_call|>"],
        open: "<|tool_call>",
        whole: None,
        script: GEMMA,
        read: gemma,
    },
    Format {
        signs: &["[TOOL_CALLS]", "[ARGS]"],
        open: "[TOOL_CALLS]",
        whole: None,
        script: MINISTRAL,
        read: ministral,
    },
    Format { signs: &["[TOOL_CALLS]"], open: "[TOOL_CALLS]", whole: None, script: MISTRAL, read: mistral },
    Format {
        signs: &["<tool_call>", "<function="],
        open: "<tool_call>",
        whole: None,
        script: TAGGED,
        read: tagged,
    },
    Format { signs: &["<tool_call>"], open: "<tool_call>", whole: None, script: HERMES, read: hermes },
    Format {
        signs: &["<|python_tag|>"],
        open: "<|python_tag|>",
        whole: Some("{"),
        script: LLAMA,
        read: llama,
    },
    Format {
        signs: &["\"parameters\": dictionary of argument name"],
        open: "<|python_tag|>",
        whole: Some("{"),
        script: LLAMA,
        read: llama,
    },
];

/// A call that is an object with the name first; `key` leads over to the arguments.
const fn in_json(key: &'static str) -> [Piece; 5] {
    [
        Piece::Text("{\"name\": "),
        Piece::Quoted,
        Piece::Text(key),
        Piece::Arguments(Syntax::Json),
        Piece::Text("}"),
    ]
}

const HERMES: Script = Script {
    open: &["<tool_call>", "\n"],
    call: &in_json(", \"arguments\": "),
    between: Some(&["\n", "</tool_call>", "\n", "<tool_call>", "\n"]),
    close: &["\n", "</tool_call>"],
};

const TAGGED: Script = Script {
    call: &[
        Piece::Text("<function="),
        Piece::Name,
        Piece::Text(">\n"),
        Piece::Arguments(Syntax::Tags),
        Piece::Text("</function>"),
    ],
    ..HERMES
};

const GEMMA: Script = Script {
    open: &["<|tool_call>"],
    call: &[Piece::Text("call:"), Piece::Name, Piece::Arguments(Syntax::Bare)],
    between: Some(&["<tool_call|>", "<|tool_call>"]),
    close: &["<tool_call|>"],
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
    call: &[Piece::Name, Piece::Text("[ARGS]"), Piece::Arguments(Syntax::Json)],
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
fn hermes(text: &str, _: &[Value]) -> Option<Vec<ToolCall>> {
    repeated(text, "<tool_call>", "</tool_call>", json_call)
}

/// `<tool_call><function=NAME><parameter=P>VALUE</parameter></function></tool_call>`; texts stand bare.
fn tagged(text: &str, tools: &[Value]) -> Option<Vec<ToolCall>> {
    repeated(text, "<tool_call>", "</tool_call>", |block| {
        let (name, mut rest) = block.strip_prefix("<function=")?.split_once('>')?;
        let schema = tools.iter().find(|tool| name_of(tool) == Some(name)).map(schema_of);
        let mut arguments = Map::new();
        while let Some(parameter) = rest.trim_start().strip_prefix("<parameter=") {
            let (key, value) = parameter.split_once('>')?;
            let property = schema.and_then(|schema| schema.get("properties")?.get(key));
            let is_text = property.is_some_and(|schema| texts(schema, Syntax::CLOSE).is_some());
            let (value, after) = parameter_value(value, is_text)?;
            arguments.insert(key.to_owned(), value);
            rest = after;
        }
        let rest = rest.trim_start();
        let call = ToolCall { id: None, name: name.to_owned(), arguments };
        Some((call, rest.strip_prefix("</function>").unwrap_or(rest)))
    })
}

/// The value of a parameter, and what follows it. What is not known to be a text is JSON if it can be.
fn parameter_value(text: &str, is_text: bool) -> Option<(Value, &str)> {
    let text = text.strip_prefix('\n').unwrap_or(text);
    if !is_text
        && let Some((value, after)) = json_value(text)
        && let Some(after) = after.trim_start().strip_prefix(Syntax::CLOSE)
    {
        return Some((value, after));
    }
    let (value, after) = text.split_once(Syntax::CLOSE)?;
    let value = value.strip_suffix('\n').unwrap_or(value);
    let read = if is_text { None } else { json(value) };
    Some((read.unwrap_or_else(|| value.into()), after))
}

/// `[TOOL_CALLS][{json}, …]`.
fn mistral(text: &str, _: &[Value]) -> Option<Vec<ToolCall>> {
    let Value::Array(calls) = json(text.strip_prefix("[TOOL_CALLS]")?)? else { return None };
    calls.into_iter().map(from_json).collect()
}

/// `[TOOL_CALLS]NAME[ARGS]{json}`, again and again.
fn ministral(text: &str, _: &[Value]) -> Option<Vec<ToolCall>> {
    repeated(text, "[TOOL_CALLS]", "", |call| {
        let (name, arguments) = call.split_once("[ARGS]")?;
        let (Value::Object(arguments), rest) = json_value(arguments)? else { return None };
        Some((ToolCall { id: None, name: name.trim().to_owned(), arguments }, rest))
    })
}

/// `{json}`, perhaps behind `<|python_tag|>`; several are parted by semicolons.
fn llama(text: &str, tools: &[Value]) -> Option<Vec<ToolCall>> {
    let marked = text.strip_prefix("<|python_tag|>");
    let calls = repeated(marked.unwrap_or(text), "", ";", json_call)?;
    // An object without a mark may be an answer that has a name.
    let known = |call: &ToolCall| tools.iter().any(|tool| name_of(tool) == Some(&call.name));
    (marked.is_some() || tools.is_empty() || calls.iter().all(known)).then_some(calls)
}

/// `<|tool_call>call:NAME{key:value,…}<tool_call|>`, values as in JSON but with bare keys and texts between `<|"|>`.
fn gemma(text: &str, _: &[Value]) -> Option<Vec<ToolCall>> {
    repeated(text, "<|tool_call>", "<tool_call|>", |block| {
        let block = block.strip_prefix("call:")?;
        let (name, arguments) = block.split_at(block.find('{')?);
        let (Value::Object(arguments), rest) = bare_value(arguments, DEEPEST)? else { return None };
        Some((ToolCall { id: None, name: name.trim().to_owned(), arguments }, rest))
    })
}

/// How deep values may lie in one another, as `serde_json` has it.
const DEEPEST: usize = 128;

/// A value of Gemma's, and what follows it.
fn bare_value(text: &str, depth: usize) -> Option<(Value, &str)> {
    let depth = depth.checked_sub(1)?;
    let text = text.trim_start();
    if let Some(quoted) = text.strip_prefix(Syntax::QUOTE) {
        return quoted.split_once(Syntax::QUOTE).map(|(inside, rest)| (inside.into(), rest));
    }
    let entry = |text| {
        let (key, rest) = bare_key(text)?;
        let (value, rest) = bare_value(rest.trim_start().strip_prefix(':')?, depth)?;
        Some(((key, value), rest))
    };
    if let Some(rest) = text.strip_prefix('{') {
        let (entries, rest) = parted(rest, '}', entry)?;
        return Some((Value::Object(entries.into_iter().collect()), rest));
    }
    if let Some(rest) = text.strip_prefix('[') {
        let (items, rest) = parted(rest, ']', |text| bare_value(text, depth))?;
        return Some((Value::Array(items), rest));
    }
    json_value(text)
}

fn bare_key(text: &str) -> Option<(String, &str)> {
    match bare_value(text, 1).filter(|_| text.starts_with('"') || text.starts_with(Syntax::QUOTE)) {
        Some((Value::String(key), rest)) => Some((key, rest)),
        _ => {
            let (key, rest) = text.split_at(text.find(':')?);
            Some((key.trim().to_owned(), rest)).filter(|(key, _)| !key.is_empty())
        }
    }
}

/// What stands between commas up to `close`, and what follows that.
fn parted<'t, T>(
    text: &'t str,
    close: char,
    read: impl Fn(&'t str) -> Option<(T, &'t str)>,
) -> Option<(Vec<T>, &'t str)> {
    let mut all = Vec::new();
    let mut rest = text.trim_start();
    loop {
        if let Some(after) = rest.strip_prefix(close) {
            return Some((all, after));
        }
        let (one, after) = read(rest)?;
        all.push(one);
        rest = after.trim_start();
        rest = match rest.strip_prefix(',') {
            Some(after) => after.trim_start(),
            None if rest.starts_with(close) => rest,
            None => return None,
        };
    }
}

/// What stands between marks, again and again, of which the last may be missing; around it is white space.
fn repeated<'t, T>(
    text: &'t str,
    open: &str,
    close: &str,
    read: impl Fn(&'t str) -> Option<(T, &'t str)>,
) -> Option<Vec<T>> {
    let mut all = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        let (one, after) = read(rest.strip_prefix(open)?.trim_start())?;
        all.push(one);
        let after = after.trim_start();
        rest = after.strip_prefix(close).or(after.is_empty().then_some(after))?.trim_start();
    }
    Some(all)
}

fn json_call(text: &str) -> Option<(ToolCall, &str)> {
    let (call, rest) = json_value(text)?;
    Some((from_json(call)?, rest))
}

/// The JSON value that a text begins with, and what follows it.
fn json_value(text: &str) -> Option<(Value, &str)> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter();
    let value = values.next()?.ok()?;
    Some((value, text.get(values.byte_offset()..)?))
}

fn json(text: &str) -> Option<Value> {
    serde_json::from_str(text.trim()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(template: &str, text: &str) -> Value {
        json!(format_of(template).expect("a format").read(text, &[]))
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
            assert_eq!(format_of(template).expect("a format").read(text, &[]), None, "{text}");
        }
        assert!(format_of("{{ messages }}").is_none());
    }
}
