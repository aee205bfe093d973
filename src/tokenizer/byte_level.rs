//! Byte-level BPE (`gpt2`): a text is cut into words, the bytes of a word are written in an alphabet of 256
//! printable characters, and characters are merged by rank. Gemma 4 (`gemma4`) merges the characters themselves
//! and falls back to bytes for those that it lacks.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use super::merging::{Part, merge};
use super::pretokenizers::{Line, PreTokenizer};
use super::vocabulary::{Vocabulary, byte_token};
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
    merges: Merges,
    spelling: Spelling,
    /// Whether a word that is a token is left whole, whatever the merges make of it.
    whole_words: bool,
    /// The character of each byte.
    alphabet: [char; 256],
    /// The token of each byte: of its character, or `<0xNN>`.
    bytes: Vec<Option<u32>>,
}

impl ByteLevel {
    pub fn from_metadata(
        metadata: &Metadata,
        vocabulary: &Vocabulary,
        line: &Line,
        spelling: Spelling,
    ) -> Result<Self> {
        let alphabet = alphabet();
        let bytes = (0..=255u8).map(|byte| match spelling {
            Spelling::Bytes => vocabulary.id(alphabet[usize::from(byte)].encode_utf8(&mut [0; 4])),
            Spelling::Characters => vocabulary.id(&byte_token(byte)),
        });
        Ok(ByteLevel {
            words: PreTokenizer::new(line)?,
            merges: Merges::from_metadata(metadata, vocabulary)?,
            spelling,
            whole_words: line.ignore_merges,
            alphabet,
            bytes: bytes.collect(),
        })
    }

    pub fn spelling(&self) -> Spelling {
        self.spelling
    }

    /// Appends the ids of `text`.
    pub fn encode(&self, vocabulary: &Vocabulary, text: &str, ids: &mut Vec<u32>) -> Result<()> {
        let mut spelled = String::new();
        let mut parts = Vec::new();
        for range in self.words.words(text)? {
            let word = &text[range];
            spelled.clear();
            match self.spelling {
                Spelling::Bytes => spelled.extend(word.bytes().map(|b| self.alphabet[usize::from(b)])),
                Spelling::Characters => {
                    spelled.extend(word.chars().map(|c| if c == ' ' { '▁' } else { c }));
                }
            }
            // Runs of newlines are tokens that the merges do not reach.
            let whole = self.whole_words || (self.spelling == Spelling::Characters && word.starts_with('\n'));
            if whole && let Some(id) = vocabulary.id(&spelled) {
                ids.push(id);
                continue;
            }
            parts.clear();
            self.cut(vocabulary, &spelled, word, &mut parts);
            merge(&mut parts, |left, right| self.merges.find(left.token, right.token));
            ids.extend(parts.iter().filter(|part| part.len > 0).map(|part| part.token));
        }
        Ok(())
    }

    /// The tokens that a word's merging begins with. What has no token is lost.
    fn cut(&self, vocabulary: &Vocabulary, spelled: &str, word: &str, parts: &mut Vec<Part>) {
        let part = |token: u32| Part::new(0, 1, Some(token));
        if self.spelling == Spelling::Bytes {
            parts.extend(word.bytes().filter_map(|byte| self.bytes[usize::from(byte)]).map(part));
            return;
        }
        for (at, c) in spelled.char_indices() {
            let character = &spelled[at..at + c.len_utf8()];
            let bytes = || character.bytes().map(|byte| self.bytes[usize::from(byte)]);
            match vocabulary.id(character) {
                Some(id) => parts.push(part(id)),
                None if bytes().all(|token| token.is_some()) => parts.extend(bytes().flatten().map(part)),
                None => {}
            }
        }
    }
}

/// Which two tokens make which, and their ranks.
///
/// The `tokenizers` crate has the same in maps of strings: for the 48,900 merges of SmolLM2 they take 70 ms to build
/// (natively; 100 in a tab) and, for the 514,906 of Gemma 4, 64 MB; here 10 ms and 16 MB.
struct Merges {
    table: HashTable<Merge>,
    hasher: RandomState,
}

struct Merge {
    left: u32,
    right: u32,
    rank: u32,
    token: u32,
}

impl Merges {
    /// The merges of the file, by falling rank, without those that name no token or come twice.
    fn from_metadata(metadata: &Metadata, vocabulary: &Vocabulary) -> Result<Self> {
        let lines = metadata.require_strings(MERGES)?;
        let mut merges = Merges { table: HashTable::new(), hasher: RandomState::new() };
        let Merges { table, hasher } = &mut merges;
        let hash = |merge: &Merge| hasher.hash_one((merge.left, merge.right));
        if table.try_reserve(lines.len(), hash).is_err() {
            return Err(Error::out_of_memory("no memory left for the merges of the vocabulary"));
        }
        let mut merged = String::new();
        for (rank, line) in (0..).zip(lines.iter()) {
            // The left part is never empty: it may begin with a space.
            let Some(space) = line.char_indices().skip(1).find(|&(_, c)| c == ' ').map(|(at, _)| at) else {
                continue;
            };
            let (left, right) = (&line[..space], &line[space + 1..]);
            merged.clear();
            merged.extend([left, right]);
            let ids = [left, right, &merged].map(|text| vocabulary.id(text));
            let [Some(left), Some(right), Some(token)] = ids else { continue };
            let merge = Merge { left, right, rank, token };
            let same = |other: &Merge| (other.left, other.right) == (left, right);
            table.entry(hash(&merge), same, hash).or_insert(merge);
        }
        Ok(merges)
    }

    /// The rank of a merge and what it makes.
    fn find(&self, left: u32, right: u32) -> Option<(u32, u32)> {
        let hash = self.hasher.hash_one((left, right));
        let merge = self.table.find(hash, |merge| (merge.left, merge.right) == (left, right))?;
        Some((merge.rank, merge.token))
    }
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
