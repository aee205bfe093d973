//! How the byte-level vocabularies cut a text into words before merging: a table from the name in
//! `tokenizer.ggml.pre` to regular expressions.
//!
//! A new pre-tokenizer is a line of [`LINES`]. The expressions are those that the models were trained with, but
//! for their end: `\s+(?!\S)|\s+` is written `\s+`, and [`PreTokenizer`] does the look-ahead. So there is
//! nothing to backtrack, and the time is linear in the text whatever it holds.

use std::ops::Range;
use std::sync::OnceLock;

use regex::Regex;

use crate::error::{Error, Result};

/// One line of the table.
pub struct Line {
    names: &'static [&'static str],
    /// Applied one after the other, each to the pieces that the one before left.
    passes: &'static [&'static str],
    /// A word that is a token is taken whole, whatever the merges say.
    pub ignore_merges: bool,
    /// Whether a text begins with BOS unless the metadata says otherwise.
    pub add_bos: bool,
}

const DIGIT: &str = r"\p{N}";
const GPT2: &str = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+";
const LLAMA3: &str = concat!(
    r"'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]",
    r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+"
);
const QWEN2: &str = concat!(
    r"'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]",
    r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+"
);
const QWEN35: &str = concat!(
    r"'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD]",
    r"|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+"
);
// For the next two llama.cpp approximates: its regular expressions know no letter case outside ASCII and no
// marks. The models were trained with these.
const TEKKEN: &str = concat!(
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+",
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*",
    r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+"
);
const GPT4O: &str = concat!(
    r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+"
);
/// Files from before `tokenizer.ggml.pre`.
const OLD_PUNCTUATION: &str = r"[\p{P}$+<=>^~|]+";
const NEWLINES: &str = r"[^\n]+|\n+";

/// Gemma 4's cut: its vocabulary has spaces inside tokens, so only newlines divide. Not a name in a file.
pub const GEMMA4: Line = line(&[], &[NEWLINES], false, true);

const LINES: &[Line] = &[
    line(&["default"], &[OLD_PUNCTUATION, GPT2, r"\p{N}+", "[0-9][0-9][0-9]"], false, false),
    line(&["gpt-2", "phi-2", "mpt", "olmo", "jais", "trillion", "granite-docling"], &[GPT2], false, false),
    line(
        &["smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b", "mellum2"],
        &[DIGIT, GPT2],
        false,
        false,
    ),
    line(
        &["llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"],
        &[LLAMA3],
        true,
        true,
    ),
    line(&["smaug-bpe", "dbrx"], &[LLAMA3], false, false),
    line(&["qwen2", "deepseek-r1-qwen", "stablelm2", "hunyuan"], &[QWEN2], false, false),
    line(&["qwen35"], &[QWEN35], false, false),
    line(&["tekken"], &[TEKKEN], true, true),
    line(&["gpt-4o", "llama4", "kanana2"], &[GPT4O], false, false),
];

const fn line(
    names: &'static [&'static str],
    passes: &'static [&'static str],
    ignore_merges: bool,
    add_bos: bool,
) -> Line {
    Line { names, passes, ignore_merges, add_bos }
}

/// The line of a name; a file without a name has the `default` one.
pub fn find(name: Option<&str>) -> Result<&'static Line> {
    let name = name.filter(|name| !name.is_empty()).unwrap_or("default");
    LINES.iter().find(|line| line.names.contains(&name)).ok_or_else(|| {
        let message = format!("the pre-tokenizer {name:?} is not known");
        Error::unsupported_model(message).key("tokenizer.ggml.pre")
    })
}

