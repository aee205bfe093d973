//! Wrong and hostile models through the loader: each gives its typed error, and the next good model loads.

mod support;

use support::draft::{Draft, Tensor};
use support::formats::{DECODED, FORMATS};
use support::models::{fixture, load};
use wisplm::error::{Code, Error};
use wisplm::gguf::{Array, Parser, TensorType, Value};
use wisplm::loader::{Loader, Model};
use wisplm::model::FAMILIES;

fn good() -> Vec<u8> {
    std::fs::read(fixture("tiny/llama-0.gguf")).expect("the fixture is there")
}

/// Loads a file that must be refused, then one that must not.
fn refused(what: &str, file: &[u8]) -> Error {
    let Err(error) = load(file, 4096) else { panic!("{what}: loaded") };
    println!("{what}: {}: {error}", error.code.as_str());
    assert!(load(&good(), 65_536).is_ok(), "after {what}");
    error
}

/// A changed model that must be refused with a code, naming a tensor or a key.
fn refuses(name: &str, code: Code, blamed: &str, change: impl FnOnce(&mut Draft)) {
    let mut draft = Draft::tiny(name);
    change(&mut draft);
    let what = format!("{name}, {blamed}");
    let error = refused(&what, &draft.file());
    assert_eq!(error.code, code, "{what}: {error}");
    let named = error.tensor.as_deref().or(error.key.as_deref());
    assert_eq!(named, Some(blamed), "{what}: {error}");
}

fn logits(model: &mut Model) -> Vec<u32> {
    let mut cache = model.executor.new_cache();
    model.executor.begin(&mut [(&mut cache, &[1, 50, 200, 7])]).unwrap();
    assert!(model.executor.advance(&mut [&mut cache], &mut || false).unwrap());
    let mut logits = Vec::new();
    model.executor.logits(3..4, &mut logits).unwrap();
    logits.iter().map(|logit| logit.to_bits()).collect()
}

#[test]
fn unknown_architectures_are_refused_by_key() {
    let key = "general.architecture";
    for name in ["llama5", "", "clip", "Llama"] {
        refuses("llama-0", Code::UnsupportedModel, key, |draft| {
            draft.set(key, Value::String(name.into()));
        });
    }
    refuses("llama-0", Code::InvalidModel, key, |draft| {
        draft.unset(key);
    });
    refuses("llama-0", Code::InvalidModel, key, |draft| {
        draft.set(key, Value::U32(1));
    });
}

#[test]
fn missing_and_misshapen_tensors_are_named() {
    for family in FAMILIES {
        let model = &format!("{}-0", family.architecture);
        for Tensor { name, dims, .. } in Draft::tiny(model).tensors {
            // What a file may lack: the rotary factors of Llama 3.1; Gemma 4's matrix of values of a global layer, whose
            // keys are its values then; a head of its own.
            let optional = (model == "llama-0" && name == "rope_freqs.weight")
                || (model == "gemma4-0" && name == "blk.2.attn_v.weight")
                || name == "output.weight";
            // It is not read: these models' contexts are longer than the original.
            if name == "rope_factors_short.weight" {
                continue;
            }
            if !optional {
                // Where several are not one tensor, they must be there by themselves.
                let blamed = match family.architecture {
                    "phi3" => &name.replace("qkv", "q").replace("ffn_up", "ffn_gate"),
                    _ => &name,
                };
                refuses(model, Code::InvalidModel, blamed, |draft| *draft = draft.clone().without(&name));
            }
            if dims == [1] {
                refuses(model, Code::InvalidModel, &name, |draft| {
                    let tensor = draft.tensor(&name);
                    tensor.dims[0] = 2;
                    tensor.bytes.extend_from_within(..);
                });
                continue;
            }
            refuses(model, Code::InvalidModel, &name, |draft| {
                let tensor = draft.tensor(&name);
                tensor.dims[0] /= 2;
                tensor.bytes.truncate(tensor.bytes.len() / 2);
            });
            // The right number of values in the wrong shape.
            refuses(model, Code::InvalidModel, &name, |draft| {
                let dims = &mut draft.tensor(&name).dims;
                *dims = vec![dims[0] / 2, dims.iter().skip(1).product::<u64>() * 2];
            });
        }
    }
}

