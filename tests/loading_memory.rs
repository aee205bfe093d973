//! Memory of a load: the packed weights take what the file has, and nothing else is held beside them.

mod support;

use support::draft::{Draft, Sizes};
use support::memory::{Counting, HELD, PEAK};
use support::models::load;
use wisplm::cpu::Loading;
use wisplm::gguf::TensorType;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A model of about 20 MB whose matrices are of one format, all zero: packing does not look at codes.
fn file(kind: TensorType, layers: usize) -> Vec<u8> {
    let sizes = Sizes { hidden: 1024, ffn: 2816, heads: 16, kv_heads: 4, dim: 64, layers };
    let mut draft = Draft::random("llama-0", sizes);
    for tensor in draft.tensors.iter_mut().filter(|tensor| tensor.dims.len() > 1) {
        let bytes = kind.bytes_of(tensor.dims.iter().product()).expect("rows fill blocks");
        (tensor.kind, tensor.bytes) = (kind, vec![0; bytes as usize]);
    }
    draft.file()
}

/// What a load may hold beyond 1.15 times the file: tables of the tokenizer, the plan, the unfinished tensors.
const OVERHEAD: isize = 1 << 20;

#[test]
fn a_load_holds_little_more_than_the_file() {
    for (kind, layers) in [
        (TensorType::F32, 1),
        (TensorType::F16, 1),
        (TensorType::Q8_0, 2),
        (TensorType::Q4_0, 3),
        (TensorType::Q4_1, 3),
        (TensorType::Q5_0, 3),
        (TensorType::Q5_1, 3),
        (TensorType::Q4_K, 3),
        (TensorType::Q5_K, 3),
        (TensorType::Q6_K, 2),
    ] {
        let file = file(kind, layers);
        for chunk in [65_536, 4 << 20] {
            let before = HELD.get();
            PEAK.set(before);
            let model = load(&file, chunk).expect("the model is good");
            let (peak, held) = (PEAK.get() - before, HELD.get() - before);
            let size = file.len() as isize;
            println!(
                "{}: a file of {:.1} MB, {:.1} MB held at most ({:.3}), {:.1} MB then",
                kind.name(),
                size as f64 / 1e6,
                peak as f64 / 1e6,
                peak as f64 / size as f64,
                held as f64 / 1e6,
            );
            assert!(peak <= size * 115 / 100 + OVERHEAD, "{}: {peak} of {size}", kind.name());
            assert!(model.executor.weight_bytes() as isize <= held);
            drop(model);
            // Everything is given back, but for what libraries set up once (regular expressions, hash seeds).
            assert!(HELD.get() - before < 1 << 20, "{} bytes stay", HELD.get() - before);
        }
    }
}

/// What is said of a file before its weights come, which WebAssembly's memory must have room for.
#[test]
fn a_header_says_what_weights_take() {
    for (kind, of_file) in [
        (TensorType::Q2_K, 3.2..3.4),
        (TensorType::Q3_K, 2.4..2.6),
        (TensorType::Q8_K, 0.9..1.0),
        (TensorType::Q4_0, 0.99..1.01),
        (TensorType::Q6_K, 0.99..1.1),
        (TensorType::F16, 0.99..1.01),
    ] {
        let file = file(kind, 1);
        let infos = Draft::of(&file).tensors.iter().map(|tensor| tensor.info()).collect::<Vec<_>>();
        let said: u64 = infos.iter().map(|tensor| Loading::bytes_of(tensor).unwrap()).sum();
        let model = load(&file, 1 << 20).unwrap();
        assert_eq!(said, model.executor.weight_bytes(), "{}", kind.name());
        let times = said as f64 / infos.iter().map(|tensor| tensor.bytes).sum::<u64>() as f64;
        assert!(of_file.contains(&times), "{}: {times} times the file's", kind.name());
    }
}

/// Loading again and again holds no more each time.
#[test]
fn loads_leave_nothing_behind() {
    let file = Draft::tiny("gemma3-0").file();
    drop(load(&file, 65_536));
    let before = HELD.get();
    for _ in 0..50 {
        let mut model = load(&file, 65_536).expect("the model is good");
        let mut cache = model.executor.new_cache();
        model.executor.begin(&mut [(&mut cache, &[1, 2, 3])]).unwrap();
        model.executor.advance(&mut [&mut cache], &mut || false).unwrap();
        assert!(load(&file[..file.len() / 2], 65_536).is_err());
    }
    println!("{} bytes after 50 loads and 50 failed ones", HELD.get() - before);
    assert!(HELD.get() - before < 4096, "{} bytes stay", HELD.get() - before);
}
