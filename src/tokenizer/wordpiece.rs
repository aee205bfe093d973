//! WordPiece (`bert`): a text is lowercased and stripped of accents, cut at white space and punctuation, and
//! each word is covered from the left by the longest tokens.
//!
//! The files write a token that begins a word as `▁word` and one that goes on as it is, where the `tokenizers`
//! crate wants `##`; and llama.cpp, which we follow, differs from the crate in three more ways: of a decomposed
//! character only the first part is kept (a Hangul syllable becomes its first letter), a word may be of any
//! length, and characters that no version of Unicode has assigned are kept.

use std::ops::Range;

use regex::Regex;
use unicode_normalization_alignments::char::decompose_canonical;

use super::specials::{Specials, boolean};
use super::vocabulary::Vocabulary;
use crate::error::{Error, Result};
use crate::gguf::Metadata;

const LOWERCASE: &str = "tokenizer.ggml.normalizer.lowercase";
const STRIP_ACCENTS: &str = "tokenizer.ggml.normalizer.strip_accents";

/// A word: one punctuation mark, ASCII symbol or Chinese character, or a run of anything else.
const WORD: &str = r"(?x)
    [\p{P}$+<=>^`|~\x{3400}-\x{4DBF}\x{4E00}-\x{9FFF}\x{F900}-\x{FAFF}\x{20000}-\x{2A6DF}\x{2A700}-\x{2B81F}\x{2B920}-\x{2CEAF}\x{2F800}-\x{2FA1F}]
    |
    [^\s\p{P}$+<=>^`|~\x{3400}-\x{4DBF}\x{4E00}-\x{9FFF}\x{F900}-\x{FAFF}\x{20000}-\x{2A6DF}\x{2A700}-\x{2B81F}\x{2B920}-\x{2CEAF}\x{2F800}-\x{2FA1F}]+";
const DROPPED: &str = r"[\x00\x{FFFD}\p{Cc}\p{Cf}\p{Co}--\s]";
const DROPPED_WITH_ACCENTS: &str = r"[\x00\x{FFFD}\p{Cc}\p{Cf}\p{Co}\p{M}--\s]";

pub struct WordPiece {
    lowercase: bool,
    strip_accents: bool,
    dropped: Regex,
    word: Regex,
    unknown: u32,
}

impl WordPiece {
    pub fn from_metadata(metadata: &Metadata, specials: &Specials) -> Result<Self> {
        let lowercase = boolean(metadata, LOWERCASE)?.unwrap_or(true);
        let strip_accents = boolean(metadata, STRIP_ACCENTS)?.unwrap_or(lowercase);
        let unknown = specials.unknown.ok_or_else(|| {
            Error::invalid_model("the vocabulary has no unknown token").key("tokenizer.ggml.unknown_token_id")
        })?;
        let compile = |pattern| Regex::new(pattern).map_err(|error| Error::internal(error.to_string()));
        Ok(WordPiece {
            lowercase,
            strip_accents,
            dropped: compile(if strip_accents { DROPPED_WITH_ACCENTS } else { DROPPED })?,
            word: compile(WORD)?,
            unknown,
        })
    }

    /// Appends the ids of `text`.
    pub fn encode(&self, vocabulary: &Vocabulary, text: &str, ids: &mut Vec<u32>) {
        let mut spelled = String::new();
        let text = self.normalize(text);
        for word in self.word.find_iter(&text) {
            spelled.clear();
            spelled.push('▁');
            spelled.push_str(word.as_str());
            let first = ids.len();
            if cover(vocabulary, &spelled, ids).is_none() {
                ids.truncate(first);
                ids.push(self.unknown);
            }
        }
    }

    fn normalize(&self, text: &str) -> String {
        let plain: String =
            if self.strip_accents { text.chars().map(base).collect() } else { text.to_owned() };
        let plain = self.dropped.replace_all(&plain, "");
        if self.lowercase { plain.chars().map(lower).collect() } else { plain.into_owned() }
    }
}

/// Appends the tokens that cover `word`, each as long as can be; `None` if there are none.
fn cover(vocabulary: &Vocabulary, word: &str, ids: &mut Vec<u32>) -> Option<()> {
    let mut rest: Range<usize> = 0..word.len();
    while !rest.is_empty() {
        let longest = word.len().min(rest.start + vocabulary.longest());
        let (end, id) = (rest.start + 1..=longest)
            .rev()
            .filter(|&end| word.is_char_boundary(end))
            .find_map(|end| vocabulary.id(&word[rest.start..end]).map(|id| (end, id)))?;
        ids.push(id);
        rest.start = end;
    }
    Some(())
}

/// The first character of the canonical decomposition.
fn base(c: char) -> char {
    let mut first = None;
    decompose_canonical(c, |part| {
        first.get_or_insert(part);
    });
    first.unwrap_or(c)
}

/// The lower case of a character where that is one character.
fn lower(c: char) -> char {
    let mut lower = c.to_lowercase();
    match (lower.next(), lower.next()) {
        (Some(lower), None) => lower,
        _ => c,
    }
}
