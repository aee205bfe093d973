//! Whole models in every block format against candle-transformers on the same weights.
//!
//! Each file is quantized by candle, and candle gets its own dequantized weights as F32: it quantizes activations in
//! its own way, and computes with floats when the weights are floats. What remains between the two is our int8
//! activations (a step of 1/127 of the largest of 16 values: about 0.5 % of a product's size) and the f16 cache.

mod support;

use candle_core::quantized::gguf_file::Content;
use candle_core::quantized::{GgmlDType, QTensor};
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use candle_transformers::models::{bert, gemma3, quantized_llama};
use std::collections::HashMap;
use std::io::Cursor;
use support::draft::{Draft, Sizes};
use support::formats::{DECODED, FORMATS, candle};
use support::models::load;
use wisplm::gguf::{TensorType, Value};
use wisplm::loader::Model;

/// The error of a model: RMS of the difference of logits (or hidden states) over the RMS of those wanted, mean over
/// some positions. For float weights: f16 keys and values, 2⁻¹² each; these models show up to 0.0005.
const FLOAT_ERROR: f64 = 0.001;
/// The same for quantized weights: 0.5 % in each of ten to thirty products one behind the other; these models show
/// 0.008 to 0.025. Where candle has the quantized model too, its error is the limit.
const INT8_ERROR: f64 = 0.03;

/// Formats that candle has too.
fn formats() -> impl Iterator<Item = (TensorType, GgmlDType)> {
    FORMATS.into_iter().chain(DECODED).filter_map(|kind| Some((kind, candle(kind)?)))
}

/// Formats with blocks of at most 32.
fn small() -> impl Iterator<Item = (TensorType, GgmlDType)> {
    formats().filter(|(kind, _)| kind.block_len() <= 32)
}

/// Formats with blocks of 256, those without a kernel too.
fn large() -> impl Iterator<Item = (TensorType, GgmlDType)> {
    formats().filter(|(kind, _)| kind.block_len() == 256)
}

/// Wide enough for blocks of 256.
const WIDE: Sizes = Sizes { hidden: 256, ffn: 512, heads: 4, kv_heads: 2, dim: 64, layers: 3 };

/// The draft with its matrices in a format, and with what they became as F32.
fn quantize(draft: &Draft, kind: TensorType, dtype: GgmlDType) -> (Draft, Draft) {
    let (mut quantized, mut plain) = (draft.clone(), draft.clone());
    for (quantized, plain) in quantized.tensors.iter_mut().zip(&mut plain.tensors) {
        if quantized.dims.len() == 1 {
            continue;
        }
        let values = quantized.values();
        let shape = (quantized.dims[1] as usize, quantized.dims[0] as usize);
        let tensor =
            QTensor::quantize(&Tensor::from_vec(values, shape, &Device::Cpu).unwrap(), dtype).unwrap();
        let weights: Vec<f32> =
            tensor.dequantize(&Device::Cpu).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        plain.bytes = bytemuck::cast_slice(&weights).to_vec();
        (quantized.kind, quantized.bytes) = (kind, tensor.data().unwrap().into_owned());
    }
    (quantized, plain)
}

/// √(Σ(got − want)² / Σ want²)
fn distance(got: &[f32], want: &[f32]) -> f64 {
    assert_eq!(got.len(), want.len());
    let square = |x: f32| f64::from(x) * f64::from(x);
    let error: f64 = got.iter().zip(want).map(|(got, want)| square(got - want)).sum();
    (error / want.iter().map(|x| square(*x)).sum::<f64>()).sqrt()
}

fn tolerance(kind: TensorType) -> f64 {
    if kind.block_len() == 1 { FLOAT_ERROR } else { INT8_ERROR }
}

fn some_tokens(n: usize) -> Vec<u32> {
    (0..n as u32).map(|k| (k * 97 + k * k * 13) % 256).collect()
}

/// The logits after each of the given lengths of a sequence, the steps between them taken in one cache.
fn our_logits(model: &mut Model, tokens: &[u32], lengths: &[usize]) -> Vec<Vec<f32>> {
    let mut cache = model.executor.new_cache();
    let mut after = |length: usize| {
        let start = cache.len();
        model.executor.begin(&mut [(&mut cache, &tokens[start..length])]).unwrap();
        assert!(model.executor.advance(&mut [&mut cache], &mut || false).unwrap());
        let mut logits = Vec::new();
        model.executor.logits(length - start - 1..length - start, &mut logits).unwrap();
        logits
    };
    lengths.iter().map(|length| after(*length)).collect()
}

fn batch(tokens: &[u32]) -> Tensor {
    Tensor::new(tokens, &Device::Cpu).unwrap().unsqueeze(0).unwrap()
}

