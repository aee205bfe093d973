//! Chat templates: which of a model's is taken, and how it is rendered.
//!
//! The environment is the one that `transformers` gives to Jinja: blocks lose the line break behind them and the white
//! space before, loops have `break` and `continue`, `raise_exception` and `strftime_now` are there, `tojson` is
//! Python's. A template is a program from a file of unknown origin. It ends with an error when it takes too many
//! instructions, writes too much or nests too deeply.

use super::clock::Clock;
use super::conversation::Conversation;
use super::{methods, pyjson, python};
use crate::error::{Error, Result};
use crate::gguf::Metadata;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::Value;
use minijinja::{AutoEscape, Environment, ErrorKind, context};
use std::borrow::Cow;
use std::io;

const KEY: &str = "tokenizer.chat_template";
const TOOL_USE: &str = "tokenizer.chat_template.tool_use";

/// Longer than any template by far: the longest known has 20 KB.
const MAX_SOURCE: usize = 1 << 20;
/// Tags; the longest template known has 400.
const MAX_TAGS: usize = 4_000;
/// Words and marks of one tag; more than a hundred are rare. minijinja takes a level of the stack for many of them.
const MAX_WORDS: usize = 1_000;
/// Branches, likewise.
const MAX_ELIF: usize = 200;
/// Instructions: for a start, and for each message. Known templates take some hundred for a message; the first is
/// less than a tenth of a second.
const FUEL: u64 = 100_000;
const MESSAGE_FUEL: u64 = 3_000;
/// Bytes of the rendered text.
const MAX_OUTPUT: usize = 16 << 20;
/// Loops and macros within each other, as minijinja counts: macros by four or so. Its own 500 is too much for the 1 MB
/// of stack that WebAssembly has.
const RECURSION: usize = 200;

/// The chat templates of a model.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Templates {
    default: Option<String>,
    tool_use: Option<String>,
}

impl Templates {
    pub fn from_metadata(metadata: &Metadata) -> Self {
        let template = |key| metadata.str(key).map(str::to_owned);
        Templates { default: template(KEY), tool_use: template(TOOL_USE) }
    }

    /// The template for a conversation with or without tools.
    pub fn choose(&self, tools: bool) -> Result<&str> {
        let tool_use = self.tool_use.as_deref().filter(|_| tools);
        tool_use.or(self.default.as_deref()).ok_or_else(|| {
            let message = "the model's file has no chat template: write the prompt yourself, for generate";
            Error::unsupported_model(message).key(KEY)
        })
    }
}

/// What a template is given.
pub struct Inputs<'a> {
    pub messages: Vec<Value>,
    /// By the name that the template has for them.
    pub tools: Option<(&'static str, Vec<Value>)>,
    pub documents: Option<Vec<Value>>,
    pub add_generation_prompt: bool,
    pub enable_thinking: Option<bool>,
    pub bos_token: Option<&'a str>,
    pub eos_token: Option<&'a str>,
}

/// Renders a template.
pub fn render(source: &str, inputs: Inputs, clock: Clock) -> Result<String> {
    if source.len() > MAX_SOURCE {
        let message =
            format!("the chat template has {} bytes, and at most {MAX_SOURCE} are read", source.len());
        return Err(Error::unsupported_model(message).key(KEY));
    }
    let (tags, words) = size(source);
    let branches = source.matches("elif").count();
    if tags > MAX_TAGS || words > MAX_WORDS || branches > MAX_ELIF {
        let size = format!("{tags} tags, up to {words} words in one, {branches} branches");
        let message = format!("the chat template is too large: {size}");
        return Err(Error::unsupported_model(message).key(KEY));
    }
    let source = without_generation_blocks(source);
    let environment = environment(FUEL + MESSAGE_FUEL * inputs.messages.len() as u64, clock)?;
    let template = environment.template_from_named_str("template", &source).map_err(translated)?;
    // What was not given is not defined, which is not the same as `none`.
    let given = [
        ("enable_thinking", inputs.enable_thinking.map(Value::from)),
        ("bos_token", inputs.bos_token.map(Value::from)),
        ("eos_token", inputs.eos_token.map(Value::from)),
    ];
    let (name, tools) = inputs.tools.map_or(("tools", None), |(name, tools)| (name, Some(tools)));
    let tools = [("tools", Value::from(())), (name, Value::from(tools))];
    let given =
        Value::from_pairs(given.into_iter().filter_map(|(name, value)| Some((name, value?))).chain(tools));
    let context = context! {
        messages => inputs.messages,
        documents => inputs.documents,
        add_generation_prompt => inputs.add_generation_prompt,
        ..given
    };
    let mut output = Output(Vec::new());
    template.render_captured_to(context, &mut output).map_err(translated)?;
    String::from_utf8(output.0).map_err(|_| Error::internal("a template has rendered what is no text"))
}

