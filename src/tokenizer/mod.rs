//! Text to tokens and back, as the metadata of a GGUF file says.
//!
//! A kind of vocabulary is a file: [`byte_level`] (`gpt2`, `gemma4`), [`sentencepiece`] (`llama`), [`wordpiece`]
//! (`bert`). A byte-level vocabulary also names a way to cut words: a line of the table in [`pretokenizers`].
//!
//! The reference is llama.cpp: `tests/tokenizer_llama_cpp.rs` compares ids with it.
//!
//! Decoding what was encoded gives the text back, within three limits. In SentencePiece vocabularies `▁` (U+2581)
//! comes back as the space that it stands for. What a vocabulary has no bytes for is lost: SmolLM2 lacks 0xF1 and
//! 0xF2, which begin characters that Unicode has not assigned. And `bert` keeps neither case nor accents nor
//! spacing, so its text cannot come back.

mod byte_level;
mod detokenizer;
mod fragments;
mod merging;
mod pretokenizers;
mod sentencepiece;
mod specials;
mod vocabulary;
mod wordpiece;

pub use detokenizer::Detokenizer;

use crate::error::{Error, Result};
use crate::gguf::Metadata;
use byte_level::{ByteLevel, Spelling};
use fragments::{Fragment, Matcher};
use sentencepiece::SentencePiece;
use specials::{Defaults, Specials};
use vocabulary::{Kind, Vocabulary};
use wordpiece::WordPiece;

const MODEL: &str = "tokenizer.ggml.model";

/// The tokenizer of a model.
pub struct Tokenizer {
    vocabulary: Vocabulary,
    specials: Specials,
    matcher: Matcher,
    merger: Merger,
}

/// How text between special tokens becomes tokens.
enum Merger {
    ByteLevel(Box<ByteLevel>),
    SentencePiece(SentencePiece),
    WordPiece(Box<WordPiece>),
}

impl Tokenizer {
    /// Builds the tokenizer that the metadata of a model describes.
    pub fn from_metadata(metadata: &Metadata) -> Result<Self> {
        let model = metadata.require_str(MODEL)?;
        let silent = Defaults { bos: None, eos: None, unknown: None, separator: None, add_bos: false };
        let (line, defaults) = match model {
            "gpt2" => {
                let name =
                    metadata.get("tokenizer.ggml.pre").map(|_| metadata.require_str("tokenizer.ggml.pre"));
                let line = pretokenizers::find(name.transpose()?)?;
                (Some(line), Defaults { add_bos: line.add_bos, ..silent })
            }
            "gemma4" => (Some(&pretokenizers::GEMMA4), Defaults { add_bos: true, ..silent }),
            "llama" => {
                (None, Defaults { bos: Some(1), eos: Some(2), unknown: Some(0), add_bos: true, ..silent })
            }
            "bert" => (
                None,
                Defaults {
                    bos: Some(101),
                    unknown: Some(100),
                    separator: Some(102),
                    add_bos: true,
                    ..silent
                },
            ),
            other => {
                let message = format!("tokenizers of kind {other:?} are not supported");
                return Err(Error::unsupported_model(message).key(MODEL));
            }
        };

        let mut vocabulary = Vocabulary::from_metadata(metadata)?;
        let mut specials = Specials::from_metadata(metadata, &mut vocabulary, &defaults)?;
        let matcher = Matcher::new(&vocabulary, swallows_space(metadata));
        let merger = match (model, line) {
            ("gemma4", Some(line)) => {
                // Early files say otherwise, and the model breaks without it.
                specials.add_bos = true;
                let merger = ByteLevel::from_metadata(metadata, &vocabulary, line, Spelling::Characters)?;
                Merger::ByteLevel(Box::new(merger))
            }
            (_, Some(line)) => {
                let merger = ByteLevel::from_metadata(metadata, &vocabulary, line, Spelling::Bytes)?;
                Merger::ByteLevel(Box::new(merger))
            }
            ("bert", None) => Merger::WordPiece(Box::new(WordPiece::from_metadata(metadata, &specials)?)),
            (_, None) => {
                Merger::SentencePiece(SentencePiece::from_metadata(metadata, &vocabulary, &specials)?)
            }
        };
        Ok(Tokenizer { vocabulary, specials, matcher, merger })
    }

