//! Tool calls as models write them: one line of a table and one small parser per format, which is told by what the
//! template mentions.

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
    /// What a call (or a list of them) begins with, wherever it stands in an answer.
    pub open: &'static str,
    /// What may stand behind it; empty for nothing.
    pub close: &'static str,
    /// Whether calls stand in a list, as in JSON.
    pub list: bool,
    /// What may part two calls beside marks; empty for nothing.
    pub parted: &'static str,
    /// What an answer begins with that is nothing but a call.
    pub whole: Option<&'static str>,
    /// What every call ends with.
    pub ends: char,
    /// How calls can be prescribed.
    pub script: Script,
    /// Reads the call that a text begins with: behind a mark or not, as what the tools say they are.
    pub read: for<'t> fn(&'t str, bool, &[Value]) -> Read<'t>,
}

/// What a text begins with.
pub enum Read<'t> {
    /// A call, and what follows it.
    Call(ToolCall, &'t str),
    /// What may become a call.
    More,
    No,
}

const MARKED: Format = Format {
    signs: &[],
    open: "",
    close: "",
    list: false,
    parted: "",
    whole: None,
    ends: '}',
    script: HERMES,
    read: json_call,
};

const LLAMAS: Format =
    Format { open: "<|python_tag|>", parted: ";", whole: Some("{"), script: LLAMA, read: llama, ..MARKED };

const FORMATS: &[Format] = &[
    Format {
        signs: &["<|tool_call>", "<tool_call|>"],
        open: "<|tool_call>",
        close: "<tool_call|>",
        script: GEMMA,
        read: gemma,
        ..MARKED
    },
    Format {
        signs: &["[TOOL_CALLS]", "[ARGS]"],
        open: "[TOOL_CALLS]",
        script: MINISTRAL,
        read: ministral,
        ..MARKED
    },
    Format { signs: &["[TOOL_CALLS]"], open: "[TOOL_CALLS]", list: true, script: MISTRAL, ..MARKED },
    Format {
        signs: &["<tool_call>", "<function="],
        open: "<tool_call>",
        close: "</tool_call>",
        ends: '>',
        script: TAGGED,
        read: tagged,
        ..MARKED
    },
    Format { signs: &["<tool_call>"], open: "<tool_call>", close: "</tool_call>", ..MARKED },
    Format {
        signs: &["<|tool|>", "<|/tool|>"],
        open: "<|tool_call|>",
        close: "<|/tool_call|>",
        list: true,
        script: PHI,
        ..MARKED
    },
    Format { signs: &["<|python_tag|>"], ..LLAMAS },
    Format { signs: &["\"parameters\": dictionary of argument name"], ..LLAMAS },
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

const PHI: Script = Script { open: &["<|tool_call|>", "["], close: &["]", "<|/tool_call|>"], ..MISTRAL };

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

/// `{json}`
fn json_call<'t>(text: &'t str, _: bool, _: &[Value]) -> Read<'t> {
    if !text.starts_with('{') {
        return Read::No;
    }
    let mut values = serde_json::Deserializer::from_str(text).into_iter();
    let call = match values.next() {
        Some(Ok(value)) => from_json(value),
        Some(Err(error)) if !error.is_eof() => None,
        _ => return Read::More,
    };
    match (call, text.get(values.byte_offset()..)) {
        (Some(call), Some(rest)) => Read::Call(call, rest),
        _ => Read::No,
    }
}

/// What a text is that begins as a call does.
fn begun<'t>(text: &str, begin: &str, call: Option<(ToolCall, &'t str)>) -> Read<'t> {
    match call {
        Some((call, rest)) => Read::Call(call, rest),
        None if text.starts_with(begin) || begin.starts_with(text) => Read::More,
        None => Read::No,
    }
}

/// `<function=NAME><parameter=P>VALUE</parameter></function>`; texts stand bare.
fn tagged<'t>(text: &'t str, _: bool, tools: &[Value]) -> Read<'t> {
    const OPEN: &str = "<function=";
    let read = || {
        let (name, mut rest) = text.strip_prefix(OPEN)?.split_once('>')?;
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
        let rest = rest.strip_prefix("</function>").or(rest.starts_with("</tool_call>").then_some(rest))?;
        Some((ToolCall { id: None, name: name.to_owned(), arguments }, rest))
    };
    begun(text, OPEN, read())
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

