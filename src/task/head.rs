//! Heads of encoders: a score for each label of a text (a classifier), or one for a pair of texts (a reranker).
//!
//! The scores are the plan's own output, read at the first token as an embedding that is pooled there.

use crate::error::{Error, Result};
use crate::gguf::Metadata;
use crate::tokenizer::Tokenizer;

/// The names of a head's `count` labels. A file without names has those that `transformers` gives.
pub fn labels(metadata: &Metadata, count: usize) -> Result<Vec<String>> {
    let key = format!("{}.classifier.output_labels", metadata.require_str("general.architecture")?);
    let Some(names) = metadata.strings(&key) else {
        return Ok((0..count).map(|label| format!("LABEL_{label}")).collect());
    };
    if names.len() != count {
        let message = format!("there are {} names for {count} labels", names.len());
        return Err(Error::invalid_model(message).key(key));
    }
    Ok(names.iter().map(str::to_owned).collect())
}

/// The tokens of a pair of texts, as an encoder of pairs was trained on them: `[CLS] query [SEP] document [SEP]`.
pub fn pair(tokenizer: &Tokenizer, query: &str, document: &str) -> Result<Vec<u32>> {
    let mut tokens = tokenizer.encode(query, false, None)?;
    let mut second = tokenizer.encode(document, false, None)?;
    // What begins a sequence is there already.
    if tokenizer.bos().is_some_and(|bos| second.first() == Some(&bos)) {
        second.remove(0);
    }
    tokens.append(&mut second);
    Ok(tokens)
}
