//! Keeps what messages say from becoming control tokens.
//!
//! A prompt is one text in which the template's control tokens must be matched, and those that somebody has typed must
//! not: "<|im_end|>" in a message is ten characters, not the end of a turn. So a mark is put inside of every
//! occurrence before the template sees the message, and taken out again once the control tokens have been cut out of
//! the rendered text. The mark is a noncharacter, which no text should have; one that the input has is not used.

use super::conversation::Conversation;
use super::python;
use crate::error::{Error, Result};
use crate::tokenizer::Tokenizer;
use minijinja::Value;
use serde_json::Value as Json;

/// Noncharacters of Unicode: never assigned, and no white space.
const MARKS: std::ops::RangeInclusive<char> = '\u{fdd0}'..='\u{fdef}';

/// Puts the mark into texts. Without a tokenizer it changes nothing.
pub struct Shield<'t> {
    tokenizer: Option<&'t Tokenizer>,
    mark: char,
}

impl<'t> Shield<'t> {
    pub fn new(tokenizer: &'t Tokenizer, template: &str, conversation: &Conversation) -> Result<Self> {
        let mut free: Vec<char> = MARKS.collect();
        free.retain(|mark| !template.contains(*mark));
        let lists =
            [Some(&conversation.messages), conversation.tools.as_ref(), conversation.documents.as_ref()];
        lists.into_iter().flatten().flatten().for_each(|value| exclude(&mut free, value));
        let mark = free.first().copied().ok_or_else(|| {
            Error::invalid_argument("messages: they hold every noncharacter from U+FDD0 to U+FDEF")
        })?;
        Ok(Shield { tokenizer: Some(tokenizer), mark })
    }

    pub fn none() -> Self {
        Shield { tokenizer: None, mark: *MARKS.start() }
    }

    pub fn mark(&self) -> char {
        self.mark
    }

    /// A value for the template, its texts protected.
    pub fn value(&self, json: &Json) -> Value {
        match json {
            Json::Null => Value::from(()),
            Json::Bool(value) => Value::from(*value),
            Json::Number(number) => match (number.as_i64(), number.as_u64()) {
                (Some(integer), _) => Value::from(integer),
                (_, Some(integer)) => Value::from(integer),
                _ => number.as_f64().map_or_else(|| Value::from(()), python::number),
            },
            Json::String(text) => match self.tokenizer {
                Some(tokenizer) => Value::from(tokenizer.shield(text, self.mark)),
                None => Value::from(text),
            },
            Json::Array(items) => items.iter().map(|item| self.value(item)).collect(),
            Json::Object(fields) => {
                Value::from_pairs(fields.iter().map(|(key, value)| (key.as_str(), self.value(value))))
            }
        }
    }
}

fn exclude(free: &mut Vec<char>, json: &Json) {
    match json {
        Json::String(text) => free.retain(|mark| !text.contains(*mark)),
        Json::Array(items) => items.iter().for_each(|item| exclude(free, item)),
        Json::Object(fields) => fields.iter().for_each(|(key, value)| {
            free.retain(|mark| !key.contains(*mark));
            exclude(free, value);
        }),
        Json::Null | Json::Bool(_) | Json::Number(_) => {}
    }
}
