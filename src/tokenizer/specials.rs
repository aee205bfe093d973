//! Tokens with a role: begin and end of a sequence, the unknown, the ends of generation.

use super::vocabulary::{Kind, Vocabulary};
use crate::error::{Error, Result};
use crate::gguf::Metadata;

/// Tokens that end a generation, by their text: files name one end token at most, instruction-tuned models have
/// several. (llama.cpp keeps the same list.)
const ENDS: &[&str] = &[
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    "<｜end▁of▁sentence｜>",
    "[e~[",
];

/// Fill-in-the-middle tokens: the key of the id, the texts by which it is found when the key is absent, and
/// whether the token ends a generation. The last three separate files: a model that writes one has finished.
const FILL_IN: &[(&str, &[&str], bool)] = &[
    (
        "tokenizer.ggml.fim_pre_token_id",
        &[
            "<|fim_prefix|>",
            "<fim-prefix>",
            "<fim_prefix>",
            "<PRE>",
            "▁<PRE>",
            "<|code_prefix|>",
            "<|prefix|>",
        ],
        false,
    ),
    (
        "tokenizer.ggml.fim_suf_token_id",
        &[
            "<|fim_suffix|>",
            "<fim-suffix>",
            "<fim_suffix>",
            "<SUF>",
            "▁<SUF>",
            "<|code_suffix|>",
            "<|suffix|>",
        ],
        false,
    ),
    (
        "tokenizer.ggml.fim_mid_token_id",
        &[
            "<|fim_middle|>",
            "<fim-middle>",
            "<fim_middle>",
            "<MID>",
            "▁<MID>",
            "<|code_middle|>",
            "<|middle|>",
        ],
        false,
    ),
    ("tokenizer.ggml.fim_pad_token_id", &["<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"], true),
    (
        "tokenizer.ggml.fim_rep_token_id",
        &["<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"],
        true,
    ),
    ("tokenizer.ggml.fim_sep_token_id", &["<|file_sep|>"], true),
];

/// What a family of tokenizers takes for granted when the metadata is silent.
pub struct Defaults {
    pub bos: Option<u32>,
    pub eos: Option<u32>,
    pub unknown: Option<u32>,
    pub separator: Option<u32>,
    pub add_bos: bool,
}

/// The tokens with a role, and the rules for adding them.
#[derive(Debug)]
pub struct Specials {
    pub bos: Option<u32>,
    pub eos: Option<u32>,
    pub unknown: Option<u32>,
    pub separator: Option<u32>,
    pub add_bos: bool,
    pub add_eos: bool,
    /// Sorted.
    ends: Vec<u32>,
}

impl Specials {
    /// Reads the roles, and marks as control tokens those that are known by their text to be.
    pub fn from_metadata(
        metadata: &Metadata,
        vocabulary: &mut Vocabulary,
        defaults: &Defaults,
    ) -> Result<Self> {
        let id = |key: &str, default: Option<u32>| -> Result<Option<u32>> {
            let fits = |id: &u32| (*id as usize) < vocabulary.len();
            Ok(integer(metadata, key)?.filter(fits).or(default.filter(fits)))
        };
        let bos = id("tokenizer.ggml.bos_token_id", defaults.bos)?;
        let bos = id("tokenizer.ggml.cls_token_id", None)?.filter(|_| defaults.separator.is_some()).or(bos);
        let eos = id("tokenizer.ggml.eos_token_id", defaults.eos)?;
        let unknown = id("tokenizer.ggml.unknown_token_id", defaults.unknown)?;
        let separator = id("tokenizer.ggml.seperator_token_id", defaults.separator)?;
        let mut ends: Vec<u32> =
            [eos, id("tokenizer.ggml.eot_token_id", None)?, id("tokenizer.ggml.eom_token_id", None)?]
                .into_iter()
                .flatten()
                .collect();

        let mut controls = Vec::new();
        for (key, texts, is_end) in FILL_IN {
            let given = id(key, None)?;
            let found = given.or_else(|| {
                let found = texts.iter().filter_map(|text| vocabulary.id(text)).min();
                controls.extend(found);
                found
            });
            if *is_end {
                ends.extend(found);
            }
        }
        for text in ENDS {
            let found = vocabulary.id(text);
            ends.extend(found);
            controls.extend(found);
        }
        for id in controls {
            vocabulary.set_kind(id, Kind::Control);
        }
        correct_families(vocabulary, &mut ends);
        ends.sort_unstable();
        ends.dedup();

        Ok(Specials {
            bos,
            eos,
            unknown,
            separator,
            add_bos: boolean(metadata, "tokenizer.ggml.add_bos_token")?.unwrap_or(defaults.add_bos),
            add_eos: boolean(metadata, "tokenizer.ggml.add_eos_token")?.unwrap_or(false),
            ends,
        })
    }

    /// Whether a generation ends at this token.
    pub fn is_end(&self, id: u32) -> bool {
        self.ends.binary_search(&id).is_ok()
    }
}

/// Texts that mean something else in a few families, known by other tokens that only they have.
fn correct_families(vocabulary: &mut Vocabulary, ends: &mut Vec<u32>) {
    let has = |texts: &[&str]| texts.iter().all(|text| vocabulary.id(text).is_some());
    // Harmony closes each of several messages with `<|end|>`, Solar likewise.
    let harmony = has(&["<|return|>", "<|call|>"]) || has(&["<|calls|>", "<|flush|>"]);
    // Gemma 4 has `</s>` among its HTML tags.
    let gemma4 = has(&["<|tool_response>"]);
    for (applies, text, kind) in [(harmony, "<|end|>", Kind::UserDefined), (gemma4, "</s>", Kind::Normal)] {
        if applies && let Some(id) = vocabulary.id(text) {
            ends.retain(|&end| end != id);
            vocabulary.set_kind(id, kind);
        }
    }
    // Harmony's channels must be seen by whoever parses the answer.
    for text in ["<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"] {
        if let Some(id) = vocabulary.id(text) {
            vocabulary.set_kind(id, Kind::UserDefined);
        }
    }
}

/// An integer that may be absent, but must be an integer.
pub fn integer(metadata: &Metadata, key: &str) -> Result<Option<u32>> {
    match metadata.get(key) {
        None => Ok(None),
        Some(_) => metadata.require_u32(key).map(Some),
    }
}

/// A boolean that may be absent, but must be a boolean.
pub fn boolean(metadata: &Metadata, key: &str) -> Result<Option<bool>> {
    match (metadata.get(key), metadata.bool(key)) {
        (None, _) => Ok(None),
        (_, Some(value)) => Ok(Some(value)),
        _ => Err(Error::invalid_model("the metadata has no boolean where one must be").key(key)),
    }
}
