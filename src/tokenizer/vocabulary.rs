//! The tokens of a model: their texts, what kind each is, and the way from a text to its id.

use std::hash::{BuildHasher, RandomState};

use hashbrown::HashTable;

use crate::error::{Error, Result};
use crate::gguf::{Metadata, StringArray};

const TOKENS: &str = "tokenizer.ggml.tokens";
const TOKEN_TYPE: &str = "tokenizer.ggml.token_type";

/// What a token is for (`tokenizer.ggml.token_type`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text that the model learned to write (also the kinds that the format left undefined).
    Normal,
    /// Stands for text that has no token.
    Unknown,
    /// Steers the conversation; matched in a text only on request, and never written out.
    Control,
    /// Matched whole wherever it stands in a text, and written out.
    UserDefined,
    /// A place kept free in the vocabulary.
    Unused,
    /// One byte, written `<0xNN>`.
    Byte,
}

impl Kind {
    fn from_id(id: u32) -> Self {
        match id {
            2 => Kind::Unknown,
            3 => Kind::Control,
            4 => Kind::UserDefined,
            5 => Kind::Unused,
            6 => Kind::Byte,
            _ => Kind::Normal,
        }
    }

    /// Whether the token is cut out of a text before the rest is tokenized.
    pub fn is_special(self) -> bool {
        matches!(self, Kind::Unknown | Kind::Control | Kind::UserDefined)
    }

    /// Whether the token adds nothing to a decoded text.
    pub fn is_silent(self) -> bool {
        matches!(self, Kind::Unknown | Kind::Control)
    }
}

/// Texts and kinds by id, and ids by text.
///
/// The texts stay in the one arena that they have in the metadata, and the index holds ids only: 262,144 tokens
/// take 7 MB, where a map with a `String` per token takes four times as much.
pub struct Vocabulary {
    texts: StringArray,
    kinds: Vec<Kind>,
    index: HashTable<u32>,
    hasher: RandomState,
    longest: usize,
}

impl Vocabulary {
    pub fn from_metadata(metadata: &Metadata) -> Result<Self> {
        let texts = metadata.require_strings(TOKENS)?.clone();
        if texts.is_empty() {
            return Err(Error::invalid_model("the vocabulary has no tokens").key(TOKENS));
        }
        let count = texts.len();
        if u32::try_from(count).is_err() {
            return Err(Error::invalid_model("the vocabulary has more tokens than ids").key(TOKENS));
        }
        let kinds = match metadata.get(TOKEN_TYPE) {
            None => vec![Kind::Normal; count],
            Some(_) => {
                let ids = metadata.u32s(TOKEN_TYPE).ok_or_else(|| {
                    Error::invalid_model("the token types must be an array of small integers").key(TOKEN_TYPE)
                })?;
                if ids.len() < count {
                    let message = format!("{} token types for {count} tokens", ids.len());
                    return Err(Error::invalid_model(message).key(TOKEN_TYPE));
                }
                ids[..count].iter().map(|&id| Kind::from_id(id)).collect()
            }
        };

        let mut vocabulary =
            Vocabulary { texts, kinds, index: HashTable::new(), hasher: RandomState::new(), longest: 0 };
        vocabulary.build_index()?;
        Ok(vocabulary)
    }

    fn build_index(&mut self) -> Result<()> {
        let Vocabulary { texts, index, hasher, .. } = self;
        let text = |id: u32| texts.get(id as usize).unwrap_or_default();
        let hash = |id: &u32| hasher.hash_one(text(*id));
        if index.try_reserve(texts.len(), hash).is_err() {
            return Err(Error::out_of_memory("no memory left for the index of the vocabulary"));
        }
        for (id, token) in (0u32..).zip(texts.iter()) {
            // An empty text would match everywhere; of two equal texts the first keeps its id.
            if !token.is_empty() {
                self.longest = self.longest.max(token.len());
                index.entry(hasher.hash_one(token), |&other| text(other) == token, hash).or_insert(id);
            }
        }
        Ok(())
    }

    /// Number of tokens.
    pub fn len(&self) -> usize {
        self.kinds.len()
    }

    /// The length of the longest token, in bytes.
    pub fn longest(&self) -> usize {
        self.longest
    }

    /// The id of the token that reads exactly so.
    pub fn id(&self, text: &str) -> Option<u32> {
        // No hash for what cannot be there: the merging loops ask for long candidates again and again.
        if text.len() > self.longest {
            return None;
        }
        let hash = self.hasher.hash_one(text);
        self.index.find(hash, |&id| self.texts.get(id as usize) == Some(text)).copied()
    }

    /// The text of a token, as the file has it.
    pub fn text(&self, id: u32) -> Option<&str> {
        self.texts.get(id as usize)
    }

    pub fn kind(&self, id: u32) -> Option<Kind> {
        self.kinds.get(id as usize).copied()
    }

    /// Corrects the kind of a token.
    pub fn set_kind(&mut self, id: u32, kind: Kind) {
        if let Some(slot) = self.kinds.get_mut(id as usize) {
            *slot = kind;
        }
    }

    /// Every token as (id, text, kind).
    pub fn iter(&self) -> impl Iterator<Item = (u32, &str, Kind)> {
        (0u32..).zip(self.texts.iter()).zip(&self.kinds).map(|((id, text), &kind)| (id, text, kind))
    }

    /// The byte that a byte token stands for.
    pub fn byte(&self, id: u32) -> Option<u8> {
        if self.kind(id)? != Kind::Byte {
            return None;
        }
        let digits = self.text(id)?.strip_prefix("<0x")?.strip_suffix('>')?;
        if digits.len() == 2 { u8::from_str_radix(digits, 16).ok() } else { None }
    }
}

/// The text of the token that stands for a byte in vocabularies with byte fallback.
pub fn byte_token(byte: u8) -> String {
    format!("<0x{byte:02X}>")
}
