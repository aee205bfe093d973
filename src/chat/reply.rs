//! The parts of an answer: what the model thought, what it says, and which tools it calls.
//!
//! Models that reason write it between two tags at the beginning of their answer, or go on in a block that the
//! template has opened for them. Tags are told by what the template mentions.

use super::calling::{Calling, Told};
use super::calls::{Format, ToolCall};
use crate::tokenizer::Tokenizer;
use serde_json::Value;
use std::ops::AddAssign;

/// The tags between which a family reasons.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Tags {
    /// What `open` begins with, a token in most vocabularies.
    mark: &'static str,
    open: &'static str,
    close: &'static str,
    /// A block without a thought, as the family's templates write it.
    empty: &'static str,
}

/// Of a model that does not reason; there is no stage then that would look for them.
const NO_TAGS: Tags = Tags { mark: "", open: "", close: "", empty: "" };

const TAGS: &[Tags] = &[
    Tags { mark: "<think>", open: "<think>", close: "</think>", empty: "<think>\n\n</think>\n\n" },
    Tags { mark: "[THINK]", open: "[THINK]", close: "[/THINK]", empty: "[THINK][/THINK]" },
    Tags {
        mark: "<|channel>",
        open: "<|channel>thought\n",
        close: "<channel|>",
        empty: "<|channel>thought\n<channel|>",
    },
];

fn tags_of(template: &str) -> Option<Tags> {
    TAGS.iter().find(|tags| template.contains(tags.close)).copied()
}

/// Whether the template is one of a model that reasons.
pub fn reasons(template: &str) -> bool {
    tags_of(template).is_some()
}

/// A prompt without the reasoning that its template may have opened.
pub fn answered(template: &str, prompt: String) -> String {
    let tags = tags_of(template);
    let before = tags.and_then(|tags| prompt.trim_end().strip_suffix(tags.open.trim_end()));
    match (tags, before) {
        (Some(tags), Some(before)) => format!("{before}{}", tags.empty),
        _ => prompt,
    }
}

/// More of an answer.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Parts {
    pub reasoning: String,
    pub text: String,
    pub calls: Vec<ToolCall>,
}

impl AddAssign for Parts {
    fn add_assign(&mut self, more: Self) {
        self.reasoning.push_str(&more.reasoning);
        self.text.push_str(&more.text);
        self.calls.extend(more.calls);
    }
}

/// Tells the parts of an answer as it streams. No part of a tag is shown, nor is the white space around reasoning.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    tags: Option<Tags>,
    calls: Option<&'static Format>,
    /// Those that may be called.
    tools: Vec<Value>,
    stage: Stage,
    /// Calls that have begun.
    calling: Option<Calling>,
    called: bool,
    /// Whether the prompt leaves it to the model to reason.
    may_reason: bool,
    held: String,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Stage {
    /// Reasoning may begin here, as long as there is only white space. After a block that belongs to neither part.
    Lead { after: bool },
    /// Within the tags; `begun` once there was a word.
    Reasoning { begun: bool },
    /// What the model says; `begun` once there was a word.
    Text { begun: bool },
    /// Calls of tools, until text comes.
    Calls,
}

impl Default for Stage {
    fn default() -> Self {
        Stage::Text { begun: false }
    }
}

impl Reply {
    /// The answer to a prompt that `template` has rendered.
    pub fn after(template: &str, prompt: &str) -> Self {
        let tags = tags_of(template);
        let ends = |tag: &str| prompt.trim_end().ends_with(tag.trim_end());
        let stage = match tags {
            None => Stage::default(),
            Some(tags) if ends(tags.open) => Stage::Reasoning { begun: false },
            Some(_) => Stage::Lead { after: false },
        };
        // An empty block says that there is to be none.
        let may_reason = tags.is_some_and(|tags| !ends(tags.close));
        Reply { tags, stage, may_reason, ..Reply::default() }
    }

    /// The rest of an answer that begins with `begun`.
    pub fn within(template: &str, begun: &str) -> Self {
        let tags = tags_of(template);
        let stage = match tags {
            Some(tags) if begun.rfind(tags.open) > begun.rfind(tags.close) => {
                Stage::Reasoning { begun: true }
            }
            Some(_) if begun.trim().is_empty() => Stage::Lead { after: false },
            _ => Stage::Text { begun: !begun.trim().is_empty() },
        };
        Reply { tags, stage, ..Reply::default() }
    }

    /// Reads calls of tools as well.
    pub fn with_calls(mut self, format: &'static Format, tools: Vec<Value>) -> Self {
        (self.calls, self.tools) = (Some(format), tools);
        self
    }

