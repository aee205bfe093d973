//! Without a card: a model of what a token takes there, from counts that are exact and prices that others have measured.
//! It says what overhead leaves of the bandwidth, not how fast a card is.
//!
//! token = max(D·encode, max(bytes / bandwidth, D·least) + D·gap) + submit + sync / ahead, of D dispatches

use wisplm::gpu::Counts;

/// Prices, in seconds: encoding a dispatch in Chrome, the pause between dispatches that depend on each other, the least
/// that one takes, and a submit.
const ENCODE: f64 = 6e-6;
const GAP: f64 = 4e-6;
const LEAST: f64 = 5e-6;
const SUBMIT: f64 = 0.25e-3;
/// What of a card's bandwidth a good product reaches.
const REACHED: f64 = 0.8;

/// A kind of machine: bytes per second of its memory, and seconds until a result is heard of.
struct Machine {
    name: &'static str,
    bandwidth: f64,
    sync: f64,
}

const MACHINES: [Machine; 4] = [
    Machine { name: "68 GB/s (780M), Windows", bandwidth: 68e9, sync: 2.7e-3 },
    Machine { name: "102 GB/s (M3), macOS", bandwidth: 102e9, sync: 0.45e-3 },
    Machine { name: "273 GB/s (M4 Pro), macOS", bandwidth: 273e9, sync: 0.45e-3 },
    Machine { name: "360 GB/s (RTX 3060), Windows", bandwidth: 360e9, sync: 2.7e-3 },
];

/// Prints the model for a token with these counts.
pub fn print(counts: &Counts) {
    let (dispatches, bytes) = (counts.dispatches as f64, counts.weights as f64);
    println!(
        "    {} dispatches, {} submit, {:.1} MB of weights, {} bytes written, {} read back",
        counts.dispatches,
        counts.submits,
        bytes / 1e6,
        counts.written,
        counts.read
    );
    for Machine { name, bandwidth, sync } in MACHINES {
        // How the bytes are spread over dispatches is left out: those with few are shorter than the least.
        let busy = (bytes / (bandwidth * REACHED)).max(dispatches * LEAST) + dispatches * GAP;
        let token = |ahead: f64| (dispatches * ENCODE).max(busy) + SUBMIT + sync / ahead;
        let share = |seconds: f64| 100.0 * bytes / seconds / bandwidth;
        let (waiting, ahead) = (token(1.0), token(16.0));
        println!(
            "    {name:30} {:6.1} tokens/s, {:3.0} % of bandwidth; {:6.1} where each is waited for   (a model, not measured)",
            1.0 / ahead,
            share(ahead),
            1.0 / waiting,
        );
    }
}