    /// The tokens of `text`.
    ///
    /// With `special`, control tokens are matched in the text; without, they are text like any other, which is
    /// what text of unknown origin needs. User-defined tokens are matched either way.
    ///
    /// `bos` says whether the sequence gets its begin (for `bert` also its end): `None` follows the model's rule,
    /// and adds none to a text that begins with the token itself; `Some(false)` adds nothing; `Some(true)` adds
    /// BOS, and EOS if the model wants it.
    pub fn encode(&self, text: &str, special: bool, bos: Option<bool>) -> Result<Vec<u32>> {
        let mut ids = self.encode_fragments(text, special, None, true)?;
        self.frame(&mut ids, bos)?;
        Ok(ids)
    }

    /// The tokens of a text that was put together from trusted and other parts: control tokens are matched, but for
    /// those with `mark` inside, which is taken out. Nothing is added.
    pub fn encode_shielded(&self, text: &str, mark: char) -> Result<Vec<u32>> {
        self.encode_fragments(text, true, Some(mark), true)
    }

    /// The tokens of a text that stands within another: nothing is added, a space in front neither.
    pub fn encode_within(&self, text: &str) -> Result<Vec<u32>> {
        self.encode_fragments(text, false, None, false)
    }

    /// `text` with `mark` inside of everything that would be matched as a control token.
    pub fn shield(&self, text: &str, mark: char) -> String {
        self.matcher.shield(&self.vocabulary, text, mark)
    }

    /// `spaced` says whether a text, at the start and behind a special token, gets a space in front where the vocabulary
    /// is such.
    fn encode_fragments(
        &self,
        text: &str,
        special: bool,
        mark: Option<char>,
        spaced: bool,
    ) -> Result<Vec<u32>> {
        let mut ids = Vec::with_capacity(text.len() / 4 + 2);
        let mut begins = spaced;
        for fragment in self.matcher.cut(&self.vocabulary, text, special) {
            match fragment {
                Fragment::Token(id) => {
                    ids.push(id);
                    begins = spaced;
                }
                Fragment::Text(text) => {
                    let bare = mark.filter(|&mark| text.contains(mark)).map(|mark| text.replace(mark, ""));
                    let text = bare.as_deref().unwrap_or(text);
                    match &self.merger {
                        Merger::ByteLevel(merger) => merger.encode(&self.vocabulary, text, &mut ids)?,
                        Merger::SentencePiece(merger) => {
                            merger.encode(&self.vocabulary, text, begins, &mut ids)?;
                        }
                        Merger::WordPiece(merger) => merger.encode(&self.vocabulary, text, &mut ids),
                    }
                    begins = false;
                }
            }
        }
        Ok(ids)
    }

    /// Adds the begin and the end of a sequence.
    fn frame(&self, ids: &mut Vec<u32>, bos: Option<bool>) -> Result<()> {
        if bos == Some(false) {
            return Ok(());
        }
        let first = match (bos, self.specials.bos) {
            (Some(true), None) => {
                return Err(Error::invalid_argument("the model has no BOS token"));
            }
            (None, Some(id)) if !self.specials.add_bos || ids.first() == Some(&id) => None,
            (_, first) => first,
        };
        let last = match self.merger {
            Merger::WordPiece(_) => self.specials.separator,
            _ => self.specials.eos.filter(|_| self.specials.add_eos),
        };
        if let Some(id) = first {
            ids.insert(0, id);
        }
        ids.extend(last);
        Ok(())
    }

    /// The text of a whole sequence. Control tokens have no text.
    pub fn decode(&self, tokens: &[u32]) -> Result<String> {
        let mut detokenizer = self.detokenizer();
        let mut text = String::new();
        for &token in tokens {
            if token as usize >= self.vocabulary.len() {
                let message =
                    format!("token {token} is not in the vocabulary of {} tokens", self.vocab_size());
                return Err(Error::invalid_argument(message));
            }
            text.push_str(&detokenizer.push(self, token));
        }
        text.push_str(&detokenizer.finish());
        Ok(text)
    }

