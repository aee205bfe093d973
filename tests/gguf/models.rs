//! Real model files, as `make models` fetches them.

use std::fs::File;
use std::io::Read;
use std::time::{Duration, Instant};

use wisplm::error::Result;
use wisplm::gguf::{FileReader, Header, Parser, Sink, TensorType};

use super::support::models;

/// What the reference reader of the `gguf` Python package says of a file.
struct Known {
    file: &'static str,
    architecture: &'static str,
    keys: usize,
    tokens: usize,
    data_start: u64,
    tensors: &'static [(TensorType, usize)],
    tensor_bytes: u64,
    /// Name, dimensions, type, offset and bytes of one tensor.
    sample: (&'static str, &'static [u64], TensorType, u64, u64),
}

const KNOWN: [Known; 3] = [
    Known {
        file: "SmolLM2-135M-Instruct.Q4_1.gguf",
        architecture: "llama",
        keys: 33,
        tokens: 49152,
        data_start: 1_785_664,
        tensors: &[(TensorType::Q4_1, 210), (TensorType::F32, 61), (TensorType::Q8_0, 1)],
        tensor_bytes: 96_576_768,
        sample: ("blk.0.ffn_down.weight", &[1536, 576], TensorType::Q4_1, 31_868_992, 552_960),
    },
    Known {
        file: "gemma-3-270m-q4_k_m.gguf",
        architecture: "gemma3",
        keys: 33,
        tokens: 262_144,
        data_start: 6_525_120,
        tensors: &[
            (TensorType::F32, 109),
            (TensorType::Q5_0, 81),
            (TensorType::Q4_K, 27),
            (TensorType::Q8_0, 10),
            (TensorType::Q6_K, 9),
        ],
        tensor_bytes: 246_587_904,
        sample: ("blk.0.attn_k.weight", &[640, 256], TensorType::Q5_0, 184_785_600, 112_640),
    },
    Known {
        file: "all-MiniLM-L6-v2.Q8_0.gguf",
        architecture: "bert",
        keys: 22,
        tokens: 30522,
        data_start: 636_352,
        tensors: &[(TensorType::F32, 64), (TensorType::Q8_0, 37)],
        tensor_bytes: 24_645_744,
        sample: ("blk.5.ffn_down.weight", &[1536, 384], TensorType::Q8_0, 24_655_424, 626_688),
    },
];

/// Counts the bytes that a reader hands on.
#[derive(Default)]
struct Counter(u64);

impl Sink for Counter {
    fn header(&mut self, _: &Header) -> Result<()> {
        Ok(())
    }

    fn tensor_bytes(&mut self, _: &Header, _: usize, _: u64, bytes: &[u8]) -> Result<()> {
        self.0 += bytes.len() as u64;
        Ok(())
    }
}

fn check(known: &Known) {
    let mut file = File::open(models::path(known.file)).unwrap();
    let mut reader = FileReader::with_file_bytes(Some(file.metadata().unwrap().len()));
    let (mut counter, mut buffer) = (Counter::default(), vec![0; 1 << 16]);
    loop {
        let count = file.read(&mut buffer).unwrap();
        if count == 0 {
            break;
        }
        reader.push(&buffer[..count], &mut counter).unwrap();
    }
    reader.finish().unwrap();
    let header = reader.into_header().unwrap();
    assert_eq!(counter.0, known.tensor_bytes);
    assert_eq!(header.data_start, known.data_start);
    assert_eq!(header.metadata.len(), known.keys);
    assert_eq!(header.metadata.str("general.architecture"), Some(known.architecture));
    assert_eq!(
        header.metadata.strings("tokenizer.ggml.tokens").map(|tokens| tokens.len()),
        Some(known.tokens)
    );
    for &(kind, count) in known.tensors {
        assert_eq!(
            header.tensors.iter().filter(|tensor| tensor.kind == kind).count(),
            count,
            "{}",
            kind.name()
        );
    }
    assert_eq!(header.tensors.len(), known.tensors.iter().map(|(_, count)| count).sum::<usize>());
    let (name, dims, kind, offset, bytes) = known.sample;
    let tensor = header.tensors.iter().find(|tensor| tensor.name == name).unwrap();
    assert_eq!((&*tensor.dims, tensor.kind, tensor.offset, tensor.bytes), (dims, kind, offset, bytes));
}

#[test]
fn smollm2_reads_as_the_reference_reads_it() {
    check(&KNOWN[0]);
}

#[test]
fn gemma_reads_as_the_reference_reads_it() {
    check(&KNOWN[1]);
}

#[test]
fn minilm_reads_as_the_reference_reads_it() {
    check(&KNOWN[2]);
}

/// Gemma's quarter of a million tokens: 20 ms here, 0.2 s a byte at a time. The bound leaves room for slow machines and builds.
#[test]
fn a_large_vocabulary_parses_quickly() {
    let mut header = Vec::new();
    File::open(models::path(KNOWN[1].file))
        .unwrap()
        .take(KNOWN[1].data_start)
        .read_to_end(&mut header)
        .unwrap();
    for chunk in [1 << 16, 1] {
        let start = Instant::now();
        let mut parser = Parser::new();
        for chunk in header.chunks(chunk) {
            assert_eq!(parser.push(chunk), Ok(chunk.len()));
        }
        let time = start.elapsed();
        assert!(parser.header().is_some());
        println!("{} bytes of header in chunks of {chunk}: {time:?}", header.len());
        assert!(time < Duration::from_secs(5), "{time:?} in chunks of {chunk}");
    }
}
