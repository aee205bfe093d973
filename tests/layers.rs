//! Layers that differ: in their windows, their heads and their feed-forward parts.

mod support;

use support::draft::Draft;
use support::gpu::open;
use support::models::load;
use support::numbers::largest_error;
use wisplm::gguf::{Array, Value};
use wisplm::loader::{Loader, Model};

/// The windows of a model's layers.
fn windows(draft: &Draft) -> Vec<Option<usize>> {
    let model = load(&draft.file(), 65_536).unwrap();
    model.executor.plan().caches.iter().map(|cache| cache.window).collect()
}

#[test]
fn windows_hold_where_the_family_has_them() {
    for (name, want) in [
        ("llama-0", None),
        ("mistral3-0", None),
        ("qwen2-0", None),
        ("qwen3-0", None),
        ("smollm3-0", None),
        ("phi3-0", Some(8)),
    ] {
        let mut draft = Draft::tiny(name);
        let key = format!("{}.attention.sliding_window", draft.family());
        let windows = windows(draft.set(&key, Value::U32(8)));
        assert!(windows.iter().all(|window| *window == want), "{name}: {windows:?}");
    }
}

#[test]
fn windows_are_those_of_the_family_where_a_file_does_not_say() {
    let of = |name: &str, key: &str, value: Option<Value>| {
        let mut draft = Draft::tiny(name);
        let key = format!("{}.attention.{key}", draft.family());
        match value {
            Some(value) => draft.set(&key, value),
            None => draft.unset(&key),
        };
        windows(&draft)
    };
    assert_eq!(of("gemma2-0", "sliding_window", None), [Some(4096), None, Some(4096), None]);
    assert_eq!(of("gemma2-0", "sliding_window", Some(Value::U32(0))), [None; 4]);
    assert_eq!(of("gemma3-0", "sliding_window", None), [None; 7]);
    let flags = Value::Array(Array::Bool(vec![false, true, true, false]));
    assert_eq!(of("gemma2-0", "sliding_window_pattern", Some(flags)), [None, Some(32), Some(32), None]);
    let period = Value::U32(3);
    assert_eq!(of("gemma2-0", "sliding_window_pattern", Some(period)), [Some(32), Some(32), None, Some(32)]);
}

/// Doubles the heads and the feed-forward part of a layer. What is added has the weights of what is there, and nothing reads
/// what it makes: the model answers as before.
fn doubled(name: &str, layer: usize) -> Draft {
    let mut draft = Draft::tiny(name);
    let family = draft.family();
    let layers = number(&draft, &format!("{family}.block_count"));
    let mut sizes = |key: &str| {
        let key = format!("{family}.{key}");
        let size = number(&draft, &key);
        let list = (0..layers).map(|other| if other as usize == layer { 2 * size } else { size });
        draft.set(&key, Value::Array(Array::U32(list.collect())));
        size as usize
    };
    let heads = sizes("attention.head_count");
    let kv_heads = if family == "bert" { heads } else { sizes("attention.head_count_kv") };
    sizes("feed_forward_length");
    // The parts of tensors that are doubled each by itself, and how long they are beside one another.
    let parts: &[(&str, &[usize])] = &[
        ("attn_q", &[1]),
        ("attn_k", &[1]),
        ("attn_v", &[1]),
        ("attn_qkv", &[heads, kv_heads, kv_heads]),
        ("ffn_gate", &[1]),
        ("ffn_up", if family == "phi3" { &[1, 1] } else { &[1] }),
    ];
    for (part, units) in parts {
        for kind in ["weight", "bias"] {
            let name = format!("blk.{layer}.{part}.{kind}");
            let Some(tensor) = draft.tensors.iter_mut().find(|tensor| tensor.name == name) else { continue };
            *tensor.dims.last_mut().expect("a dimension") *= 2;
            let unit = tensor.bytes.len() / units.iter().sum::<usize>();
            let mut rest = tensor.bytes.as_slice();
            let mut bytes = vec![];
            for count in *units {
                let (part, others) = rest.split_at(count * unit);
                bytes.extend([part, part].concat());
                rest = others;
            }
            tensor.bytes = bytes;
        }
    }
    for part in ["attn_output", "ffn_down"] {
        let tensor = draft.tensor(&format!("blk.{layer}.{part}.weight"));
        let row = tensor.dims[0] as usize * 4;
        tensor.dims[0] *= 2;
        tensor.bytes =
            tensor.bytes.chunks_exact(row).flat_map(|row| [row, &vec![0; row.len()]].concat()).collect();
    }
    draft
}

fn number(draft: &Draft, key: &str) -> u32 {
    match draft.keys.iter().find(|(name, _)| name == key) {
        Some((_, Value::U32(number))) => *number,
        other => panic!("{key}: {other:?}"),
    }
}

fn answer(model: &mut Model) -> Vec<f32> {
    let mut cache = model.executor.new_cache();
    let tokens: Vec<u32> = (5..45).collect();
    for part in [&tokens[..39], &tokens[39..]] {
        model.executor.begin(&mut [(&mut cache, part)]).unwrap();
        while !model.executor.advance(&mut [&mut cache], &mut || false).unwrap() {}
    }
    let mut values = vec![];
    if model.info.pooling.is_some() {
        while !model.executor.hidden(0..1, &mut values).unwrap() {}
    } else {
        while !model.executor.logits(0..1, &mut values).unwrap() {}
    }
    values
}

#[test]
fn layers_have_heads_and_inner_widths_of_their_own() {
    for (name, layer) in [
        ("llama-0", 1),
        ("mistral3-1", 0),
        ("qwen2-0", 1),
        ("qwen3-1", 2),
        ("smollm3-0", 3),
        ("phi3-0", 0),
        ("gemma2-0", 2),
        ("gemma3-0", 5),
        ("gemma4-2", 1),
        ("qwen35-0", 3),
        ("bert-0", 1),
    ] {
        let want = answer(&mut load(&Draft::tiny(name).file(), 65_536).unwrap());
        let mut model = load(&doubled(name, layer).file(), 65_536).unwrap();
        let error = largest_error(&answer(&mut model), &want);
        assert!(error <= 1e-4, "{name}: {error}");
    }
}

#[test]
fn layers_have_heads_and_inner_widths_of_their_own_on_the_gpu() {
    let gpu = open();
    let want = answer(&mut load(&Draft::tiny("llama-0").file(), 65_536).unwrap());
    let mut loader = Loader::new(1, None, None).on(&gpu);
    loader.push(&doubled("llama-0", 1).file()).unwrap();
    let error = largest_error(&answer(&mut loader.finish().unwrap()), &want);
    assert!(error <= 0.02, "{error}");
}