/// Whether the template looks at a variable.
pub fn reads(source: &str, variable: &str) -> bool {
    // minijinja does not see that `{% set x = x or [] %}` reads `x`.
    let mut source = without_generation_blocks(source).into_owned();
    for equals in [" =", "="] {
        source = source.replace(&format!("set {variable}{equals}"), &format!("set {variable}_{equals}"));
    }
    let environment = Environment::new();
    let template = environment.template_from_named_str("template", &source);
    template.is_ok_and(|template| template.undeclared_variables(false).contains(variable))
}

/// Where a template takes tools from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum ToolsPlace {
    Variable(&'static str),
    /// From a message, as the functions' JSON: Phi-4-mini's does, from the system's.
    Message,
}

/// The same; none if it has no place for them.
pub fn tools_place(source: &str) -> Option<ToolsPlace> {
    // SmolLM3's own template has another name for them than `transformers`.
    let variable = ["tools", "xml_tools"].into_iter().find(|name| reads(source, name));
    let in_message = ["message['tools']", "message[\"tools\"]", "message.tools"];
    variable
        .map(ToolsPlace::Variable)
        .or_else(|| in_message.iter().any(|place| source.contains(place)).then_some(ToolsPlace::Message))
}

/// Whether the template takes a message's content in parts. One that does not would show the list itself.
pub fn takes_parts(source: &str, conversation: &Conversation, clock: Clock) -> bool {
    if !conversation.has_parts() {
        return true;
    }
    const PROBE: &str = "a text to find again";
    let part = Value::from_pairs([("type", Value::from("text")), ("text", Value::from(PROBE))]);
    let content = Value::from(vec![part]);
    let message = Value::from_pairs([("role", Value::from("user")), ("content", content)]);
    let inputs = Inputs {
        messages: vec![message],
        tools: None,
        documents: None,
        add_generation_prompt: false,
        enable_thinking: None,
        bos_token: None,
        eos_token: None,
    };
    let quoted = [format!("'{PROBE}'"), format!("\"{PROBE}\"")];
    render(source, inputs, clock)
        .is_ok_and(|text| text.contains(PROBE) && !quoted.iter().any(|quoted| text.contains(quoted)))
}

fn environment<'s>(fuel: u64, clock: Clock) -> Result<Environment<'s>> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build();
    environment.set_syntax(syntax.map_err(translated)?);
    environment.set_auto_escape_callback(|_| AutoEscape::None);
    environment.set_fuel(Some(fuel));
    environment.set_recursion_limit(RECURSION);
    environment.set_unknown_method_callback(methods::call);
    environment.add_filter("tojson", pyjson::tojson);
    environment.add_filter("trim", methods::trim);
    environment.add_filter("indent", methods::indent);
    environment.add_filter("safe", python::safe);
    environment.add_test("string", |value: &Value| python::as_text(value).is_some());
    environment.add_test("float", |value: &Value| python::as_number(value).is_some() && !value.is_integer());
    environment.add_test("sequence", methods::is_sequence);
    environment.add_test("iterable", methods::is_iterable);
    environment.add_test("number", methods::is_number);
    environment.add_function("raise_exception", |message: &Value| -> Result<Value, minijinja::Error> {
        let refusal = Refusal(message.to_string());
        Err(minijinja::Error::from(ErrorKind::InvalidOperation).with_source(refusal))
    });
    environment.add_function("strftime_now", move |format: &str| {
        clock.format(format).map_err(|directive| {
            let message = format!("strftime_now does not know {directive}");
            minijinja::Error::new(ErrorKind::InvalidOperation, message)
        })
    });
    Ok(environment)
}

