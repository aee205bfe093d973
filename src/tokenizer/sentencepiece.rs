//! SentencePiece BPE (`llama`): spaces become `▁`, characters are merged by the score of what they make, and
//! characters without a token become bytes.
//!
//! Such files hold no merges. The `tokenizers` crate wants them as a list, which would have to be derived: every
//! way to cut every token in two. Looking up the concatenation of two neighbours needs no list, is what llama.cpp
//! does, and so agrees with it also where scores are equal. Measured natively: 8 MB and 0.02 s of CPU for the
//! 262,144 tokens of Gemma 3, where the crate's BPE with the 514,906 merges of Gemma 4, of the same size, holds
//! 64 MB (98 MB while it is built, in 1.3 s).

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::specials::{Specials, boolean};
use super::vocabulary::{Vocabulary, byte_token};
use crate::error::{Error, Result};
use crate::gguf::Metadata;

const SCORES: &str = "tokenizer.ggml.scores";

pub struct SentencePiece {
    scores: Vec<f32>,
    /// The token of each byte.
    bytes: Vec<Option<u32>>,
    /// Whether a text is given a space in front, also after a special token.
    add_space_prefix: bool,
}

impl SentencePiece {
    pub fn from_metadata(metadata: &Metadata, vocabulary: &Vocabulary, specials: &Specials) -> Result<Self> {
        let mut scores = match metadata.get(SCORES) {
            None => vec![0.0; vocabulary.len()],
            Some(_) => metadata
                .f32s(SCORES)
                .ok_or_else(|| Error::invalid_model("the scores must be an array of numbers").key(SCORES))?
                .into_owned(),
        };
        if scores.len() < vocabulary.len() {
            let message = format!("{} scores for {} tokens", scores.len(), vocabulary.len());
            return Err(Error::invalid_model(message).key(SCORES));
        }
        for score in &mut scores {
            if score.is_nan() {
                return Err(Error::invalid_model("a score is not a number").key(SCORES));
            }
            // Adding turns -0 into 0, which `total_cmp` would tell apart.
            *score += 0.0;
        }
        // A byte without a `<0xNN>` token may have one that is the character.
        let bytes = (0..=255u8).map(|byte| {
            let raw =
                if byte.is_ascii() { vocabulary.id(char::from(byte).encode_utf8(&mut [0; 4])) } else { None };
            vocabulary.id(&byte_token(byte)).or(raw).or(specials.unknown)
        });
        Ok(SentencePiece {
            scores,
            bytes: bytes.collect(),
            add_space_prefix: boolean(metadata, "tokenizer.ggml.add_space_prefix")?.unwrap_or(true),
        })
    }

    pub fn add_space_prefix(&self) -> bool {
        self.add_space_prefix
    }

    /// Appends the ids of `text`, which stands at the start or behind a special token if `begins`.
    pub fn encode(
        &self,
        vocabulary: &Vocabulary,
        text: &str,
        begins: bool,
        ids: &mut Vec<u32>,
    ) -> Result<()> {
        let mut escaped = String::with_capacity(text.len() + text.len() / 4 + 3);
        if begins && self.add_space_prefix {
            escaped.push('▁');
        }
        escaped.extend(text.chars().map(|c| if c == ' ' { '▁' } else { c }));
        if u32::try_from(escaped.len()).is_err() {
            return Err(Error::invalid_argument("the text is longer than 4 GB"));
        }
        let mut merging = Merging {
            scores: &self.scores,
            vocabulary,
            text: &escaped,
            parts: Vec::new(),
            queue: BinaryHeap::new(),
        };
        merging.run();
        for part in merging.parts.iter().filter(|part| part.len > 0) {
            let text = part.text(&escaped);
            match vocabulary.id(text) {
                Some(id) => ids.push(id),
                None => ids.extend(text.bytes().filter_map(|byte| self.bytes[usize::from(byte)])),
            }
        }
        Ok(())
    }
}

const NONE: u32 = u32::MAX;

/// A stretch of the text; merged away when `len` is 0.
struct Part {
    start: u32,
    len: u32,
    before: u32,
    after: u32,
}

impl Part {
    fn text<'t>(&self, text: &'t str) -> &'t str {
        &text[self.start as usize..(self.start + self.len) as usize]
    }
}

/// Two neighbours that together are a token.
#[derive(PartialEq)]
struct Pair {
    score: f32,
    left: u32,
    right: u32,
    len: u32,
}

impl Eq for Pair {}

impl Ord for Pair {
    /// The highest score first, of equal ones the leftmost.
    fn cmp(&self, other: &Self) -> Ordering {
        self.score.total_cmp(&other.score).then(other.left.cmp(&self.left))
    }
}

impl PartialOrd for Pair {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

struct Merging<'a> {
    scores: &'a [f32],
    vocabulary: &'a Vocabulary,
    text: &'a str,
    parts: Vec<Part>,
    queue: BinaryHeap<Pair>,
}

impl Merging<'_> {
    fn run(&mut self) {
        for (at, c) in self.text.char_indices() {
            let index = self.parts.len() as u32;
            self.parts.push(Part {
                start: at as u32,
                len: c.len_utf8() as u32,
                before: index.wrapping_sub(1),
                after: index + 1,
            });
        }
        if let Some(last) = self.parts.last_mut() {
            last.after = NONE;
        }
        for right in 1..self.parts.len() as u32 {
            self.consider(right - 1, right);
        }
        while let Some(pair) = self.queue.pop() {
            let [left, right] = [pair.left, pair.right].map(|index| &self.parts[index as usize]);
            // Either may have been merged with another neighbour since.
            if left.len == 0 || right.len == 0 || left.len + right.len != pair.len {
                continue;
            }
            let (before, after) = (left.before, right.after);
            self.parts[pair.right as usize].len = 0;
            let merged = &mut self.parts[pair.left as usize];
            merged.len = pair.len;
            merged.after = after;
            if after != NONE {
                self.parts[after as usize].before = pair.left;
                self.consider(pair.left, after);
            }
            if before != NONE {
                self.consider(before, pair.left);
            }
        }
    }

    fn consider(&mut self, left: u32, right: u32) {
        let [start, end] = [left, right].map(|index| &self.parts[index as usize]);
        let len = start.len + end.len;
        let together = &self.text[start.start as usize..(start.start + len) as usize];
        if let Some(id) = self.vocabulary.id(together) {
            self.queue.push(Pair { score: self.scores[id as usize], left, right, len });
        }
    }
}
