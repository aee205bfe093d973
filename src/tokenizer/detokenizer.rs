//! From tokens back to text, a token at a time.

use super::{Tokenizer, vocabulary::Kind};

/// Turns tokens into text as they come. A token may hold part of a character (bytes of an emoji, say): text is
/// handed out once its characters are whole.
#[derive(Debug, Clone)]
pub struct Detokenizer {
    /// Bytes of a character that is not whole yet.
    pending: Vec<u8>,
    /// Whether the next token loses the space that encoding put in front.
    drops_space: bool,
}

impl Detokenizer {
    /// At the start of a text, or behind `previous`.
    pub(super) fn new(tokenizer: &Tokenizer, previous: Option<u32>) -> Self {
        let begins = previous.is_none_or(|token| tokenizer.is_special(token));
        Detokenizer { pending: Vec::new(), drops_space: begins && tokenizer.adds_space() }
    }

    /// The text that `token` completes; empty while a character is not whole. Control tokens have no text, nor
    /// have ids that are not in the vocabulary.
    pub fn push(&mut self, tokenizer: &Tokenizer, token: u32) -> String {
        if tokenizer.is_special(token) {
            if tokenizer.vocabulary.kind(token) == Some(Kind::UserDefined) {
                tokenizer.append_bytes(token, &mut self.pending);
            }
            // Encoding gives the text behind a special token a space, as at the start.
            self.drops_space = tokenizer.adds_space();
        } else {
            let start = self.pending.len();
            tokenizer.append_bytes(token, &mut self.pending);
            if self.drops_space && self.pending.get(start) == Some(&b' ') {
                self.pending.remove(start);
            }
            self.drops_space = false;
        }
        self.take_whole()
    }

    /// What is left at the end: U+FFFD for a character that never became whole.
    pub fn finish(&mut self) -> String {
        let rest = String::from_utf8_lossy(&self.pending).into_owned();
        self.pending.clear();
        rest
    }

    /// Takes the whole characters, and U+FFFD for bytes that no further byte can mend.
    fn take_whole(&mut self) -> String {
        let mut text = String::new();
        let mut taken = 0;
        for chunk in self.pending.utf8_chunks() {
            text.push_str(chunk.valid());
            taken += chunk.valid().len();
            let rest = &self.pending[taken..];
            let may_become_whole = rest.len() == chunk.invalid().len()
                && std::str::from_utf8(rest).is_err_and(|e| e.error_len().is_none());
            if !chunk.invalid().is_empty() && !may_become_whole {
                text.push(char::REPLACEMENT_CHARACTER);
                taken += chunk.invalid().len();
            }
        }
        self.pending.drain(..taken);
        text
    }
}