#[test]
fn transposed_matrices_are_named() {
    for name in ["blk.0.attn_k.weight", "blk.1.ffn_down.weight", "token_embd.weight"] {
        refuses("llama-0", Code::InvalidModel, name, |draft| draft.tensor(name).dims.reverse());
    }
}

#[test]
fn a_file_cut_off_anywhere_is_truncated() {
    let file = good();
    let cuts = (0..64).map(|k| k * file.len() / 64).chain([file.len() - 1]);
    for cut in cuts {
        let error = refused(&format!("{cut} of {} bytes", file.len()), &file[..cut]);
        assert_eq!(error.code, Code::InvalidModel, "{error}");
        assert_eq!(error.offset, Some(cut as u64), "{error}");
    }
}

#[test]
fn values_that_are_no_numbers_are_named() {
    for name in ["token_embd.weight", "blk.0.attn_norm.weight", "blk.1.ffn_down.weight", "rope_freqs.weight"]
    {
        for value in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            refuses("llama-0", Code::InvalidModel, name, |draft| {
                let bytes = &mut draft.tensor(name).bytes;
                let at = bytes.len() / 8 * 4;
                bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
            });
        }
    }
}

#[test]
fn rotary_factors_of_zero_are_named() {
    for factor in [0.0_f32, -0.0, -1.0] {
        refuses("llama-0", Code::InvalidModel, "rope_freqs.weight", |draft| {
            draft.tensor("rope_freqs.weight").bytes[8..12].copy_from_slice(&factor.to_le_bytes());
        });
    }
}

#[test]
fn formats_without_a_decoder_are_named() {
    let name = "blk.0.attn_q.weight";
    let known = |kind: &&TensorType| FORMATS.contains(kind) || DECODED.contains(kind);
    for &kind in TensorType::ALL.iter().filter(|kind| !known(kind)) {
        let mut draft = Draft::tiny("llama-wide-Q4_K_M");
        let tensor = draft.tensor(name);
        let bytes = kind.bytes_of(tensor.dims.iter().product()).unwrap();
        (tensor.kind, tensor.bytes) = (kind, vec![0; bytes as usize]);
        let error = refused(kind.name(), &draft.file());
        assert_eq!((error.code, error.tensor.as_deref()), (Code::UnsupportedModel, Some(name)));
        assert!(error.message.contains(kind.name()), "{error}");
    }
}

/// What the header tells is refused before any weight has come.
#[test]
fn unsupported_models_are_refused_by_their_headers() {
    type Change = fn(&mut Draft);
    let changes: [(&str, &str, Change); 3] = [
        ("llama-0", "blk.1.ffn_down.weight", |draft| {
            let tensor = draft.tensor("blk.1.ffn_down.weight");
            (tensor.kind, tensor.bytes) = (TensorType::IQ4_NL_4_4, vec![0; tensor.bytes.len() / 4 * 18 / 32]);
        }),
        ("bert-0", "bert.pooling_type", |draft| {
            draft.set("bert.pooling_type", Value::U32(5));
        }),
        ("llama-0", "tokenizer.ggml.model", |draft| {
            draft.set("tokenizer.ggml.model", Value::String("rwkv".into()));
        }),
    ];
    for (name, blamed, change) in changes {
        let mut draft = Draft::tiny(name);
        change(&mut draft);
        let file = draft.file();
        let mut parser = Parser::new();
        parser.push(&file).unwrap();
        let start = parser.header().expect("a whole header").data_start as usize;
        let error = Loader::new(1, None, None).push(&file[..start]).expect_err(blamed);
        assert_eq!(error.code, Code::UnsupportedModel, "{error}");
        assert_eq!(error.tensor.or(error.key).as_deref(), Some(blamed));
    }
}

/// A table of one row is a table: some encoders know one type of token.
#[test]
fn a_table_may_have_one_row() {
    let hidden = |draft: &Draft| {
        let mut executor = load(&draft.file(), 4096).unwrap().executor;
        let mut cache = executor.new_cache();
        executor.begin(&mut [(&mut cache, &[2, 100, 200, 3])]).unwrap();
        assert!(executor.advance(&mut [&mut cache], &mut || false).unwrap());
        let mut state = vec![];
        executor.hidden(2..3, &mut state).unwrap();
        state
    };
    let two = Draft::tiny("bert-0");
    let mut one = two.clone();
    one.set("tokenizer.ggml.token_type_count", Value::U32(1));
    let types = one.tensor("token_types.weight");
    types.dims[1] = 1;
    types.bytes.truncate(types.bytes.len() / 2);
    assert_eq!(hidden(&one), hidden(&two));
}