    /// Whether what comes next is still what the model thinks.
    pub fn is_reasoning(&self) -> bool {
        matches!(self.stage, Stage::Reasoning { .. })
    }

    /// The token that has the model reason first, if it may begin with that.
    pub fn opener(&self, tokenizer: &Tokenizer) -> Option<u32> {
        let leads = self.stage == Stage::Lead { after: false } && self.held.trim().is_empty();
        self.tags.filter(|_| leads && self.may_reason).and_then(|tags| tokenizer.token_id(tags.mark))
    }

    /// What is missing of a tag behind which the model reasons, once it has begun with the tag's token. (Text may begin as
    /// the tag does.)
    pub fn opening(&self) -> Option<&'static str> {
        let begun = self.held.trim_start();
        let tags = self.tags.filter(|_| self.stage == Stage::Lead { after: false })?;
        tags.open.strip_prefix(begun).filter(|_| begun.starts_with(tags.mark))
    }

    /// Whether what comes next is part of a call, or behind one.
    pub fn is_calling(&self) -> bool {
        self.stage == Stage::Calls
    }

    /// Whether there was a call.
    pub fn has_called(&self) -> bool {
        self.called
    }

    /// Takes a token and the text that came of it. Some models' tags are control tokens, which have no text.
    pub fn push_token(&mut self, tokenizer: &Tokenizer, token: u32, text: &str) -> Parts {
        let tag = tokenizer.token_text(token).filter(|_| tokenizer.is_control(token));
        match tag.filter(|tag| self.reads(tag)) {
            Some(tag) => self.push(&format!("{text}{tag}")),
            None => self.push(text),
        }
    }

    /// Whether a control token tells of the parts.
    fn reads(&self, tag: &str) -> bool {
        self.tags.is_some_and(|tags| tag == tags.close || tags.open.starts_with(tag))
            || match &self.calling {
                Some(calling) => calling.reads(tag),
                None => self.calls.is_some_and(|calls| tag == calls.open),
            }
    }

    /// Takes more text.
    pub fn push(&mut self, text: &str) -> Parts {
        self.held.push_str(text);
        let mut parts = Parts::default();
        let tags = self.tags.unwrap_or(NO_TAGS);
        loop {
            match self.stage {
                Stage::Lead { after } => {
                    let begun = self.held.trim_start();
                    if let Some(rest) = begun.strip_prefix(tags.open) {
                        self.held = rest.to_owned();
                        self.stage = Stage::Reasoning { begun: false };
                        continue;
                    }
                    if tags.open.starts_with(begun) {
                        return parts;
                    }
                    if after {
                        self.held = begun.to_owned();
                    }
                    self.stage = Stage::default();
                }
                Stage::Reasoning { begun } => {
                    if !begun {
                        self.held = self.held.trim_start().to_owned();
                    }
                    let end = self.held.find(tags.close);
                    let sure = end.unwrap_or_else(|| self.held.len() - begins(&self.held, tags.close));
                    let shown = self.held[..sure].trim_end().len();
                    parts.reasoning.push_str(&self.held[..shown]);
                    match end {
                        Some(end) => {
                            self.held.drain(..end + tags.close.len());
                            self.stage = Stage::Lead { after: true };
                        }
                        None => {
                            self.held.drain(..shown);
                            self.stage = Stage::Reasoning { begun: begun || shown > 0 };
                            return parts;
                        }
                    }
                }
                Stage::Text { begun } => {
                    let shown = match self.calls {
                        None => self.held.len(),
                        Some(calls) => {
                            let word = self.held.trim_start();
                            let whole = calls.whole.is_some_and(|whole| !begun && word.starts_with(whole));
                            let open = if whole { Some(0) } else { self.held.find(calls.open) };
                            if open.is_some() {
                                self.calling = Some(Calling::new(calls, !whole));
                                self.stage = Stage::Calls;
                            } else {
                                self.stage = Stage::Text { begun: begun || !word.is_empty() };
                            }
                            open.unwrap_or_else(|| self.held.len() - begins(&self.held, calls.open))
                        }
                    };
                    parts.text.extend(self.held.drain(..shown));
                    if self.stage != Stage::Calls {
                        return parts;
                    }
                }
                Stage::Calls => {
                    let Some(calling) = &mut self.calling else { return parts };
                    match calling.take(&mut self.held, text, &self.tools) {
                        Told::More => return parts,
                        Told::Call(call) => {
                            parts.calls.push(call);
                            self.called = true;
                        }
                        Told::Text(text) => {
                            parts.text.push_str(&text);
                            self.calling = None;
                            self.stage = Stage::Text { begun: true };
                        }
                    }
                }
            }
        }
    }

    /// What was held back when the answer ended, or was `cut` off.
    pub fn finish(&mut self, cut: bool) -> Parts {
        let held = std::mem::take(&mut self.held);
        let mut parts = Parts::default();
        match self.stage {
            Stage::Reasoning { .. } => parts.reasoning = held.trim_end().to_owned(),
            Stage::Lead { after: true } => parts.text = held.trim_start().to_owned(),
            _ => match self.calling.take() {
                Some(calling) => parts.text = calling.finish(&held, cut),
                None => parts.text = held,
            },
        }
        parts
    }
}