/// What the classes of the expressions are in ASCII; a class may stand inside of another.
const ASCII: &[(&str, &str)] = &[
    (r"\p{L}", "[A-Za-z]"),
    (r"\p{Lu}", "[A-Z]"),
    (r"\p{Ll}", "[a-z]"),
    (r"\p{Lt}", NOTHING),
    (r"\p{Lm}", NOTHING),
    (r"\p{Lo}", NOTHING),
    (r"\p{M}", NOTHING),
    (r"\p{N}", "[0-9]"),
    (r"\p{P}", r##"[!"#%&'()*,\-./:;?@\[\\\]_{}]"##),
    (r"\s", r"[\t-\r ]"),
];
const NOTHING: &str = "[a&&b]";

/// The compiled expressions of a line.
pub struct PreTokenizer {
    passes: Vec<Pass>,
}

struct Pass {
    pattern: &'static str,
    /// For texts in ASCII. The classes of Unicode make large automata, which would be a quarter of the time that
    /// SmolLM2 takes to load (42 ms in a tab): they are built for the first text that needs them.
    ascii: Regex,
    unicode: OnceLock<Regex>,
    /// Ends with `\s+`, of which all but the last character is taken when more text follows.
    ends_with_spaces: bool,
    /// Runs of white space that end in a newline are another alternative: taken as they are.
    keeps_newlines: bool,
}

impl PreTokenizer {
    pub fn new(line: &Line) -> Result<Self> {
        let passes = line.passes.iter().map(|pattern| {
            let ascii =
                ASCII.iter().fold((*pattern).to_owned(), |ascii, (name, class)| ascii.replace(name, class));
            Ok(Pass {
                pattern,
                ascii: compiled(&ascii)?,
                unicode: OnceLock::new(),
                ends_with_spaces: pattern.ends_with(r"|\s+"),
                keeps_newlines: pattern.contains(r"|\s*[\r\n]+|"),
            })
        });
        Ok(PreTokenizer { passes: passes.collect::<Result<_>>()? })
    }

    /// The words of a text, which together are the text.
    pub fn words(&self, text: &str) -> Result<Vec<Range<usize>>> {
        let is_ascii = text.is_ascii();
        let mut words: Vec<Range<usize>> = std::iter::once(0..text.len()).collect();
        for pass in &self.passes {
            let regex = if is_ascii { &pass.ascii } else { pass.unicode()? };
            let mut finer = Vec::with_capacity(words.len());
            for word in words {
                pass.cut(regex, &text[word.clone()], word.start, &mut finer);
            }
            words = finer;
        }
        Ok(words)
    }
}

fn compiled(pattern: &str) -> Result<Regex> {
    Regex::new(pattern).map_err(|error| Error::internal(error.to_string()))
}

impl Pass {
    fn unicode(&self) -> Result<&Regex> {
        if let Some(regex) = self.unicode.get() {
            return Ok(regex);
        }
        let regex = compiled(self.pattern)?;
        Ok(self.unicode.get_or_init(|| regex))
    }

    /// Appends the matches in `text`, and what is between them, as ranges moved by `offset`.
    fn cut(&self, regex: &Regex, text: &str, offset: usize, words: &mut Vec<Range<usize>>) {
        let mut start = 0;
        while start < text.len() {
            let Some(found) = regex.find_at(text, start).filter(|found| !found.is_empty()) else {
                words.push(offset + start..offset + text.len());
                return;
            };
            if found.start() > start {
                words.push(offset + start..offset + found.start());
            }
            let end = self.end(text, found.range());
            words.push(offset + found.start()..offset + end);
            start = end;
        }
    }

    /// Where a match ends once `\s+(?!\S)` has had its say: white space before a word leaves its last character
    /// to the word.
    fn end(&self, text: &str, found: Range<usize>) -> usize {
        let matched = &text[found.clone()];
        let Some(last) = matched.chars().next_back() else { return found.end };
        let is_spaces = self.ends_with_spaces
            && last.is_whitespace()
            && !(self.keeps_newlines && matches!(last, '\r' | '\n'));
        if is_spaces && found.end < text.len() && matched.len() > last.len_utf8() {
            found.end - last.len_utf8()
        } else {
            found.end
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words<'t>(name: &str, text: &'t str) -> Vec<&'t str> {
        let cut = PreTokenizer::new(find(Some(name)).unwrap()).unwrap();
        cut.words(text).unwrap().into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn every_line_compiles_and_loses_nothing() {
        let text = "It's  3,141 ÉCOLE école\t\n\n x\u{a0}\u{3000}कि 12345\r\n😀/";
        for line in LINES.iter().chain([&GEMMA4]) {
            let cut = PreTokenizer::new(line).unwrap();
            let words = cut.words(text).unwrap();
            assert_eq!(words.iter().map(|range| &text[range.clone()]).collect::<String>(), text);
            assert!(words.iter().all(|range| !range.is_empty()), "{:?}", line.names);
        }
    }

    #[test]
    fn classes_are_the_same_in_ascii() {
        for (name, class) in ASCII {
            let [unicode, ascii] = [name, class].map(|class| compiled(class).unwrap());
            for byte in 0..=127 {
                let text = char::from(byte).to_string();
                assert_eq!(unicode.is_match(&text), ascii.is_match(&text), "{name} of {text:?}");
            }
        }
        // And there are no others.
        for pattern in LINES.iter().chain([&GEMMA4]).flat_map(|line| line.passes) {
            let rest = ASCII.iter().fold((*pattern).to_owned(), |rest, (name, _)| rest.replace(name, ""));
            assert!(!rest.contains(r"\p") && !rest.contains(r"\s"), "{rest}");
        }
    }

    #[test]
    fn white_space_leaves_its_last_character_to_the_word() {
        assert_eq!(words("gpt-2", "a   b"), ["a", "  ", " b"]);
        assert_eq!(words("gpt-2", "a  \n"), ["a", "  \n"]);
        assert_eq!(words("gpt-2", "a\n\nb"), ["a", "\n", "\n", "b"]);
        assert_eq!(words("llama-bpe", "a \n\n  b"), ["a", " \n\n", " ", " b"]);
        assert_eq!(words("llama-bpe", "a\t\tb"), ["a", "\t", "\tb"]);
        assert_eq!(words("qwen2", " \u{3000}x"), [" ", "\u{3000}x"]);
    }

    #[test]
    fn digits() {
        assert_eq!(words("smollm", "in 2024"), ["in", " ", "2", "0", "2", "4"]);
        assert_eq!(words("llama-bpe", "12345"), ["123", "45"]);
        assert_eq!(words("qwen2", "12345"), ["1", "2", "3", "4", "5"]);
        assert_eq!(words("default", "12345"), ["123", "45"]);
    }

    #[test]
    fn letters_by_case() {
        assert_eq!(words("tekken", "camelCASEÉcole"), ["camel", "CASEÉcole"]);
        assert_eq!(words("gpt-4o", "it'S"), ["it'S"]);
        assert_eq!(words("tekken", "it's"), ["it", "'s"]);
        assert_eq!(words("llama-bpe", "it'S"), ["it", "'S"]);
    }

    #[test]
    fn unknown_names_are_refused() {
        let error = find(Some("bogus")).map(|_| ()).unwrap_err();
        assert_eq!(error.code, crate::error::Code::UnsupportedModel);
        assert_eq!(error.key.as_deref(), Some("tokenizer.ggml.pre"));
    }
}
