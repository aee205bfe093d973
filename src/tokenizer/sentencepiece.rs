//! SentencePiece BPE (`llama`): spaces become `▁`, characters are merged by the score of what they make, and
//! characters without a token become bytes.
//!
//! Such files hold no merges, which would have to be derived: every way to cut every token in two. Looking up the
//! concatenation of two neighbours needs no list, and is what llama.cpp does.

use super::merging::{NONE, Part, merge};
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
        let part = |(at, c): (usize, char)| {
            let len = c.len_utf8();
            Part::new(at, len, vocabulary.id(&escaped[at..at + len]))
        };
        let mut parts: Vec<Part> = escaped.char_indices().map(part).collect();
        merge(&mut parts, |left, right| {
            let id = vocabulary.id(&escaped[left.start as usize..(right.start + right.len) as usize])?;
            Some((turn(self.scores[id as usize]), id))
        });
        for part in parts.iter().filter(|part| part.len > 0) {
            if part.token != NONE {
                ids.push(part.token);
            } else {
                let text = &escaped.as_bytes()[part.start as usize..(part.start + part.len) as usize];
                ids.extend(text.iter().filter_map(|byte| self.bytes[usize::from(*byte)]));
            }
        }
        Ok(())
    }
}

/// The highest score first, as `f32::total_cmp` orders them.
fn turn(score: f32) -> u32 {
    let bits = score.to_bits();
    if score.is_sign_negative() { bits } else { !(bits | 1 << 31) }
}

#[cfg(test)]
mod tests {
    use super::turn;

    #[test]
    fn higher_scores_come_first() {
        let scores = [f32::INFINITY, 1e9, 2.0, 1.0, 1e-40, 0.0, -1e-40, -1.0, -2.0, -1e9, f32::NEG_INFINITY];
        assert!(scores.windows(2).all(|pair| turn(pair[0]) < turn(pair[1])));
    }
}