    /// Decodes a sequence from its start, a token at a time.
    pub fn detokenizer(&self) -> Detokenizer {
        Detokenizer::new(self, None)
    }

    /// Decodes what follows `previous`, a token at a time: a space in front belongs to the text unless `previous`
    /// is a special token.
    pub fn detokenizer_after(&self, previous: Option<u32>) -> Detokenizer {
        Detokenizer::new(self, previous)
    }

    /// Number of tokens.
    pub fn vocab_size(&self) -> usize {
        self.vocabulary.len()
    }

    /// The token that begins a sequence (`[CLS]` for `bert`).
    pub fn bos(&self) -> Option<u32> {
        self.specials.bos
    }

    /// Whether a sequence begins with that token, by the model's rule.
    pub fn adds_bos(&self) -> bool {
        self.specials.add_bos
    }

    /// The token that ends a sequence.
    pub fn eos(&self) -> Option<u32> {
        self.specials.eos
    }

    /// Whether a generation ends at this token.
    pub fn is_end(&self, token: u32) -> bool {
        self.specials.is_end(token)
    }

    /// Whether the token steers and has no text.
    pub fn is_control(&self, token: u32) -> bool {
        self.vocabulary.kind(token) == Some(Kind::Control)
    }

    /// The bytes that the token adds to a text: none for control tokens. `None` for ids outside the vocabulary.
    pub fn token_bytes(&self, token: u32) -> Option<Vec<u8>> {
        let kind = self.vocabulary.kind(token)?;
        let mut bytes = Vec::new();
        if !kind.is_silent() {
            self.append_bytes(token, &mut bytes);
        }
        Some(bytes)
    }

    /// The token of this name.
    pub fn token_id(&self, name: &str) -> Option<u32> {
        self.vocabulary.id(name)
    }

    /// The name of the token in the vocabulary, such as `<|im_end|>` or `Ġthe`.
    pub fn token_text(&self, token: u32) -> Option<&str> {
        self.vocabulary.text(token)
    }

    /// Whether the token is cut out of texts.
    fn is_special(&self, token: u32) -> bool {
        self.vocabulary.kind(token).is_some_and(Kind::is_special)
    }

    /// Whether encoding puts a space in front of a text.
    fn adds_space(&self) -> bool {
        match &self.merger {
            Merger::SentencePiece(merger) => merger.add_space_prefix(),
            // The first word of a text has the mark of a word like the others.
            Merger::WordPiece(_) => true,
            Merger::ByteLevel(_) => false,
        }
    }

    /// Appends the bytes of a token, special or not.
    fn append_bytes(&self, token: u32, bytes: &mut Vec<u8>) {
        let (Some(text), Some(kind)) = (self.vocabulary.text(token), self.vocabulary.kind(token)) else {
            return;
        };
        if kind.is_special() {
            bytes.extend_from_slice(text.as_bytes());
        } else if let Some(byte) = self.vocabulary.byte(token) {
            bytes.push(byte);
        } else if matches!(&self.merger, Merger::ByteLevel(merger) if merger.spelling() == Spelling::Bytes) {
            for c in text.chars() {
                match byte_level::byte_of(c) {
                    Some(byte) => bytes.push(byte),
                    None => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
                }
            }
        } else {
            for c in text.chars() {
                let c = if c == '▁' { ' ' } else { c };
                bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
    }
}

/// Phi-3's special tokens swallow the white space behind them, but for three. Files do not say so: the name of
/// the model does.
fn swallows_space(metadata: &Metadata) -> impl Fn(&str) -> bool {
    let name = metadata.str("general.name").unwrap_or_default().to_lowercase();
    let phi3 = name.contains("phi-3") || name.contains("phi3");
    move |text| phi3 && !matches!(text, "<unk>" | "<s>" | "<|endoftext|>")
}