fn flat(tensor: Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

fn mean(errors: &[f64]) -> f64 {
    errors.iter().sum::<f64>() / errors.len() as f64
}

fn report(name: &str, errors: &[f64], tolerance: f64) {
    println!("{name}: mean relative error {:.5}", mean(errors));
    assert!(mean(errors) <= tolerance, "{name}: {errors:?}");
}

/// Prefill, single tokens and a second prefill after them, when a window of 24 has left a page behind.
const LENGTHS: [usize; 6] = [1, 2, 60, 61, 62, 90];

fn candle_llama(draft: &Draft, tokens: &[u32]) -> Vec<Vec<f32>> {
    let mut reader = Cursor::new(draft.file());
    let content = Content::read(&mut reader).unwrap();
    let mut model = quantized_llama::ModelWeights::from_gguf(content, &mut reader, &Device::Cpu).unwrap();
    let mut start = 0;
    let mut after = |length: usize| {
        let logits = model.forward(&batch(&tokens[start..length]), start).unwrap();
        start = length;
        flat(logits)
    };
    LENGTHS.into_iter().map(&mut after).collect()
}

fn check_llama(name: &str, draft: &Draft, (kind, dtype): (TensorType, GgmlDType)) {
    let (quantized, plain) = quantize(draft, kind, dtype);
    let mut model = load(&quantized.file(), 10_000).unwrap();
    let tokens = some_tokens(90);
    let want = candle_llama(&plain, &tokens);
    let errors = |got: Vec<Vec<f32>>| -> Vec<f64> {
        got.iter().zip(&want).map(|(got, want)| distance(got, want)).collect()
    };
    let ours = errors(our_logits(&mut model, &tokens, &LENGTHS));
    report(&format!("{name} {}", kind.name()), &ours, tolerance(kind));
    // candle's own int8 activations have a scale per 32 or 256 values. It multiplies with every format but Q8_K.
    if kind.block_len() > 1 && kind != TensorType::Q8_K {
        let candles = errors(candle_llama(&quantized, &tokens));
        println!("{name} {}: candle's own error {:.5}", kind.name(), mean(&candles));
        // A tenth more, since another processor's order of sums rounds some activations the other way.
        assert!(mean(&ours) <= 1.1 * mean(&candles), "{name} {}: {ours:?}, candle {candles:?}", kind.name());
    }
}

#[test]
fn llama_in_every_format() {
    // candle does not know the factors of Llama 3's rotary embedding, nor heads wider than the hidden state.
    let draft = Draft::tiny("llama-0").without("rope_freqs.weight");
    for format in small() {
        check_llama("llama-0", &draft, format);
    }
    let wide = Draft::random("llama-0", WIDE);
    for format in large() {
        check_llama("wide llama", &wide, format);
    }
}

/// candle's `quantized_gemma3` gates with SiLU where the model has GELU, so this is the float model.
fn candle_gemma3(draft: &Draft, sizes: Sizes, window: usize, softcap: Option<f64>) -> gemma3::Model {
    let names = [
        ("token_embd", "embed_tokens"),
        ("output_norm", "norm"),
        ("attn_norm", "input_layernorm"),
        ("post_attention_norm", "post_attention_layernorm"),
        ("ffn_norm", "pre_feedforward_layernorm"),
        ("post_ffw_norm", "post_feedforward_layernorm"),
        ("attn_q_norm", "self_attn.q_norm"),
        ("attn_k_norm", "self_attn.k_norm"),
        ("attn_q", "self_attn.q_proj"),
        ("attn_k", "self_attn.k_proj"),
        ("attn_v", "self_attn.v_proj"),
        ("attn_output", "self_attn.o_proj"),
        ("ffn_gate", "mlp.gate_proj"),
        ("ffn_up", "mlp.up_proj"),
        ("ffn_down", "mlp.down_proj"),
    ];
    let rename = |name: &str| match name.strip_prefix("blk.").and_then(|name| name.split_once('.')) {
        Some((layer, part)) => format!("model.layers.{layer}.{}", renamed(&names, part)),
        None => format!("model.{}", renamed(&names, name)),
    };
    // GGUF files have the 1 of Gemma's norms added already.
    let tensors = tensors(draft, rename, |vector| (vector - 1.0).unwrap());
    let config = gemma3::Config {
        attention_bias: false,
        head_dim: sizes.dim,
        hidden_activation: candle_nn::Activation::GeluPytorchTanh,
        hidden_size: sizes.hidden,
        intermediate_size: sizes.ffn,
        num_attention_heads: sizes.heads,
        num_hidden_layers: sizes.layers,
        num_key_value_heads: sizes.kv_heads,
        rms_norm_eps: 1e-6,
        rope_theta: 1e6,
        rope_local_base_freq: 1e4,
        vocab_size: 264,
        final_logit_softcapping: softcap,
        attn_logit_softcapping: None,
        query_pre_attn_scalar: sizes.dim,
        sliding_window: window,
        sliding_window_pattern: 6,
        max_position_embeddings: 1024,
    };
    gemma3::Model::new(false, &config, VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu)).unwrap()
}

/// The name of a tensor in the original, from a table of the parts before `.weight` and `.bias`.
fn renamed(names: &[(&str, &str)], name: &str) -> String {
    let (part, end) = name.rsplit_once('.').expect("a name with an end");
    let (_, new) = names.iter().find(|(old, _)| *old == part).expect("a known tensor");
    format!("{new}.{end}")
}

