//! Byte-level BPE (`gpt2`): a text is cut into words, the bytes of a word are written in an alphabet of 256
//! printable characters, and characters are merged by rank. Gemma 4 (`gemma4`) merges the characters themselves
//! and falls back to bytes for those that it lacks.

use std::collections::HashSet;

use tokenizers::Model;
use tokenizers::models::bpe::{BPE, Merges, Vocab};

use super::pretokenizers::{Line, PreTokenizer};
use super::vocabulary::Vocabulary;
use crate::error::{Error, Result};
use crate::gguf::Metadata;

const MERGES: &str = "tokenizer.ggml.merges";

/// How the characters of a word are written in tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spelling {
    /// As bytes, in GPT-2's alphabet.
    Bytes,
    /// As they are, a space as `▁`.
    Characters,
}

pub struct ByteLevel {
    words: PreTokenizer,
    merges: BPE,
    spelling: Spelling,
    /// The character of each byte.
    alphabet: [char; 256],
}

impl ByteLevel {
    pub fn from_metadata(
        metadata: &Metadata,
        vocabulary: &Vocabulary,
        line: &Line,
        spelling: Spelling,
    ) -> Result<Self> {
        let merges = merges(metadata, vocabulary)?;
        let texts: Vocab = vocabulary
            .iter()
            // Of two equal texts the first keeps its id, as in the vocabulary.
            .filter(|&(id, text, _)| vocabulary.id(text) == Some(id))
            .map(|(id, text, _)| (text.to_owned(), id))
            .collect();
        // No cache: the crate keeps it per thread and never gives it back, not even when the model goes.
        let merges = BPE::builder()
            .vocab_and_merges(texts, merges)
            .cache_capacity(0)
            .byte_fallback(spelling == Spelling::Characters)
            .ignore_merges(line.ignore_merges)
            .build()
            .map_err(|error| Error::invalid_model(error.to_string()).key(MERGES))?;
        Ok(ByteLevel { words: PreTokenizer::new(line)?, merges, spelling, alphabet: alphabet() })
    }

    pub fn spelling(&self) -> Spelling {
        self.spelling
    }

    /// Appends the ids of `text`.
    pub fn encode(&self, vocabulary: &Vocabulary, text: &str, ids: &mut Vec<u32>) -> Result<()> {
        let mut spelled = String::new();
        for range in self.words.words(text) {
            let word = &text[range];
            spelled.clear();
            match self.spelling {
                Spelling::Bytes => spelled.extend(word.bytes().map(|b| self.alphabet[usize::from(b)])),
                Spelling::Characters => {
                    spelled.extend(word.chars().map(|c| if c == ' ' { '▁' } else { c }));
                    // Runs of newlines are tokens that the merges do not reach.
                    if word.starts_with('\n')
                        && let Some(id) = vocabulary.id(word)
                    {
                        ids.push(id);
                        continue;
                    }
                }
            }
            let tokens =
                self.merges.tokenize(&spelled).map_err(|error| Error::internal(error.to_string()))?;
            ids.extend(tokens.iter().map(|token| token.id));
        }
        Ok(())
    }
}

/// The merges of the file, by falling rank, without those that name no token or come twice.
fn merges(metadata: &Metadata, vocabulary: &Vocabulary) -> Result<Merges> {
    let lines = metadata.require_strings(MERGES)?;
    let mut merges = Merges::with_capacity(lines.len());
    let mut seen = HashSet::with_capacity(lines.len());
    for line in lines.iter() {
        // The left part is never empty: it may begin with a space.
        let Some(space) = line.char_indices().skip(1).find(|&(_, c)| c == ' ').map(|(at, _)| at) else {
            continue;
        };
        let (left, right) = (&line[..space], &line[space + 1..]);
        let (Some(left_id), Some(right_id)) = (vocabulary.id(left), vocabulary.id(right)) else { continue };
        let merged = [left, right].concat();
        if vocabulary.id(&merged).is_some() && seen.insert((left_id, right_id)) {
            merges.push((left.to_owned(), right.to_owned()));
        }
    }
    Ok(merges)
}

/// GPT-2's alphabet: bytes that are printable characters of Latin-1 stand for themselves, the others are moved,
/// in order, behind U+0100.
pub fn alphabet() -> [char; 256] {
    let mut moved = 0x100u32..;
    std::array::from_fn(|byte| match byte as u8 {
        byte @ (b'!'..=b'~' | 0xa1..=0xac | 0xae..=0xff) => char::from(byte),
        _ => moved.next().and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER),
    })
}

/// The byte that a character of GPT-2's alphabet stands for.
pub fn byte_of(alphabet_char: char) -> Option<u8> {
    match alphabet_char as u32 {
        code @ (0x21..=0x7e | 0xa1..=0xac | 0xae..=0xff) => Some(code as u8),
        code @ 0x100..=0x120 => Some((code - 0x100) as u8),
        code @ 0x121..=0x142 => Some((code - 0x121 + 0x7f) as u8),
        0x143 => Some(0xad),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_alphabet_is_reversible() {
        for (byte, c) in alphabet().into_iter().enumerate() {
            assert_eq!(byte_of(c).map(usize::from), Some(byte), "{c:?}");
        }
        assert_eq!(
            (byte_of(' '), byte_of('Ġ'), byte_of('Ċ'), byte_of('▁')),
            (None, Some(32), Some(10), None)
        );
    }
}