/// What a template says with `raise_exception`: the conversation is not one that the model was trained for.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refusal(String);

/// What a template wrote is no error of the engine: either the messages are not for it, or it is not for this engine.
fn translated(error: minijinja::Error) -> Error {
    let mut cause = Some(&error as &dyn std::error::Error);
    while let Some(inner) = cause {
        if let Some(Refusal(message)) = inner.downcast_ref() {
            return Error::invalid_argument(format!(
                "the model's chat template refuses the messages: {message}"
            ));
        }
        cause = inner.source();
    }
    let line = error.line().map_or_else(String::new, |line| format!(", line {line}"));
    let what = match (error.kind(), error.detail()) {
        (ErrorKind::OutOfFuel, _) => "it takes too many steps".to_owned(),
        (ErrorKind::WriteFailure, _) => "it writes too much".to_owned(),
        (kind, None) => kind.to_string(),
        (kind, Some(detail)) => format!("{kind}: {detail}"),
    };
    Error::unsupported_model(format!("the model's chat template failed{line}: {what}")).key(KEY)
}

/// Marks for training, `{% generation %}` and its end, mean nothing here. A `with` without variables has the same scope,
/// and the tags keep what they do to white space.
fn without_generation_blocks(source: &str) -> Cow<'_, str> {
    let mut out = String::new();
    let mut done = 0;
    for (at, _) in source.match_indices("{%") {
        let tag = &source[at + 2..];
        let name = tag.trim_start_matches(['-', '+']).trim_start();
        let plain = match name {
            _ if name.starts_with("endgeneration") => ("endgeneration", "endwith"),
            _ if name.starts_with("generation") => ("generation", "with"),
            _ => continue,
        };
        let rest = name[plain.0.len()..].trim_start().trim_start_matches(['-', '+']);
        if at >= done && rest.starts_with("%}") {
            let start = source.len() - name.len();
            out.push_str(&source[done..start]);
            out.push_str(plain.1);
            done = start + plain.0.len();
        }
    }
    if done == 0 {
        return Cow::Borrowed(source);
    }
    out.push_str(&source[done..]);
    Cow::Owned(out)
}

/// How many tags there are, and words and marks in the longest; a text in quotes is one.
fn size(source: &str) -> (usize, usize) {
    let (mut tags, mut longest) = (0, 0);
    let mut rest = source;
    while let Some(at) = rest.find('{') {
        rest = &rest[at + 1..];
        let Some(tag) = rest.strip_prefix(['{', '%']) else { continue };
        rest = tag;
        let mut count = 0;
        while let Some(c) = rest.chars().next().filter(|_| !rest.starts_with("%}") && !rest.starts_with("}}"))
        {
            let end = match c {
                '"' | '\'' => quoted(rest, c),
                c if c.is_alphanumeric() || c == '_' => rest.find(|c: char| !c.is_alphanumeric() && c != '_'),
                c => Some(c.len_utf8()),
            };
            count += usize::from(!c.is_whitespace());
            rest = &rest[end.unwrap_or(rest.len())..];
        }
        longest = longest.max(count);
        tags += 1;
    }
    (tags, longest)
}

/// Where the text in quotes ends that `text` begins with.
fn quoted(text: &str, quote: char) -> Option<usize> {
    let mut escaped = true;
    text.char_indices().find_map(|(at, c)| {
        let ends = c == quote && !escaped;
        escaped = c == '\\' && !escaped;
        ends.then_some(at + c.len_utf8())
    })
}

/// A text that ends with an error where it gets too long.
struct Output(Vec<u8>);

impl io::Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.0.len() + bytes.len() > MAX_OUTPUT {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