fn tensors(
    draft: &Draft,
    rename: impl Fn(&str) -> String,
    norm: impl Fn(Tensor) -> Tensor,
) -> HashMap<String, Tensor> {
    let tensor = |tensor: &support::draft::Tensor| {
        let shape: Vec<usize> = tensor.dims.iter().rev().map(|dim| *dim as usize).collect();
        let values = Tensor::from_vec(tensor.values(), shape, &Device::Cpu).unwrap();
        (rename(&tensor.name), if tensor.dims.len() == 1 { norm(values) } else { values })
    };
    draft.tensors.iter().map(tensor).collect()
}

fn check_gemma3(draft: &Draft, sizes: Sizes, softcap: Option<f32>, (kind, dtype): (TensorType, GgmlDType)) {
    let window = 24;
    let (mut quantized, plain) = quantize(draft, kind, dtype);
    quantized.set("gemma3.attention.sliding_window", Value::U32(window as u32));
    if let Some(cap) = softcap {
        quantized.set("gemma3.final_logit_softcapping", Value::F32(cap));
    }
    let mut model = load(&quantized.file(), 10_000).unwrap();
    let mut candle = candle_gemma3(&plain, sizes, window, softcap.map(f64::from));
    let tokens = some_tokens(90);
    let got = our_logits(&mut model, &tokens, &LENGTHS);
    // Token by token: over several, candle's masks are one position wider than the window, its caches are not.
    let want: Vec<_> = tokens
        .iter()
        .enumerate()
        .map(|(position, token)| flat(candle.forward(&batch(&[*token]), position).unwrap()))
        .collect();
    let errors: Vec<_> =
        LENGTHS.into_iter().zip(&got).map(|(length, got)| distance(got, &want[length - 1])).collect();
    report(&format!("gemma3 {} hidden, {}", sizes.hidden, kind.name()), &errors, tolerance(kind));
}

#[test]
fn gemma3_in_every_format() {
    // Seven layers: the sixth has no window.
    let sizes = Sizes { hidden: 96, ffn: 64, heads: 4, kv_heads: 2, dim: 32, layers: 7 };
    for format in small() {
        check_gemma3(&Draft::tiny("gemma3-1"), sizes, None, format);
    }
    let wide = Sizes { layers: 7, kv_heads: 1, dim: 128, ..WIDE };
    for format in large() {
        check_gemma3(&Draft::random("gemma3-1", wide), wide, Some(2.0), format);
    }
}

fn candle_bert(draft: &Draft) -> bert::BertModel {
    let names = [
        ("token_embd", "embeddings.word_embeddings"),
        ("position_embd", "embeddings.position_embeddings"),
        ("token_types", "embeddings.token_type_embeddings"),
        ("token_embd_norm", "embeddings.LayerNorm"),
        ("attn_q", "attention.self.query"),
        ("attn_k", "attention.self.key"),
        ("attn_v", "attention.self.value"),
        ("attn_output", "attention.output.dense"),
        ("attn_output_norm", "attention.output.LayerNorm"),
        ("ffn_up", "intermediate.dense"),
        ("ffn_down", "output.dense"),
        ("layer_output_norm", "output.LayerNorm"),
    ];
    let rename = |name: &str| match name.strip_prefix("blk.").and_then(|name| name.split_once('.')) {
        Some((layer, part)) => format!("encoder.layer.{layer}.{}", renamed(&names, part)),
        None => renamed(&names, name),
    };
    let config = bert::Config {
        vocab_size: 264,
        hidden_size: 96,
        num_hidden_layers: 3,
        num_attention_heads: 3,
        intermediate_size: 192,
        max_position_embeddings: 64,
        ..bert::Config::default()
    };
    let tensors = tensors(draft, rename, |vector| vector);
    bert::BertModel::load(VarBuilder::from_tensors(tensors, DType::F32, &Device::Cpu), &config).unwrap()
}

#[test]
fn bert_in_every_small_format() {
    for (kind, dtype) in small() {
        let (quantized, plain) = quantize(&Draft::tiny("bert-0"), kind, dtype);
        let mut model = load(&quantized.file(), 10_000).unwrap();
        let candle = candle_bert(&plain);
        let mut errors = Vec::new();
        for length in [1, 31, 33, 64] {
            let tokens = batch(&some_tokens(length));
            let want = flat(candle.forward(&tokens, &tokens.zeros_like().unwrap(), None).unwrap());
            let mut cache = model.executor.new_cache();
            model.executor.begin(&mut [(&mut cache, &some_tokens(length))]).unwrap();
            assert!(model.executor.advance(&mut [&mut cache], &mut || false).unwrap());
            let mut got = vec![];
            assert!(model.executor.hidden(0..length, &mut got).unwrap());
            errors.push(distance(&got, &want));
        }
        report(&format!("bert {}", kind.name()), &errors, tolerance(kind));
    }
}