/// A tensor that the plan does not read may be of any type and any value.
#[test]
fn tensors_that_nobody_reads_are_passed_over() {
    let mut draft = Draft::tiny("llama-0");
    let mut spare = draft.tensor("blk.0.attn_q.weight").clone();
    (spare.name, spare.kind) = ("blk.0.spare.weight".into(), TensorType::F64);
    spare.bytes = vec![0xff; spare.bytes.len() * 2];
    draft.tensors.insert(0, spare);
    let mut model = load(&draft.file(), 4096).unwrap();
    assert_eq!(logits(&mut model), logits(&mut load(&good(), 4096).unwrap()));
}

#[test]
fn absurd_hyperparameters_are_refused_by_key() {
    let sizes = [
        "embedding_length",
        "block_count",
        "feed_forward_length",
        "attention.head_count",
        "attention.head_count_kv",
        "attention.key_length",
        "rope.dimension_count",
        "context_length",
    ];
    for size in sizes {
        let key = format!("llama.{size}");
        for value in [Value::U32(0), Value::U32(1 << 31), Value::U64(1 << 40), Value::String("4".into())] {
            refuses("llama-0", Code::InvalidModel, &key, |draft| {
                draft.set(&key, value);
            });
        }
    }
    for size in ["embedding_length", "block_count", "feed_forward_length", "context_length"] {
        let key = format!("llama.{size}");
        refuses("llama-0", Code::InvalidModel, &key, |draft| {
            draft.unset(&key);
        });
    }
    for (size, value) in
        [("attention.head_count_kv", 3), ("rope.dimension_count", 31), ("rope.dimension_count", 34)]
    {
        let key = format!("llama.{size}");
        refuses("llama-0", Code::InvalidModel, &key, |draft| {
            draft.set(&key, Value::U32(value));
        });
    }
    // Possible by themselves, but not what the tensors are.
    for (size, value, tensor) in [
        ("attention.head_count", 1 << 15, "blk.0.attn_q.weight"),
        ("feed_forward_length", 1 << 20, "blk.0.ffn_gate.weight"),
        ("block_count", 1 << 20, "blk.2.attn_norm.weight"),
        ("embedding_length", 127, "token_embd.weight"),
    ] {
        refuses("llama-0", Code::InvalidModel, tensor, |draft| {
            draft.set(&format!("llama.{size}"), Value::U32(value));
        });
    }
}

#[test]
fn absurd_sizes_of_layers_are_refused_by_key() {
    let list = |sizes: &[u32]| Value::Array(Array::U32(sizes.to_vec()));
    for (key, code, value) in [
        ("feed_forward_length", Code::InvalidModel, list(&[48; 5])),
        ("feed_forward_length", Code::InvalidModel, list(&[])),
        ("feed_forward_length", Code::InvalidModel, list(&[48, 48, 48, 0, 96, 96])),
        ("feed_forward_length", Code::InvalidModel, list(&[48, 48, 48, 1 << 31, 96, 96])),
        ("attention.head_count_kv", Code::InvalidModel, list(&[1, 1, 3, 1, 1, 1])),
        ("attention.head_count_kv", Code::InvalidModel, list(&[1; 7])),
        ("attention.sliding_window_pattern", Code::InvalidModel, Value::U32(3)),
        ("attention.sliding_window_pattern", Code::InvalidModel, Value::Array(Array::Bool(vec![true; 5]))),
        ("attention.shared_kv_layers", Code::InvalidModel, Value::U32(6)),
        ("attention.shared_kv_layers", Code::InvalidModel, Value::U32(4)),
        ("attention.shared_kv_layers", Code::InvalidModel, Value::U32(1 << 31)),
        ("attention.key_length_swa", Code::InvalidModel, Value::U32(1 << 19)),
        ("attention.value_length_swa", Code::UnsupportedModel, Value::U32(16)),
        ("rope.dimension_count_swa", Code::InvalidModel, Value::U32(34)),
        ("embedding_length_per_layer_input", Code::InvalidModel, Value::U32(1 << 20)),
        ("embedding_length_per_layer_input", Code::InvalidModel, Value::U32(1 << 31)),
        ("expert_count", Code::UnsupportedModel, Value::U32(8)),
    ] {
        let key = format!("gemma4.{key}");
        refuses("gemma4-0", code, &key, |draft| {
            draft.set(&key, value);
        });
    }
    for (key, value) in [
        ("attention.head_count", list(&[4, 4, 4])),
        ("attention.head_count", list(&[4, 0])),
        ("attention.head_count", list(&[4, 1 << 20])),
        ("attention.head_count_kv", list(&[2])),
        ("attention.head_count_kv", list(&[2, 3])),
        ("feed_forward_length", list(&[192, 192, 192])),
    ] {
        let blamed = if value == list(&[4, 1 << 20]) { "attention.key_length" } else { key };
        refuses("llama-0", Code::InvalidModel, &format!("llama.{blamed}"), |draft| {
            draft.set(&format!("llama.{key}"), value);
        });
    }
    refuses("llama-0", Code::InvalidModel, "blk.1.ffn_gate.weight", |draft| {
        draft.set("llama.feed_forward_length", list(&[192, 96]));
    });
    refuses("gemma4-0", Code::InvalidModel, "gemma4.attention.sliding_window_pattern", |draft| {
        draft.unset("gemma4.attention.sliding_window_pattern");
    });
    for name in ["gemma2-0", "gemma3-0"] {
        let key = format!("{}.attention.sliding_window_pattern", &name[..6]);
        let flags = |count| Value::Array(Array::Bool(vec![true; count]));
        for value in [flags(3), flags(8), list(&[1; 7]), Value::U32(0)] {
            refuses(name, Code::InvalidModel, &key, |draft| {
                draft.set(&key, value);
            });
        }
    }
}