/// `NAME[ARGS]{json}`
fn ministral<'t>(text: &'t str, _: bool, _: &[Value]) -> Read<'t> {
    let Some((name, arguments)) = text.split_once("[ARGS]") else { return Read::More };
    let read = || {
        let (Value::Object(arguments), rest) = json_value(arguments)? else { return None };
        Some((ToolCall { id: None, name: name.trim().to_owned(), arguments }, rest))
    };
    begun(arguments.trim_start(), "{", read())
}

/// `{json}`. Without a mark, an object may be an answer that has a name.
fn llama<'t>(text: &'t str, marked: bool, tools: &[Value]) -> Read<'t> {
    let known = |call: &ToolCall| tools.iter().any(|tool| name_of(tool) == Some(&call.name));
    match json_call(text, marked, tools) {
        Read::Call(call, _) if !marked && !tools.is_empty() && !known(&call) => Read::No,
        read => read,
    }
}

/// `call:NAME{key:value,…}`, values as in JSON but with bare keys and texts between `<|"|>`.
fn gemma<'t>(text: &'t str, _: bool, _: &[Value]) -> Read<'t> {
    const OPEN: &str = "call:";
    let read = || {
        let block = text.strip_prefix(OPEN)?;
        let (name, arguments) = block.split_at(block.find('{')?);
        let (Value::Object(arguments), rest) = bare_value(arguments, DEEPEST)? else { return None };
        Some((ToolCall { id: None, name: name.trim().to_owned(), arguments }, rest))
    };
    begun(text, OPEN, read())
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
    use super::super::reply::{Parts, Reply};
    use super::*;
    use serde_json::json;

    /// The calls of an answer, and what is left as text, whether it comes at once or by characters.
    fn read(template: &str, text: &str) -> (Value, String) {
        let told = |pieces: &[&str]| {
            let mut reply = Reply::default().with_calls(format_of(template).expect("a format"), vec![]);
            let mut all = Parts::default();
            pieces.iter().for_each(|piece| all += reply.push(piece));
            all += reply.finish(false);
            (json!(all.calls), all.text)
        };
        let whole = told(&[text]);
        assert_eq!(told(&text.split("").collect::<Vec<_>>()), whole, "{text}");
        whole
    }

    fn calls(template: &str, text: &str) -> Value {
        let (calls, rest) = read(template, text);
        assert_eq!(rest, "", "{text}");
        calls
    }

    #[test]
    fn every_format_is_read() {
        let sum = json!([{ "name": "sum", "arguments": { "a": 1, "b": "two\n", "c": [true, null, { "d": 1.5 }] } }]);
        let arguments = r#"{"a": 1, "b": "two\n", "c": [true, null, {"d": 1.5}]}"#;
        let hermes = format!("<tool_call>\n{{\"name\": \"sum\", \"arguments\": {arguments}}}\n</tool_call>");
        assert_eq!(calls("<tool_call>", &hermes), sum);
        assert_eq!(calls("<tool_call>", hermes.trim_end_matches("\n</tool_call>")), sum);
        let two = json!([sum[0], sum[0]]);
        assert_eq!(calls("<tool_call>", &format!("{hermes}\n{hermes}")), two);
        let tagged = "<tool_call>\n<function=sum>\n<parameter=a>\n1\n</parameter>\n<parameter=b>\ntwo\n\n</parameter>\n\
            <parameter=c>\n[true, null, {\"d\": 1.5}]\n</parameter>\n</function>\n</tool_call>";
        assert_eq!(calls("<tool_call> <function=", tagged), sum);
        let mistral =
            format!("[TOOL_CALLS][{{\"name\": \"sum\", \"arguments\": {arguments}, \"id\": \"abcdefghi\"}}]");
        assert_eq!(calls("[TOOL_CALLS]", &mistral)[0]["id"], "abcdefghi");
        assert_eq!(calls("[TOOL_CALLS] [ARGS]", &format!("[TOOL_CALLS]sum[ARGS]{arguments}")), sum);
        let phi = format!("<|tool_call|>[{{\"name\": \"sum\", \"arguments\": {arguments}}}]<|/tool_call|>");
        assert_eq!(calls("<|tool|> <|/tool|>", &phi), sum);
        let llama = format!("{{\"name\": \"sum\", \"parameters\": {arguments}}}");
        assert_eq!(calls("<|python_tag|>", &format!("<|python_tag|>{llama}")), sum);
        assert_eq!(calls("<|python_tag|>", &format!("{llama}; {llama}")), two);
        let gemma = "<|tool_call>call:sum{a:1,b:<|\"|>two\n<|\"|>,c:[true,null,{d:1.5}]}<tool_call|>";
        assert_eq!(calls("<|tool_call> <tool_call|>", gemma), sum);
    }

    #[test]
    fn what_is_no_call_is_text() {
        for (template, text) in [
            ("<tool_call>", "<tool_call>{\"name\": 3}</tool_call>"),
            ("<tool_call>", "<tool_call>{\"name\": \"a\", \"arguments\": [1]}</tool_call>"),
            ("<tool_call>", "<tool_call>{</tool_call>"),
            ("<tool_call>", "<tool_call> is a mark"),
            ("<tool_call>", ""),
            ("<tool_call> <function=", "<tool_call><function=a><parameter=b>1</function></tool_call>"),
            ("<tool_call> <function=", "<tool_call>a</tool_call>"),
            ("[TOOL_CALLS]", "[TOOL_CALLS]{}"),
            ("[TOOL_CALLS] [ARGS]", "[TOOL_CALLS]a"),
            ("[TOOL_CALLS] [ARGS]", "[TOOL_CALLS]a[ARGS][]"),
            ("<|python_tag|>", "{\"answer\": 3}"),
            ("<|python_tag|>", "print(1)"),
            ("<|tool_call> <tool_call|>", "<|tool_call>call:a{b:<|\"|>c}<tool_call|>"),
            ("<|tool_call> <tool_call|>", "<|tool_call>call:é{é<}"),
        ] {
            assert_eq!(read(template, text), (json!([]), text.to_owned()));
        }
        assert!(format_of("{{ messages }}").is_none());
    }

    #[test]
    fn text_may_stand_around_calls() {
        let call = "<tool_call>\n{\"name\": \"f\", \"arguments\": {}}\n</tool_call>";
        let f = json!({ "name": "f", "arguments": {} });
        assert_eq!(read("<tool_call>", &format!("{call}\nDone.")), (json!([f]), "Done.".into()));
        assert_eq!(read("<tool_call>", &format!("So: {call}\n")), (json!([f]), "So: ".into()));
        let broken = "<tool_call>{]</tool_call>";
        let all = format!("{call} {broken} {call} <b");
        assert_eq!(read("<tool_call>", &all), (json!([f, f]), format!("{broken} <b")));
        let other = "{\"name\": \"f\", \"parameters\": {}} is one";
        assert_eq!(read("<|python_tag|>", other), (json!([f]), "is one".into()));
    }

    #[test]
    fn calls_are_told_when_they_are_complete() {
        let list =
            "[TOOL_CALLS][{\"name\": \"f\", \"arguments\": {}}¦, {\"name\": \"g\", \"arguments\": {}}¦]";
        let tags =
            "<tool_call>\n<function=f>\n</function>¦\n</tool_call>\n<tool_call>\n<function=g>\n</function>¦";
        let bare = "<|tool_call>call:f{}¦<tool_call|><|tool_call>call:g{}¦<tool_call|>";
        let named = "[TOOL_CALLS]f[ARGS]{}¦[TOOL_CALLS]g[ARGS]{}¦";
        for (template, text) in [
            ("[TOOL_CALLS]", list),
            ("<tool_call> <function=", tags),
            ("<|tool_call> <tool_call|>", bare),
            ("[TOOL_CALLS] [ARGS]", named),
        ] {
            let mut reply = Reply::default().with_calls(format_of(template).expect("a format"), vec![]);
            for (piece, name) in text.split('¦').zip(["f", "g"]) {
                let told = reply.push(piece).calls;
                assert_eq!(told.iter().map(|call| call.name.as_str()).collect::<Vec<_>>(), [name], "{text}");
            }
        }
    }

    #[test]
    fn a_call_that_is_cut_off_leaves_those_before_it() {
        let cut = "<tool_call>{\"name\": \"f\", \"arguments\": {}}</tool_call>\n<tool_call>\n{\"name\": \"g";
        let mut reply = Reply::default().with_calls(format_of("<tool_call>").expect("a format"), vec![]);
        let mut all = reply.push(cut);
        all += reply.finish(true);
        assert_eq!((all.calls.len(), all.text.as_str(), reply.has_called()), (1, "", true));
    }
}
