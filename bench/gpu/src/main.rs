//! The GPU executor on this machine's own GPU: models of random weights in real models' shapes, decode as a share of
//! the bandwidth that streaming reads have, prefill in operations per second, both beside llama.cpp's Vulkan path on the
//! same weights. What was computed is compared with the CPU's executor.
//!
//!     make bench-gpu ARGS="[--shapes A,B] [--formats Q4_K,Q8_0] [--tokens N] [--prompt N] [--peer no]"
//!
//! With `--estimate yes`, exact counts of a token, and a model of its time on some machines, in place of measurements.

mod cost;
mod file;
mod peer;
mod shapes;
mod stream;
mod weights;

use shapes::{SHAPES, Shape};
use std::rc::Rc;
use std::sync::LazyLock;
use std::time::Instant;
use wisplm::cpu::{Activations, KvType};
use wisplm::error::{Error, Result};
use wisplm::executor::{Cache, Draw, Executor, Loading};
use wisplm::gguf::TensorType;
use wisplm::gpu::{Counts, Gpu};

const CONTEXT: usize = 2048;
/// Tokens before anything is timed: the driver compiles what is used first.
const WARM: usize = 8;
/// The least cosine of the GPU's logits and the CPU's, whose activations are of 8 bits.
const LEAST_COSINE: f64 = 0.999;
/// How much worse a token may be than the best, in deviations of the logits: a cosine of 0.999 leaves 0.045 of each.
const MOST_WORSE: f64 = 0.2;
/// What is decoded after.
const FIRST: u32 = 1;

struct Settings {
    shapes: Vec<&'static Shape>,
    formats: Vec<TensorType>,
    tokens: usize,
    prompt: usize,
    estimate: bool,
    /// Whether llama.cpp is measured beside.
    peer: bool,
}

fn settings() -> std::result::Result<Settings, String> {
    // The first shape is for a look where there is no card.
    let (mut shapes, mut formats): (Vec<&Shape>, _) =
        (SHAPES.iter().skip(1).collect(), vec![TensorType::Q4_K, TensorType::Q8_0]);
    let (mut tokens, mut prompt, mut estimate, mut peer) = (128, 512, false, true);
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
            "--peer" => peer = value != "no",
            _ => return Err(format!("there is no option {option}")),
        }
    }
    Ok(Settings { shapes, formats, tokens, prompt, estimate, peer })
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
    loading.finish(shape.plan(&tensors, CONTEXT)?, KvType::F16, Activations::Auto)
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

/// Seconds per token of greedy decoding after `cache`'s last token, and the tokens.
fn decode(executor: &mut Executor, cache: &mut Cache, tokens: usize) -> Result<(f64, Vec<u32>)> {
    let greedy = Draw { top_k: 1, ..Draw::default() };
    executor.begin(&mut [(&mut *cache, &[FIRST])])?;
    while !executor.advance(&mut [&mut *cache], &mut || false)? {}
    executor.choose(0, &greedy, None, None)?;
    let mut chosen = vec![];
    let mut began = Instant::now();
    while chosen.len() < WARM + tokens {
        while executor.follow(cache, &greedy)? {}
        if let Some(token) = executor.chosen()? {
            chosen.push(token);
            if chosen.len() == WARM {
                began = Instant::now();
            }
        }
    }
    let seconds = began.elapsed().as_secs_f64() / tokens as f64;
    executor.cancel();
    Ok((seconds, chosen))
}

/// Refuses tokens that the CPU, after the same prompt, finds much worse than the best: by more than [`MOST_WORSE`] of the
/// logits' deviation.
fn check(on_cpu: &mut Executor, cache: &mut Cache, chosen: &[u32]) -> Result<()> {
    let mut last = FIRST;
    for token in chosen {
        let logits = read(on_cpu, cache, &[last])?;
        let mean = logits.iter().map(|l| f64::from(*l)).sum::<f64>() / logits.len() as f64;
        let variance =
            logits.iter().map(|l| (f64::from(*l) - mean).powi(2)).sum::<f64>() / logits.len() as f64;
        let best = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let worse = f64::from(best - logits[*token as usize]) / variance.sqrt();
        if worse > MOST_WORSE {
            return Err(Error::internal(format!(
                "token {token} is wrong: {worse:.2} deviations from the best"
            )));
        }
        last = *token;
    }
    Ok(())
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
    // The driver compiles what is used first.
    let mut first = executor.new_cache();
    read(&mut executor, &mut first, &prompt)?;
    drop(first);
    let mut cache = executor.new_cache();
    let began = Instant::now();
    let got = read(&mut executor, &mut cache, &prompt)?;
    let prefill = began.elapsed().as_secs_f64();
    let (decode, chosen) = decode(&mut executor, &mut cache, settings.tokens)?;

    let mut on_cpu = load(shape, format, Loading::cpu())?;
    let mut other = on_cpu.new_cache();
    let want = read(&mut on_cpu, &mut other, &prompt)?;
    let cosine = cosine(&got, &want);
    if cosine < LEAST_COSINE {
        return Err(Error::internal(format!("{}: the logits are wrong: cosine {cosine}", shape.name)));
    }
    check(&mut on_cpu, &mut other, &chosen[..WARM])?;
    drop((on_cpu, other));

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
    // The card's memory is to hold one model at a time.
    drop((executor, cache));
    if settings.peer {
        let peer = peer::measure(shape, format, CONTEXT, settings.prompt, settings.tokens)?;
        println!(
            "{:30} llama.cpp {} on {}: prefill {:8.1} tokens/s, decode {:7.1}; wisplm over it: {:.2} ×, {:.2} ×",
            "",
            peer.release,
            peer.devices,
            peer.prefill,
            peer.decode,
            prompt.len() as f64 / prefill / peer.prefill,
            1.0 / decode / peer.decode,
        );
    }
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
