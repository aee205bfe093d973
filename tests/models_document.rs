//! `docs/models.md`, written from what is measured here: it is out of date if it says something else.
//! `WISPLM_WRITE=1 cargo test --test models_document` writes it anew.

mod support;

use std::fmt::Write;
use std::path::Path;
use support::formats::{DECODED, FORMATS};
use support::mixtures::{Mixture, cosine, mixtures, plain};
use support::models::json;
use support::shapes::{SHAPES, Shape, q4_k_m};
use wisplm::cpu::{self, KvType};
use wisplm::gguf::TensorType;
use wisplm::gpu::Demand;
use wisplm::model::FAMILIES;

/// What cannot be measured of a family: its models, its tokenizers, and the real ones that browser tests run.
struct Row {
    family: &'static str,
    models: &'static str,
    tokenizer: &'static str,
    real: Option<&'static str>,
}

const fn row(
    family: &'static str,
    models: &'static str,
    tokenizer: &'static str,
    real: Option<&'static str>,
) -> Row {
    Row { family, models, tokenizer, real }
}

const ROWS: [Row; 11] = [
    row(
        "llama",
        "Llama 2, 3, 3.1 8B, 3.2 1B and 3B, TinyLlama 1.1B, Mistral 7B, Ministral 8B (2410), SmolLM2 135M to 1.7B",
        "byte-level BPE (`llama-bpe`, `smollm`, `tekken`), SentencePiece",
        Some("SmolLM2-135M-Instruct.Q4_1"),
    ),
    row("mistral3", "Ministral 3 3B and 8B", "byte-level BPE (`tekken`)", None),
    row("qwen2", "Qwen 2.5 0.5B to 7B, Qwen2.5-Coder", "byte-level BPE (`qwen2`)", None),
    row("qwen3", "Qwen 3 0.6B to 8B", "byte-level BPE (`qwen2`)", None),
    row("smollm3", "SmolLM3 3B", "byte-level BPE (`smaug-bpe`)", None),
    row("phi3", "Phi-3 and Phi-3.5 mini, Phi-4 mini", "SentencePiece; byte-level BPE (`gpt-4o`)", None),
    row("gemma2", "Gemma 2 2B and 9B", "SentencePiece", None),
    row("gemma3", "Gemma 3 270M, 1B, 4B (text)", "SentencePiece", Some("gemma-3-270m-q4_k_m")),
    row("gemma4", "Gemma 4 E2B and E4B (text)", "BPE with byte fallback", None),
    row("qwen35", "Qwen 3.5 0.8B, 2B, 4B, 9B (text)", "byte-level BPE (`qwen35`)", None),
    row(
        "bert",
        "all-MiniLM-L6-v2, mxbai-embed-large; classifiers and rerankers with a head",
        "WordPiece",
        None,
    ),
];

/// What a table cannot say.
const NOTES: &str = "
## What to know

- **Windows**. `llama` files have none, whatever the model: Mistral 7B v0.1 was trained with one of 4096 tokens, and
  Ministral 8B (2410) with one of 32,768 in three layers of four. Here as in llama.cpp all their layers see all tokens, so
  that answers are the models' own up to that length and may differ beyond it. Phi-3 mini's window of 2047 tokens holds, as in
  `transformers`; llama.cpp leaves it out.
- **Long contexts of Phi**: the factors for contexts beyond the original one are used if `contextLength` is longer than
  that, from the first token on.
- **Gemma 2 27B** is told by its depth, as llama.cpp does, and has not been run. Mixtures of experts are refused.
- **Layers that predict further tokens** (Qwen 3.5) are passed over; nothing speculates with them.