/// Bytes at the end of `text` that may be the beginning of `tag`.
fn begins(text: &str, tag: &str) -> usize {
    let starts = (0..text.len()).filter(|&at| text.is_char_boundary(at));
    let at = starts.into_iter().find(|&at| tag.starts_with(&text[at..]));
    at.map_or(0, |at| text.len() - at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(template: &str, prompt: &str, pieces: &[&str]) -> (String, String) {
        let mut reply = Reply::after(template, prompt);
        let mut all = Parts::default();
        for piece in pieces {
            all += reply.push(piece);
        }
        all += reply.finish(false);
        (all.reasoning, all.text)
    }

    #[test]
    fn a_model_may_reason_first_unless_it_is_told_otherwise() {
        let gemma = "<|channel>thought\n<channel|>";
        let opening = |template: &str, prompt: &str, said: &str| {
            let mut reply = Reply::after(template, prompt);
            reply.push(said);
            (reply.may_reason && reply.stage == Stage::Lead { after: false }, reply.opening())
        };
        assert_eq!(opening("</think>", "", ""), (true, None));
        assert_eq!(opening("</think>", "<think>\n\n</think>\n\n", ""), (false, None));
        assert_eq!(opening("</think>", "", "<think>"), (false, None));
        assert_eq!(opening("</think>", "", "<thi").1, None);
        assert_eq!(opening(gemma, "", "<|channel>").1, Some("thought\n"));
        assert_eq!(opening(gemma, "<|channel>thought\n<channel|>", ""), (false, None));
        assert_eq!(opening("", "", "<think>"), (false, None));
    }

    #[test]
    fn reasoning_is_told_from_the_answer() {
        const THINK: &str = "… <think> … </think> …";
        let cases: &[(&str, &[&str], &str, &str)] = &[
            ("", &["<think>\nLet me", " see.\n", "</think>", "\n\nYes."], "Let me see.", "Yes."),
            ("", &["<th", "ink>a </th", "ink", ">", " b"], "a", "b"),
            ("", &["\n", "Yes <think>."], "", "\nYes <think>."),
            ("", &["<thinly>"], "", "<thinly>"),
            ("", &["<think>a</think><think>b</think>c"], "ab", "c"),
            ("", &["<think>a </thi"], "a </thi", ""),
            ("", &["<thi"], "", "<thi"),
            ("", &[" "], "", " "),
            ("<think>\n", &["a", " < b", "</think>", "\n", "c "], "a < b", "c "),
            ("<think>\n\n</think>\n\n", &["c"], "", "c"),
        ];
        for (prompt, pieces, reasoning, text) in cases {
            assert_eq!(parts(THINK, prompt, pieces), ((*reasoning).into(), (*text).into()), "{pieces:?}");
        }
        for (begun, text) in
            [("<think>I", "so</think>b"), ("<think>I</think>Well", "<think>"), ("", "<think>a</think>b")]
        {
            let mut reply = Reply::within(THINK, begun);
            let whole = reply.push(text);
            let expected = match begun {
                "<think>I" => ("so", "b"),
                "" => ("a", "b"),
                _ => ("", "<think>"),
            };
            assert_eq!((whole.reasoning.as_str(), whole.text.as_str()), expected);
        }
        assert_eq!(parts("", "", &["<think>a</think>b"]), ("".into(), "<think>a</think>b".into()));
        let mut reply = Reply::after("</think> <tool_call>", "");
        reply = reply.with_calls(crate::chat::calls::format_of("<tool_call>").expect("a format"), vec![]);
        let mut all = Parts::default();
        for piece in
            ["<think>a</think>", "b <tool", "_calm> <tool_", "call>{\"name\":", "\"f\"}", "</tool_call>"]
        {
            all += reply.push(piece);
        }
        assert_eq!((all.reasoning.as_str(), all.text.as_str()), ("a", "b <tool_calm> "));
        assert_eq!(all.calls[0].name, "f");
        assert_eq!(reply.finish(false), Parts::default());
        let gemma = "<|channel>thought\n<channel|>";
        assert_eq!(parts(gemma, "", &["<|channel>", "thought", "\na<channel|>b"]), ("a".into(), "b".into()));
    }
}
