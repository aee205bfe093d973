//! The GPU executor on this machine's own GPU: models of random weights in real models' shapes, decode as a share of
//! the bandwidth that streaming reads have, prefill in operations per second, both beside what they computed.
//!
//!     cargo run --release -p bench-gpu -- [--shapes A,B] [--formats Q4_K,Q8_0] [--tokens N] [--prompt N]
//!
//! With `--estimate yes`, exact counts of a token, and a model of its time on some machines, in place of measurements.

mod cost;
mod shapes;
mod stream;
mod weights;

use shapes::{SHAPES, Shape};
use std::rc::Rc;
use std::sync::LazyLock;
use std::time::Instant;
use wisplm::cpu::KvType;
use wisplm::error::{Error, Result};
use wisplm::executor::{Cache, Draw, Executor, Loading};
use wisplm::gguf::TensorType;
use wisplm::gpu::{Counts, Gpu};

const CONTEXT: usize = 2048;
/// Tokens before anything is timed: the driver compiles what is used first.
const WARM: usize = 8;
/// The least cosine of the GPU's logits and the CPU's, whose activations are of 8 bits.
const LEAST_COSINE: f64 = 0.999;

struct Settings {
    shapes: Vec<&'static Shape>,
    formats: Vec<TensorType>,
    tokens: usize,
    prompt: usize,
    estimate: bool,
}

fn settings() -> std::result::Result<Settings, String> {
    // The first shape is for a look where there is no card.
    let (mut shapes, mut formats): (Vec<&Shape>, _) =
        (SHAPES.iter().skip(1).collect(), vec![TensorType::Q4_K, TensorType::Q8_0]);
    let (mut tokens, mut prompt, mut estimate) = (128, 512, false);
    let mut arguments = std::env::args().skip(1);
    while let Some(option) = arguments.next() {
        let value = arguments.next().ok_or(format!("{option} needs a value"))?;
        let number = || value.parse().map_err(|_| format!("{option}: {value} is no number"));
        match option.as_str() {
            "--shapes" => {
                let named =
                    |name| SHAPES.iter().find(|shape| shape.name == name).ok_or(format!("no shape {name}"));
                shapes = value.split(',').map(named).collect::<std::result::Result<_, _>>()?;
            }
            "--formats" => {
                let named = |name| match name {
                    "Q4_K" => Ok(TensorType::Q4_K),
                    "Q8_0" => Ok(TensorType::Q8_0),
                    _ => Err(format!("no random blocks of {name}")),
                };
                formats = value.split(',').map(named).collect::<std::result::Result<_, _>>()?;
            }
            "--tokens" => tokens = number()?,
            "--prompt" => prompt = number()?,
            "--estimate" => estimate = value == "yes",
            _ => return Err(format!("there is no option {option}")),
        }
    }
    Ok(Settings { shapes, formats, tokens, prompt, estimate })
}

fn load(shape: &Shape, format: TensorType, mut loading: Loading) -> Result<Executor> {
    let tensors = shape.tensors(format);
    for tensor in &tensors {
        weights::fill(tensor, |offset, bytes| loading.push(tensor, offset, bytes))?;
    }
    let began = Instant::now();
    static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
    if let Some(found) = pollster::block_on(loading.tune(|| BEGAN.elapsed().as_secs_f64() * 1e3))? {
        println!("{}: {found}, found in {:.1?}", shape.name, began.elapsed());
    }
    loading.finish(shape.plan(&tensors, CONTEXT)?, KvType::F16)
}

/// Counts what a token takes that the GPU chooses, and prints what that would take elsewhere.
fn estimate(gpu: &Rc<Gpu>, shape: &Shape, format: TensorType) -> Result<()> {
    let mut executor = load(shape, format, Loading::gpu(gpu))?;
    let mut cache = executor.new_cache();
    let greedy = Draw { top_k: 1, ..Draw::default() };
    executor.begin(&mut [(&mut cache, &[1])])?;
    while !executor.advance(&mut [&mut cache], &mut || false)? {}
    executor.choose(0, &greedy, None, None)?;
    while executor.chosen()?.is_none() {}
    let before = gpu.counts();
    executor.follow(&mut cache, &greedy)?;
    while executor.chosen()?.is_none() {}
    let after = gpu.counts();
    println!("{} {}:", shape.name, format.name());
    cost::print(&Counts {
        dispatches: after.dispatches - before.dispatches,
        submits: after.submits - before.submits,
        weights: after.weights - before.weights,
        written: after.written - before.written,
        read: after.read - before.read,
        ..Counts::default()
    });
    Ok(())
}