Of what the specification of the families left open, these are settled by tests: the tokenizers of SmolLM2, Gemma 3 and Phi-3
(its white space behind special tokens included), and Phi-4 mini's base vocabulary, `o200k`, agree with llama.cpp and
tiktoken on thousands of strings (`tests/tokenizer_llama_cpp.rs`); chat templates of Gemma 2 and 4, Llama 3.2, Ministral 3, Mistral
Nemo, Phi-3.5, Qwen 2.5, 3 and 3.5, SmolLM2 and 3 are rendered as `transformers` does (`tests/chat.rs`), so that the template
engine covers what they use; real weights of three models were run. Not settled: real weights of the other families,
and with them whether their files tie the head as the table assumes; Gemma 2's vocabulary, which is not Gemma 3's; the templates of
Gemma 3, Phi-4 mini, TinyLlama and Ministral 8B, and SmolLM3's as its makers publish it; YaRN with a logarithmic multiplier
other than 0 and 1; whether Qwen's tokenizers want NFC (here as in llama.cpp text is taken as it is).
";

const CONTEXT: u32 = 4096;
const MB: f64 = 1e6;

#[test]
fn the_document_says_what_is_measured() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/models.md");
    let document = document();
    if std::env::var_os("WISPLM_WRITE").is_some() {
        std::fs::write(&path, &document).expect("the document can be written");
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    let stale = document.lines().zip(there.lines()).find(|(new, old)| new != old);
    assert!(
        there == document,
        "docs/models.md is out of date, in {stale:?}: WISPLM_WRITE=1 cargo test --test models_document writes it"
    );
}

fn document() -> String {
    let mut text = String::from(
        "# Models\n\n\
         Written by `tests/models_document.rs` from what it measures; a test fails when it is out of date, and\n\
         `WISPLM_WRITE=1 cargo test --test models_document` writes it anew.\n\n\
         ## Families\n\n\
         Three tiny models of each family, with random weights in F32, are compared with `transformers` in float32: the\n\
         mean |Δ log-probability| of the worst (the bar is 0.002), computed by the CPU's kernels. Then the same in the\n\
         mixtures of formats that llama.cpp's quantizer makes, against float32 on the decoded weights: the mean over the\n\
         models, and native llama.cpp's (the bar of each model by itself is 1.1 times that). On WebGPU (`tests/gpu.rs`), and in\n\
         Chromium on both builds (`tests/browser/score.test.mjs`), models in F32 are held to the same bar.\n\n\
         | family | models | tokenizer | float32 | Q8_0 (llama.cpp) | Q4_K_M (llama.cpp) |\n\
         |---|---|---|--:|--:|--:|\n",
    );
    let mixtures = mixtures();
    for Row { family, models, tokenizer, .. } in &ROWS {
        let [q8_0, q4_k_m] = ["Q8_0", "Q4_K_M"].map(|mixture| mean(&mixtures, family, mixture));
        line(&mut text, &[&format!("`{family}`"), models, tokenizer, &float32(family), &q8_0, &q4_k_m]);
    }
    text.push_str(
        "\nOf `bert` it is the lowest cosine of vectors (the bar is 0.9999), and of mixtures the mean |Δ| of their values.\n\
         Embeddings, classifiers and rerankers: `tests/encoders.rs`. Adapters: `tests/adapters.rs`.\n\n\
         ## Real weights\n\n\
         The bar is native llama.cpp's own mean |Δ log-probability| on the same texts; the browser's tests fail above it. What\n\
         they measured is among the figures of the [README](../README.md#figures).\n\n\
         | model | family | tokens | bar | test |\n|---|---|--:|--:|---|\n",
    );
    for Row { family, real, .. } in &ROWS {
        let Some(real) = real else { continue };
        let answers = json(&format!("score/{real}.json"));
        let texts = answers["texts"].as_array().expect("a list").iter();
        let scored = texts.filter(|text| text["name"] != "joined");
        let tokens: usize = scored.map(|text| text["tokens"].as_array().map_or(0, Vec::len)).sum();
        let bar = answers["meanAbsDelta"]["default"].as_f64().expect("a number");
        line(
            &mut text,
            &[real, &format!("`{family}`"), &tokens.to_string(), &format!("{bar:.4}"), "`score.test.mjs`"],
        );
    }
    text.push_str(
        "| all-MiniLM-L6-v2 | `bert` | 7 texts | cosine 0.999 | `score.test.mjs` |\n\n\
         ## Formats\n\n\
         | format | CPU | WebGPU |\n|---|---|---|\n",
    );
    for &kind in TensorType::ALL {
        let cpu = match (FORMATS.contains(&kind), DECODED.contains(&kind)) {
            (true, _) => "kernels",
            (_, true) => "decoded at load, as Q8_0",
            _ => continue,
        };
        line(&mut text, &[kind.name(), cpu, "kernels"]);
    }
    let refused = TensorType::ALL.iter().filter(|kind| !FORMATS.contains(kind) && !DECODED.contains(kind));
    let refused: Vec<_> = refused.map(|kind| kind.name()).collect();
    let _ = writeln!(
        text,
        "\nA model with a tensor of another type is refused with its name:\n{},\n{}.\n",
        refused[..13].join(", "),
        refused[13..].join(", "),
    );
    let _ = write!(
        text,
        "## Memory\n\n\
         With a context of {CONTEXT} tokens (512 for `bert`), in MB, as the engine adds it up for WebGPU from a header with the\n\
         model's published sizes: weights in llama.cpp's Q4_K_M, keys and values in 16 and in 8 bits with the states of\n\
         recurrent layers, and activations, with logits and what a step is told. A model runs on wasm, too, if packed weights\n\
         and keys and values in 16 bits are less than the 4 GiB that WebAssembly has.\n\n\
         | model | family | parameters | weights | `\"f16\"` | `\"q8_0\"` | activations | runs on |\n\
         |---|---|--:|--:|--:|--:|--:|---|\n",
    );
    for shape in SHAPES {
        memory(&mut text, shape);
    }
    text.push_str(NOTES);
    text
}