#[test]
fn absurd_sizes_of_states_are_refused_by_key() {
    for (key, code, value) in [
        ("ssm.state_size", Code::InvalidModel, 0),
        ("ssm.state_size", Code::InvalidModel, 1 << 31),
        ("ssm.state_size", Code::UnsupportedModel, 18),
        ("ssm.state_size", Code::UnsupportedModel, 260),
        ("ssm.conv_kernel", Code::InvalidModel, 0),
        ("ssm.conv_kernel", Code::UnsupportedModel, 33),
        ("ssm.time_step_rank", Code::InvalidModel, 3),
        ("ssm.time_step_rank", Code::InvalidModel, 1 << 20),
        ("ssm.inner_size", Code::UnsupportedModel, 65),
        ("full_attention_interval", Code::InvalidModel, 0),
        ("nextn_predict_layers", Code::InvalidModel, 5),
    ] {
        let key = format!("qwen35.{key}");
        refuses("qwen35-0", code, &key, |draft| {
            draft.set(&key, Value::U32(value));
        });
    }
    for key in ["state_size", "conv_kernel", "group_count", "time_step_rank"] {
        let key = format!("qwen35.ssm.{key}");
        refuses("qwen35-0", Code::InvalidModel, &key, |draft| {
            draft.unset(&key);
        });
    }
    refuses("qwen35-2", Code::InvalidModel, "qwen35.attention.recurrent_layers", |draft| {
        draft.set("qwen35.attention.recurrent_layers", Value::Array(Array::Bool(vec![true; 3])));
    });
}

/// Blocks behind the others that predict further tokens.
#[test]
fn layers_of_further_tokens_are_passed_over() {
    let want = logits(&mut load(&Draft::tiny("qwen35-0").file(), 4096).unwrap());
    let mut draft = Draft::tiny("qwen35-0");
    draft.set("qwen35.block_count", Value::U32(6));
    draft.set("qwen35.nextn_predict_layers", Value::U32(1));
    assert_eq!(logits(&mut load(&draft.file(), 4096).unwrap()), want);
}

#[test]
fn absurd_numbers_are_refused_by_key() {
    for value in [f32::NAN, f32::INFINITY, -1.0] {
        for (name, key) in [
            ("llama-0", "llama.attention.layer_norm_rms_epsilon"),
            ("gemma3-0", "gemma3.attention.layer_norm_rms_epsilon"),
            ("bert-0", "bert.attention.layer_norm_epsilon"),
            ("llama-0", "llama.rope.freq_base"),
        ] {
            refuses(name, Code::InvalidModel, key, |draft| {
                draft.set(key, Value::F32(value));
            });
        }
    }
    refuses("llama-0", Code::UnsupportedModel, "llama.rope.scaling.type", |draft| {
        draft.set("llama.rope.scaling.type", Value::String("dynamic".into()));
    });
    refuses("llama-0", Code::InvalidModel, "llama.rope.scaling.original_context_length", |draft| {
        draft.set("llama.rope.scaling.type", Value::String("yarn".into()));
    });
    refuses("llama-0", Code::UnsupportedModel, "llama.expert_count", |draft| {
        draft.set("llama.expert_count", Value::U32(8));
    });
    refuses("llama-0", Code::UnsupportedModel, "llama.attention.value_length", |draft| {
        draft.set("llama.attention.value_length", Value::U32(16));
    });
}

