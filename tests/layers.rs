//! Layers that differ: in their windows, their heads and their feed-forward parts.

mod support;

use support::draft::Draft;
use support::models::load;
use wisplm::gguf::{Array, Value};

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
