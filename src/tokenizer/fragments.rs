//! Cuts special tokens out of a text; what is left between them is tokenized as text.

use super::vocabulary::{Kind, Vocabulary};

/// A piece of a text: a special token, or the text between two of them.
#[derive(Debug, PartialEq, Eq)]
pub enum Fragment<'t> {
    Token(u32),
    Text(&'t str),
}

/// The special tokens of a vocabulary, in the order in which they are looked for.
pub struct Matcher {
    /// Longest first, over the whole text: where two overlap the longer wins, not the one that begins earlier.
    /// (llama.cpp's rule; Hugging Face's automaton takes the leftmost.)
    by_length: Vec<u32>,
    /// Tokens that swallow the white space after them. Sorted.
    swallowing: Vec<u32>,
}

impl Matcher {
    /// `swallows` names the tokens that swallow the white space after them.
    pub fn new(vocabulary: &Vocabulary, swallows: impl Fn(&str) -> bool) -> Self {
        let mut by_length: Vec<(usize, u32)> = Vec::new();
        let mut swallowing = Vec::new();
        for (id, text, kind) in vocabulary.iter() {
            if kind.is_special() && !text.is_empty() {
                by_length.push((text.len(), id));
                if swallows(text) {
                    swallowing.push(id);
                }
            }
        }
        by_length.sort_by_key(|&(length, id)| (std::cmp::Reverse(length), id));
        Matcher { by_length: by_length.into_iter().map(|(_, id)| id).collect(), swallowing }
    }

    /// Cuts `text`. User-defined tokens are always matched, control and unknown ones only if `controls`.
    pub fn cut<'t>(&self, vocabulary: &Vocabulary, text: &'t str, controls: bool) -> Vec<Fragment<'t>> {
        if text.is_empty() {
            return Vec::new();
        }
        let mut fragments = vec![Fragment::Text(text)];
        let pairs = Pairs::of(text);
        for &id in &self.by_length {
            let (Some(kind), Some(token)) = (vocabulary.kind(id), vocabulary.text(id)) else { continue };
            if (controls || kind == Kind::UserDefined) && pairs.may_contain(token) && text.contains(token) {
                let swallows = self.swallowing.binary_search(&id).is_ok();
                fragments = cut_out(fragments, id, token, swallows);
            }
        }
        fragments
    }

    /// `text` with `mark` behind the first character of each control token in it. A token of one character has no
    /// inside, and stays.
    pub fn shield(&self, vocabulary: &Vocabulary, text: &str, mark: char) -> String {
        let mut shielded = text.to_owned();
        let pairs = Pairs::of(text);
        for &id in &self.by_length {
            let (Some(kind), Some(token)) = (vocabulary.kind(id), vocabulary.text(id)) else { continue };
            if kind == Kind::UserDefined || !pairs.may_contain(token) || !text.contains(token) {
                continue;
            }
            let mut rest = token.chars();
            let (Some(first), rest) = (rest.next(), rest.as_str()) else { continue };
            // Again, where occurrences overlap.
            while !rest.is_empty() && shielded.contains(token) {
                shielded = shielded.replace(token, &format!("{first}{mark}{rest}"));
            }
        }
        shielded
    }
}

fn cut_out<'t>(fragments: Vec<Fragment<'t>>, id: u32, token: &str, swallows: bool) -> Vec<Fragment<'t>> {
    let mut cut = Vec::with_capacity(fragments.len() + 2);
    for fragment in fragments {
        let Fragment::Text(mut rest) = fragment else {
            cut.push(fragment);
            continue;
        };
        while let Some((before, after)) = rest.split_once(token) {
            if !before.is_empty() {
                cut.push(Fragment::Text(before));
            }
            cut.push(Fragment::Token(id));
            rest = if swallows { after.trim_start_matches(is_c_space) } else { after };
        }
        if !rest.is_empty() {
            cut.push(Fragment::Text(rest));
        }
    }
    cut
}

/// C's `isspace`.
fn is_c_space(c: char) -> bool {
    matches!(c, ' ' | '\t'..='\r')
}

/// Which pairs of neighbouring bytes a text has.
///
/// A vocabulary may have thousands of special tokens (Gemma 3: 6,414), nearly none of which stands in a given
/// text: this settles most of them in a few nanoseconds each, where a search costs the length of the text.
struct Pairs {
    seen: Box<[u64; 1024]>,
}

impl Pairs {
    fn of(text: &str) -> Self {
        let mut seen = Box::new([0u64; 1024]);
        for pair in text.as_bytes().windows(2) {
            let (word, bit) = Self::place(pair);
            seen[word] |= bit;
        }
        Pairs { seen }
    }

    fn place(pair: &[u8]) -> (usize, u64) {
        let pair = usize::from(pair[0]) << 8 | usize::from(pair[1]);
        (pair / 64, 1 << (pair % 64))
    }

    fn may_contain(&self, token: &str) -> bool {
        token.as_bytes().windows(2).all(|pair| {
            let (word, bit) = Self::place(pair);
            self.seen[word] & bit != 0
        })
    }
}
