//! Messages as they come from the page, and as templates want them.

use super::pyjson;
use crate::error::{Error, Result};
use serde::Deserialize;
use serde_json::{Map, Value, json};

type Message = Map<String, Value>;

/// What a message's reasoning is called by those who wrote templates; the first name is the usual one.
const REASONING: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];

/// What is asked of the model.
///
/// Messages are passed to the template with every field that they have; only `role` and `content` are looked at here,
/// and the arguments of tool calls.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Conversation {
    pub messages: Vec<Value>,
    /// Definitions of functions, as JSON Schema in the form that the OpenAI API has.
    pub tools: Option<Vec<Value>>,
    /// Whether to call one; whatever the model thinks right if absent.
    pub tool_choice: Option<Choice>,
    /// Texts to answer from, for the templates that have a place for them.
    pub documents: Option<Vec<Value>>,
    /// Whether to reason before answering; the template's own choice if absent.
    pub reasoning: Option<bool>,
    /// Whether the last message is the beginning of the answer.
    #[serde(default)]
    pub continue_assistant: bool,
}

/// Which tools an answer calls.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Choice {
    Auto,
    None,
    Required,
    #[serde(untagged)]
    Tool {
        name: String,
    },
}

impl Conversation {
    /// Reads a conversation from JSON, and refuses messages that no template could take.
    pub fn from_json(json: &str) -> Result<Self> {
        let mut conversation: Conversation = serde_json::from_str(json)
            .map_err(|error| Error::invalid_argument(format!("the conversation: {error}")))?;
        if conversation.messages.is_empty() {
            return Err(Error::invalid_argument("messages: there is none"));
        }
        for (index, message) in conversation.messages.iter_mut().enumerate() {
            let refuse = |what: &str| Err(Error::invalid_argument(format!("messages[{index}]{what}")));
            let Value::Object(message) = message else { return refuse(" is no object") };
            if !matches!(message.get("role"), Some(Value::String(_))) {
                return refuse(".role must be a string");
            }
            match message.get("content") {
                None | Some(Value::Null | Value::String(_)) => {}
                Some(Value::Array(parts)) if parts.iter().all(|part| part_text(part).is_some()) => {}
                Some(_) => {
                    return refuse(r#".content must be a string, or an array of { type: "text", text }"#);
                }
            }
            name_reasoning(message);
        }
        conversation.tools = conversation.tools.filter(|tools| !tools.is_empty());
        match (&conversation.tool_choice, &conversation.tools) {
            // What the model does not know of it does not call.
            (Some(Choice::None), _) => conversation.tools = None,
            (Some(Choice::Required | Choice::Tool { .. }), None) => {
                return Err(Error::invalid_argument("toolChoice: there are no tools"));
            }
            _ => {}
        }
        if conversation.tools.iter().flatten().any(|tool| !tool.is_object()) {
            return Err(Error::invalid_argument("tools: each must be an object"));
        }
        conversation.documents = conversation.documents.filter(|documents| !documents.is_empty());
        if conversation.documents.iter().flatten().any(|document| !document.is_object()) {
            return Err(Error::invalid_argument("documents: each must be an object"));
        }
        if conversation.continue_assistant {
            Ending::check(&conversation.messages)?;
        }
        Ok(conversation)
    }

    /// The conversation as it was when it had so many messages.
    pub(super) fn first(&self, count: usize) -> Self {
        let messages = self.messages.iter().take(count).cloned().collect();
        Conversation { messages, continue_assistant: false, ..self.clone() }
    }

    /// Messages at the start that are no part of a turn: the system's, as it is called.
    pub fn preamble(&self) -> usize {
        let role = |message: &Value| matches!(message["role"].as_str(), Some("system" | "developer"));
        self.messages.iter().take_while(|message| role(message)).count()
    }

    /// Where turns begin: at each message of the user.
    fn turns(&self) -> impl Iterator<Item = usize> {
        let of_user = |index: &usize| self.messages[*index]["role"] == "user";
        (self.preamble()..self.messages.len()).filter(of_user)
    }

    /// The same without its `count` oldest turns, of which one is left at least, and how many messages that leaves out.
    pub fn without_turns(&self, count: usize) -> (Self, usize) {
        let from = self.turns().take(count + 1).last().filter(|_| count > 0);
        let dropped = from.map_or(0, |from| from - self.preamble());
        (self.without_messages(dropped), dropped)
    }

    /// The same without the first `count` messages after those of the system.
    pub fn without_messages(&self, count: usize) -> Self {
        let (first, rest) = self.messages.split_at(self.preamble());
        Conversation { messages: [first, &rest[count.min(rest.len())..]].concat(), ..self.clone() }
    }

    /// How many turns can be left out.
    pub fn older_turns(&self) -> usize {
        self.turns().count().saturating_sub(1)
    }

    /// The messages for a template that takes content in parts, or for one that does not.
    pub(super) fn messages_for(&self, takes_parts: bool, arguments: Arguments) -> Result<Vec<Value>> {
        let mut messages = self.messages.clone();
        for given in messages.iter_mut().flat_map(arguments_of) {
            match (arguments, &given) {
                (Arguments::Objects, Value::String(text)) => {
                    if let Ok(object @ Value::Object(_)) = serde_json::from_str(text) {
                        *given = object;
                    }
                }
                (Arguments::Texts, Value::Object(_)) => *given = pyjson::text(given)?.into(),
                _ => {}
            }
        }
        if !takes_parts {
            for message in messages.iter_mut().filter_map(Value::as_object_mut) {
                if let Some(content @ Value::Array(_)) = message.get_mut("content") {
                    let parts = content.as_array().into_iter().flatten();
                    *content = Value::String(parts.filter_map(part_text).collect());
                }
            }
        }
        if self.continue_assistant {
            Ending::mark(&mut messages);
        }
        Ok(messages)
    }

    /// What there is of the answer.
    pub(super) fn begun(&self) -> Option<String> {
        let content =
            self.messages.last().filter(|_| self.continue_assistant).map(|last| &last["content"])?;
        let parts = content.as_array().into_iter().flatten().filter_map(part_text);
        Some(content.as_str().into_iter().chain(parts).collect())
    }

    pub(super) fn has_calls(&self) -> bool {
        self.messages.iter().any(|message| message["tool_calls"].is_array())
    }

    pub(super) fn has_parts(&self) -> bool {
        self.messages.iter().any(|message| message["content"].is_array())
    }
}

/// The text of a part of a message.
fn part_text(part: &Value) -> Option<&str> {
    if part.get("type")? == "text" { part.get("text")?.as_str() } else { None }
}

/// Gives reasoning all of its names, as `transformers` does.
fn name_reasoning(message: &mut Message) {
    let found = REASONING.iter().find_map(|name| message.get(*name).filter(|value| !value.is_null()));
    if let Some(reasoning) = found.cloned() {
        message.entry("thinking").or_insert_with(|| reasoning.clone());
        message.insert("reasoning_content".into(), reasoning);
    }
}

/// Puts tools into the system's message, which is there then.
pub(super) fn tell_tools(messages: &mut Vec<Value>, tools: &[Value]) -> Result<()> {
    if messages.first().is_none_or(|first| first["role"] != "system") {
        messages.insert(0, json!({ "role": "system", "content": "" }));
    }
    let functions = tools.iter().map(|tool| tool.get("function").unwrap_or(tool).clone()).collect();
    messages[0]["tools"] = pyjson::text(&Value::Array(functions))?.into();
    Ok(())
}

/// How a template wants the arguments of tool calls: most as objects, though the OpenAI API has JSON in a string.
#[derive(Debug, Clone, Copy)]
pub(super) enum Arguments {
    Objects,
    Texts,
}

/// The arguments of a message's calls.
fn arguments_of(message: &mut Value) -> impl Iterator<Item = &mut Value> {
    let calls = message.get_mut("tool_calls").and_then(Value::as_array_mut);
    calls.into_iter().flatten().filter_map(|call| match call.get("function") {
        Some(_) => call.get_mut("function")?.get_mut("arguments"),
        None => call.get_mut("arguments"),
    })
}

/// Where an answer goes on that has been begun: behind the last message's content, without what the template would
/// write to end a turn. `transformers` finds that place in the same way.
pub(super) struct Ending;

impl Ending {
    /// Templates trim content, hence the space.
    const MARK: &str = "CONTINUE_FINAL_MESSAGE_TAG ";

    fn check(messages: &[Value]) -> Result<()> {
        let last = messages.last().filter(|last| last["role"] == "assistant");
        match last.map(|last| &last["content"]) {
            Some(Value::String(_)) => Ok(()),
            Some(Value::Array(parts)) if !parts.is_empty() => Ok(()),
            _ => Err(Error::invalid_argument(
                "continueAssistant: the last message must be one of the role \"assistant\", with content",
            )),
        }
    }

    fn mark(messages: &mut [Value]) {
        let content = match messages.last_mut().map(|last| &mut last["content"]) {
            Some(Value::Array(parts)) => parts.last_mut().map(|part| &mut part["text"]),
            content => content,
        };
        if let Some(Value::String(text)) = content {
            text.push_str(Self::MARK);
        }
    }

    pub(super) fn cut(mut text: String) -> Result<String> {
        let Some(at) = text.rfind(Self::MARK.trim_end()) else {
            return Err(Error::invalid_argument(
                "continueAssistant: the model's chat template does not show the last message as it is",
            ));
        };
        let trimmed = !text[at..].starts_with(Self::MARK);
        text.truncate(at);
        if trimmed {
            text.truncate(text.trim_end().len());
        }
        Ok(text)
    }
}
