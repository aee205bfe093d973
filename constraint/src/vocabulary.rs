//! The tokens of a model, as llguidance wants them: a trie of their bytes.

use crate::error::{Code, Error, Result};
use crate::format::Format;
use crate::matcher::Matcher;
use llguidance::ParserFactory;
use llguidance::earley::SlicedBiasComputer;
use std::sync::Arc;
use toktrie::{InferenceCapabilities, TokEnv, TokRxInfo, TokTrie, TokenId, TokenizerEnv};

/// How the model's own tokenizer splits a text that stands within another.
pub trait Tokenize: Send + Sync {
    fn tokens(&self, text: &str) -> Vec<TokenId>;
}

/// The most states of a lexer. A state takes a kilobyte or two.
const MOST_LEXER_STATES: usize = 50_000;

/// The tokens of a model. Making one takes tens of milliseconds for 50,000 tokens, so a model has one for all formats.
pub struct Vocabulary {
    factory: ParserFactory,
}

struct Environment {
    trie: TokTrie,
    tokenizer: Box<dyn Tokenize>,
}

impl TokenizerEnv for Environment {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<TokenId> {
        self.trie.tokenize_with_greedy_fallback(bytes, |text| {
            let tokens = self.tokenizer.tokens(text);
            // A vocabulary may lack a text, and spell it otherwise or as nothing: its own bytes are what is prescribed.
            let spelled = tokens.iter().flat_map(|token| self.trie.token(*token));
            if spelled.eq(text.as_bytes()) { tokens } else { self.trie.greedy_tokenize(text.as_bytes()) }
        })
    }
}

impl Vocabulary {
    /// `words[id]` are the bytes that a token adds to a text, empty if it adds none; `ends` are the tokens that end an
    /// answer.
    pub fn new(words: &[Vec<u8>], ends: &[TokenId], tokenizer: Box<dyn Tokenize>) -> Result<Self> {
        let Some(first) = ends.first() else {
            return Err(Error::invalid(
                "the model has no token that ends an answer, so no form can be asked for",
            ));
        };
        let ends_exist = ends.iter().all(|end| (*end as usize) < words.len());
        // The trie keeps ids in 24 bits, and lengths in 10.
        let fits = words.len() < 1 << 22 && words.iter().all(|word| word.len() < 1 << 10);
        if !ends_exist || !fits {
            return Err(Error::invalid("the model's vocabulary is too large for answers of a given form"));
        }
        let trie = TokTrie::from(&TokRxInfo::new(words.len() as u32, *first), words).with_eos_tokens(ends);
        let environment: TokEnv = Arc::new(Environment { trie, tokenizer });
        let abilities = InferenceCapabilities { ff_tokens: true, ..InferenceCapabilities::default() };
        let slices = SlicedBiasComputer::general_slices();
        let mut factory = ParserFactory::new(&environment, abilities, &slices)
            .map_err(|error| Error::new(Code::Internal, format!("the vocabulary: {error}")))?;
        factory.quiet();
        factory.limits_mut().verbose_errors = false;
        factory.limits_mut().max_lexer_states = MOST_LEXER_STATES;
        Ok(Vocabulary { factory })
    }

    /// Gets ready to follow an answer of this form. Refuses a form that cannot be had, before the first token.
    pub fn compile(&self, format: Format) -> Result<Matcher> {
        let parser = self.factory.create_parser(format.grammar()?).map_err(|error| {
            let message = format!("{error:#}");
            let code = match message.contains("Unsatisfiable") {
                true => Code::ConstraintUnsatisfiable,
                false => Code::InvalidArgument,
            };
            Error::new(code, format!("format: {message}"))
        })?;
        Matcher::new(parser)
    }
}