fn memory(text: &mut String, shape: &Shape) {
    let context = if shape.family == "bert" { 512 } else { CONTEXT };
    let metadata = shape.metadata(context, shape.sizes[1], shape.vocabulary);
    let (plan, mut tensors) = shape.plan(&metadata, TensorType::F32);
    q4_k_m(&mut tensors, shape.sizes[1]);
    let demand = |kv_type| Demand::of(&plan, &tensors, kv_type);
    let (plain, small) = (demand(KvType::F16), demand(KvType::Q8_0));
    let mega = |bytes: u64| format!("{:.0}", bytes as f64 / MB);
    let packed = tensors.iter().map(|tensor| cpu::Loading::bytes_of(tensor).expect("it has kernels"));
    let runs_on = if packed.sum::<u64>() + plain.cache < 1 << 32 { "WebGPU, wasm" } else { "WebGPU" };
    let parameters: u64 = tensors.iter().map(wisplm::gguf::TensorInfo::elements).sum();
    line(
        text,
        &[
            shape.name,
            &format!("`{}`", shape.family),
            &format!("{:.2} B", parameters as f64 / 1e9),
            &mega(plain.weights),
            &mega(plain.cache),
            &mega(small.cache),
            &mega(plain.work),
            runs_on,
        ],
    );
}

fn line(text: &mut String, cells: &[&str]) {
    let _ = writeln!(text, "| {} |", cells.join(" | "));
}

/// The worst of a family's tiny models.
fn float32(family: &str) -> String {
    if family == "bert" {
        let lowest = (0..3).map(|seed| cosine(&format!("bert-{seed}"))).fold(1.0, f64::min);
        return format!("cosine {lowest:.6}");
    }
    let worst = (0..3).map(|seed| plain(&format!("{family}-{seed}")).0).fold(0.0, f32::max);
    format!("{worst:.6}")
}

fn mean(mixtures: &[Mixture], family: &str, mixture: &str) -> String {
    let of: Vec<_> = mixtures.iter().filter(|m| m.family == family && m.mixture == mixture).collect();
    let sum = |error: fn(&Mixture) -> f32| of.iter().map(|m| error(m)).sum::<f32>() / of.len() as f32;
    format!("{:.4} ({:.4})", sum(|m| m.ours), sum(|m| m.llama_cpp))
}

#[test]
fn every_family_is_in_the_document() {
    let documented = ROWS.map(|row| row.family);
    assert!(FAMILIES.iter().all(|family| documented.contains(&family.architecture)));
    assert_eq!(documented.len(), FAMILIES.len());
}
