//! The options of a generation, as the page gives them.

use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The most of the likeliest tokens that are told beside one.
const MOST_LOGPROBS: u32 = 20;

/// Names and meanings are those of the public API. Defaults are llama.cpp's.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Options {
    /// Tokens to generate at most; until the context is full if absent.
    pub max_tokens: Option<u32>,
    /// 0 always takes the most probable token.
    pub temperature: f32,
    /// Candidates that are kept; 0 keeps all.
    pub top_k: u32,
    /// The most probable candidates whose probabilities reach this sum are kept.
    pub top_p: f32,
    /// Candidates at least this fraction as probable as the first are kept.
    pub min_p: f32,
    /// Divides (or multiplies, if negative) the logits of tokens that have occurred.
    pub repeat_penalty: f32,
    /// Subtracted from a logit for each occurrence of its token in the answer.
    pub frequency_penalty: f32,
    /// Subtracted from a logit whose token has occurred in the answer.
    pub presence_penalty: f32,
    /// Draws the same tokens again; random if absent.
    pub seed: Option<u32>,
    /// Texts that end the answer; they are not part of it.
    pub stop: Vec<String>,
    /// Added to the logits of tokens, by id.
    pub logit_bias: BTreeMap<u32, f32>,
    /// Goes on after an end-of-generation token.
    pub ignore_eos: bool,
    /// Tells of each token how likely it was, with so many of the likeliest beside it.
    pub logprobs: Option<u32>,
    /// When the answer has a form, if it has one: from there on the worker says of each token what it may be.
    pub formed: Option<Onset>,
}

/// When an answer's form begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Onset {
    /// With what is said.
    Answer,
    /// Behind what opens a call of a tool, if there is one.
    Calls,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            max_tokens: None,
            temperature: 0.8,
            top_k: 40,
            top_p: 0.95,
            min_p: 0.05,
            repeat_penalty: 1.0,
            frequency_penalty: 0.0,
            presence_penalty: 0.0,
            seed: None,
            stop: Vec::new(),
            logit_bias: BTreeMap::new(),
            ignore_eos: false,
            logprobs: None,
            formed: None,
        }
    }
}

impl Options {
    /// Reads options from JSON and checks their ranges. An unknown one is refused by name.
    pub fn from_json(json: &str) -> Result<Self> {
        let options: Options = serde_json::from_str(json)
            .map_err(|error| Error::invalid_argument(format!("options: {error}")))?;
        let ranges = [
            ("temperature", options.temperature, 0.0, 100.0),
            ("topP", options.top_p, 0.0, 1.0),
            ("minP", options.min_p, 0.0, 1.0),
            ("repeatPenalty", options.repeat_penalty, 1e-3, 1e3),
            ("frequencyPenalty", options.frequency_penalty, -100.0, 100.0),
            ("presencePenalty", options.presence_penalty, -100.0, 100.0),
        ];
        for (name, value, from, to) in ranges {
            if !(from..=to).contains(&value) {
                return Err(Error::invalid_argument(format!(
                    "{name} must be within {from}..={to}, not {value}"
                )));
            }
        }
        if options.logprobs.is_some_and(|n| n > MOST_LOGPROBS) {
            return Err(Error::invalid_argument(format!("logprobs must be at most {MOST_LOGPROBS}")));
        }
        if options.logit_bias.values().any(|bias| bias.is_nan()) {
            return Err(Error::invalid_argument("a value of logitBias is not a number"));
        }
        if options.stop.iter().any(String::is_empty) {
            return Err(Error::invalid_argument("a text of stop is empty"));
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    #[test]
    fn known_options_are_read_and_others_refused() {
        let options =
            Options::from_json(r#"{"maxTokens": 3, "stop": ["\n"], "logitBias": {"7": -100}}"#).unwrap();
        assert_eq!((options.max_tokens, options.logit_bias[&7]), (Some(3), -100.0));
        for json in [
            r#"{"maxToken": 3}"#,
            r#"{"topP": 2}"#,
            r#"{"logprobs": 21}"#,
            r#"{"temperature": -1}"#,
            r#"{"stop": [""]}"#,
            "3",
        ] {
            assert_eq!(Options::from_json(json).unwrap_err().code, Code::InvalidArgument, "{json}");
        }
    }
}