/// Reads `tokens`, and answers the logits of the last.
fn read(executor: &mut Executor, cache: &mut Cache, tokens: &[u32]) -> Result<Vec<f32>> {
    let mut logits = vec![];
    let mut last = 0;
    for part in tokens.chunks(256) {
        executor.begin(&mut [(&mut *cache, part)])?;
        while !executor.advance(&mut [&mut *cache], &mut || false)? {}
        last = part.len() - 1;
    }
    while !executor.logits(last..last + 1, &mut logits)? {}
    Ok(logits)
}

/// Seconds per token of greedy decoding after `cache`'s last token.
fn decode(executor: &mut Executor, cache: &mut Cache, tokens: usize) -> Result<f64> {
    let greedy = Draw { top_k: 1, ..Draw::default() };
    executor.begin(&mut [(&mut *cache, &[1])])?;
    while !executor.advance(&mut [&mut *cache], &mut || false)? {}
    executor.choose(0, &greedy, None, None)?;
    let mut known = 0;
    let mut began = Instant::now();
    while known < WARM + tokens {
        while executor.follow(cache, &greedy)? {}
        if executor.chosen()?.is_some() {
            known += 1;
            if known == WARM {
                began = Instant::now();
            }
        }
    }
    let seconds = began.elapsed().as_secs_f64() / tokens as f64;
    executor.cancel();
    Ok(seconds)
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

fn measure(
    gpu: &Rc<Gpu>,
    shape: &Shape,
    format: TensorType,
    settings: &Settings,
    ceiling: f64,
) -> Result<()> {
    let mut executor = load(shape, format, Loading::gpu(gpu))?;
    let prompt: Vec<u32> = (0..settings.prompt as u32).map(|k| k * 97 % 1000).collect();
    let mut cache = executor.new_cache();
    let got = read(&mut executor, &mut cache, &prompt)?;

    let mut on_cpu = load(shape, format, Loading::cpu())?;
    let mut other = on_cpu.new_cache();
    let checked = &prompt[..prompt.len().min(32)];
    let want = read(&mut on_cpu, &mut other, checked)?;
    let mut again = executor.new_cache();
    let same = if checked.len() == prompt.len() { got } else { read(&mut executor, &mut again, checked)? };
    let cosine = cosine(&same, &want);
    if cosine < LEAST_COSINE {
        return Err(Error::internal(format!("{}: the logits are wrong: cosine {cosine}", shape.name)));
    }
    drop((on_cpu, other, again));

    let mut cache = executor.new_cache();
    let began = Instant::now();
    read(&mut executor, &mut cache, &prompt)?;
    let prefill = began.elapsed().as_secs_f64();
    let decode = decode(&mut executor, &mut cache, settings.tokens)?;
    let speed = executor.weight_bytes() as f64 / decode;
    println!(
        "{:14} {:5} {:8.0} MB  prefill {:8.1} tokens/s, {:6.2} Tflop/s   decode {:7.1} tokens/s, {:6.1} GB/s, {:4.0} % of streaming   cosine {cosine:.5}",
        shape.name,
        format.name(),
        executor.weight_bytes() as f64 / 1e6,
        prompt.len() as f64 / prefill,
        shape.operations() * prompt.len() as f64 / prefill / 1e12,
        1.0 / decode,
        speed / 1e9,
        100.0 * speed / ceiling,
    );
    Ok(())
}

fn main() {
    let settings = settings().unwrap_or_else(|message| {
        eprintln!("{message}");
        std::process::exit(2);
    });
    let gpu = pollster::block_on(Gpu::open()).unwrap_or_else(|error| {
        eprintln!("{error}");
        std::process::exit(1);
    });
    if settings.estimate {
        println!(
            "{}: counts of a token, and a model of its time (prices from published measurements)",
            gpu.name()
        );
        for (shape, format) in
            settings.shapes.iter().flat_map(|s| settings.formats.iter().map(move |f| (s, f)))
        {
            if let Err(error) = estimate(&gpu, shape, *format) {
                eprintln!("{} {}: {error}", shape.name, format.name());
                std::process::exit(1);
            }
        }
        return;
    }
    let ceiling = stream::bandwidth(1 << 30);
    println!("{}: streaming reads {:.1} GB/s", gpu.name(), ceiling / 1e9);
    for shape in &settings.shapes {
        for format in &settings.formats {
            if let Err(error) = measure(&gpu, shape, *format, &settings, ceiling) {
                eprintln!("{} {}: {error}", shape.name, format.name());
                std::process::exit(1);
            }
        }
    }
}
