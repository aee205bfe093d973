//! The forms that an answer can be asked to have.

use crate::error::{Code, Error, Result};
use crate::finite::is_finite;
use llguidance::api::{GrammarWithLexer, TopLevelGrammar};
use serde::Deserialize;
use serde_json::{Value, json};

/// The longest format, in bytes of JSON.
const LONGEST: usize = 1 << 20;

/// The form of an answer, as the page gives it: `{ "schema": … }` and so on.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Format {
    /// A JSON value that a JSON Schema accepts, written with `", "` and `": "` and no other white space between its
    /// parts, which is how models write JSON in a line.
    Schema(Value),
    /// A text that the regular expression matches as a whole, in the syntax of Rust's `regex` crate without look-around.
    Regex(String),
    /// One of these texts.
    Choices(Vec<String>),
    /// A context-free grammar in llguidance's variant of Lark's syntax; its rule `start` is the answer.
    Grammar(String),
    /// What one of them says.
    Either(Vec<Format>),
}

impl Format {
    /// Reads a format from JSON.
    pub fn from_json(json: &str) -> Result<Self> {
        if json.len() > LONGEST {
            return Err(Error::invalid(format!("format has {} bytes, and may have {LONGEST}", json.len())));
        }
        serde_json::from_str(json).map_err(|error| Error::invalid(format!("format: {error}")))
    }

    pub(crate) fn grammar(self) -> Result<TopLevelGrammar> {
        Ok(match self {
            Format::Schema(schema) if !is_finite(&schema) => {
                return Err(Error::new(
                    Code::ConstraintUnsatisfiable,
                    "format.schema accepts only values without end: what refers to itself must be allowed to be left out",
                ));
            }
            Format::Schema(schema) => TopLevelGrammar::from_json_schema(compact(schema)?),
            Format::Regex(regex) => {
                // Digits and word characters are ASCII's, as in JavaScript.
                let regex = llguidance::regex_to_lark(&regex, "dw");
                TopLevelGrammar::from_lark(format!("start: /{regex}/"))
            }
            Format::Choices(choices) if choices.is_empty() => {
                return Err(Error::invalid("format.choices is empty: give one choice at least"));
            }
            Format::Choices(choices) => {
                // Lark's strings are written as JSON's are.
                let quoted: Vec<String> =
                    choices.into_iter().map(|choice| json!(choice).to_string()).collect();
                TopLevelGrammar::from_lark(format!("start: {}", quoted.join(" | ")))
            }
            Format::Grammar(grammar) if grammar.contains("::=") => {
                return Err(Error::invalid(
                    "format.grammar looks like GBNF; write it in Lark's syntax: `rule: …` for `rule ::= …`, a rule \
                     `start` for `root`, and /…/ for character classes",
                ));
            }
            Format::Grammar(grammar) => TopLevelGrammar::from_lark(grammar),
            Format::Either(forms) => {
                let names: Vec<String> = (0..forms.len()).map(|index| format!("@form{index}")).collect();
                let mut either = TopLevelGrammar::from_lark(format!("start: {}", names.join(" | ")));
                for (name, form) in names.iter().zip(forms) {
                    let parts = form.grammar()?.grammars.into_iter();
                    either
                        .grammars
                        .extend(parts.map(|part| GrammarWithLexer { name: Some(name[1..].into()), ..part }));
                }
                either
            }
        })
    }
}

/// The schema with our white space, unless it says its own.
fn compact(schema: Value) -> Result<Value> {
    match schema {
        Value::Object(mut object) => {
            object.entry("x-guidance").or_insert_with(
                || json!({ "item_separator": ", ", "key_separator": ": ", "whitespace_flexible": false }),
            );
            Ok(Value::Object(object))
        }
        Value::Bool(true) => compact(json!({})),
        Value::Bool(false) => Ok(Value::Bool(false)),
        _ => Err(Error::invalid("format.schema must be a JSON Schema: an object, true or false")),
    }
}