#[test]
fn missing_token_lists_are_refused_by_key() {
    for name in ["llama-0", "bert-0"] {
        let key = "tokenizer.ggml.tokens";
        refuses(name, Code::InvalidModel, key, |draft| {
            draft.unset(key);
        });
        refuses(name, Code::InvalidModel, key, |draft| {
            draft.set(key, Value::Array(Array::U32(vec![1, 2])));
        });
        // A shorter list is another vocabulary than the embedding's.
        refuses(name, Code::InvalidModel, "token_embd.weight", |draft| {
            draft.set(key, Value::Array(Array::Strings(["a", "b"].into_iter().map(String::from).collect())));
        });
    }
}

#[test]
fn a_context_is_as_long_as_asked_for_or_refused() {
    let with = |length: Option<usize>| {
        let mut loader = Loader::new(1, None, length);
        loader.push(&good()).and_then(|()| loader.finish())
    };
    for length in [0, 1025, usize::MAX] {
        let Err(error) = with(Some(length)) else { panic!("{length}: loaded") };
        assert_eq!(error.code, Code::InvalidArgument, "{length}");
        assert!(error.message.contains("1..=1024"), "{error}");
    }
    for (length, want) in [(None, 1024), (Some(1), 1), (Some(1024), 1024)] {
        assert_eq!(with(length).unwrap().executor.plan().context_length, want);
    }
}

#[test]
fn any_chunks_give_the_same_model() {
    let file = good();
    let want = logits(&mut load(&file, file.len()).unwrap());
    for chunk in [1, 7, 4096, 65_536] {
        assert_eq!(logits(&mut load(&file, chunk).unwrap()), want, "{chunk} bytes at a time");
    }
}

/// Loads files in the order given, of which `count` are announced.
fn load_files(files: &[&[u8]], count: usize) -> Result<Model, Error> {
    let mut loader = Loader::new(count, None, None);
    for (index, file) in files.iter().enumerate() {
        if index > 0 {
            loader.next_file(Some(file.len() as u64))?;
        }
        file.chunks(5000).try_for_each(|chunk| loader.push(chunk))?;
    }
    loader.finish()
}

#[test]
fn split_models_load_in_order_and_only_so() {
    let parts = Draft::tiny("llama-0").parts(3);
    let [a, b, c] = [&parts[0][..], &parts[1], &parts[2]];
    let want = logits(&mut load(&good(), 4096).unwrap());
    assert_eq!(logits(&mut load_files(&[a, b, c], 3).unwrap()), want);

    let other = Draft::tiny("llama-1").parts(3);
    let half = &b[..b.len() / 2];
    let wrong: [(&str, &[&[u8]], usize, Code); 9] = [
        ("wrong order", &[b, a, c], 3, Code::InvalidModel),
        ("wrong order", &[a, c, b], 3, Code::InvalidModel),
        ("a part twice", &[a, b, b], 3, Code::InvalidModel),
        ("a part missing", &[a, b], 3, Code::InvalidModel),
        ("two parts of three", &[a, b], 2, Code::InvalidModel),
        ("one part of three", &[a], 1, Code::InvalidModel),
        ("a part too many", &[a, b, c, c], 3, Code::InvalidArgument),
        ("a part of another model", &[a, b, &other[2]], 3, Code::InvalidModel),
        ("a part cut off", &[a, half, c], 3, Code::InvalidModel),
    ];
    for (what, files, count, code) in wrong {
        let Err(error) = load_files(files, count) else { panic!("{what}: loaded") };
        println!("{what}: {error}");
        assert_eq!(error.code, code, "{what}: {error}");
        assert_eq!(logits(&mut load_files(&[a, b, c], 3).unwrap()), want, "after {what}");
    }
}
