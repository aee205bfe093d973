//! From logits to a token.
//!
//! Order: bias and penalties, temperature, top-k, top-p, min-p, then a draw. At temperature 0 the most probable
//! token is taken, the lower id of two equals.

use super::options::Options;
use super::random::uniform;
use crate::cpu::simd;
use crate::executor::{Draw, lowest};
use std::cmp::Ordering;
use std::collections::HashMap;

/// A logit this far (in units of the temperature) below the first has a probability below 10⁻¹³.
const NEGLIGIBLE: f32 = 30.0;

/// Draws tokens by a generation's options.
pub struct Sampler {
    options: Options,
    seed: u32,
    step: u32,
    /// Tokens of prompt and answer, and how often each has occurred in the answer.
    counts: HashMap<u32, u32>,
    candidates: Vec<Candidate>,
}

#[derive(Clone, Copy)]
struct Candidate {
    token: u32,
    logit: f32,
    /// Its probability in proportion to the first's.
    weight: f32,
}

impl Sampler {
    /// A sampler for an answer to `prompt`, with the seed to use if the options have none.
    pub fn new(options: &Options, prompt: &[u32], random_seed: u32) -> Self {
        let counts = prompt.iter().map(|token| (*token, 0)).collect();
        let seed = options.seed.unwrap_or(random_seed);
        Sampler { options: options.clone(), seed, step: 0, counts, candidates: Vec::new() }
    }

    /// Chooses a token and remembers it. `logits` are changed by biases and penalties.
    pub fn sample(&mut self, logits: &mut [f32]) -> u32 {
        self.adjust(logits);
        let token = self.pick(logits);
        self.note(token);
        token
    }

    /// The same among the tokens of `allowed`, of which there is one at least: bit `t % 32` of word `t / 32` for token `t`.
    /// Where the logits of all of them are -∞ or no numbers it is the lowest.
    pub fn sample_among(&mut self, logits: &mut [f32], allowed: &[u32]) -> u32 {
        forbid(logits, allowed);
        self.adjust(logits);
        let none = simd::maximum(logits) == f32::NEG_INFINITY;
        let token = if none { lowest(allowed).unwrap_or(0) } else { self.pick(logits) };
        self.note(token);
        token
    }

    fn pick(&mut self, logits: &[f32]) -> u32 {
        if self.options.temperature == 0.0 { argmax(logits) } else { self.draw(logits) }
    }

    /// Remembers a token that an executor has chosen.
    pub fn note(&mut self, token: u32) {
        *self.counts.entry(token).or_default() += 1;
        self.step += 1;
    }

    /// How an executor draws the token that comes after `ahead` others that are not known yet.
    pub fn parameters(&self, ahead: usize) -> Draw {
        let options = &self.options;
        Draw {
            top_k: if options.temperature == 0.0 { 1 } else { options.top_k },
            temperature: options.temperature,
            top_p: options.top_p,
            min_p: options.min_p,
            seed: self.seed,
            step: self.step + ahead as u32,
            repeat_penalty: options.repeat_penalty,
            frequency_penalty: options.frequency_penalty,
            presence_penalty: options.presence_penalty,
            adjusts: self.penalizes() || !options.logit_bias.is_empty(),
        }
    }

    /// Of each token of a vocabulary its bias, and one more than how often it has occurred in the answer, or 0 if it
    /// has not occurred at all.
    pub fn adjustments(&self, vocabulary: usize) -> Vec<[f32; 2]> {
        let mut all = vec![[0.0; 2]; vocabulary];
        for (token, bias) in &self.options.logit_bias {
            if let Some([at, _]) = all.get_mut(*token as usize) {
                *at = *bias;
            }
        }
        for (token, count) in &self.counts {
            if let Some([_, occurred]) = all.get_mut(*token as usize) {
                *occurred = (count + 1) as f32;
            }
        }
        all
    }

    fn penalizes(&self) -> bool {
        let Options { repeat_penalty, frequency_penalty, presence_penalty, .. } = self.options;
        (repeat_penalty, frequency_penalty, presence_penalty) != (1.0, 0.0, 0.0)
    }

    fn adjust(&self, logits: &mut [f32]) {
        for (token, bias) in &self.options.logit_bias {
            if let Some(logit) = logits.get_mut(*token as usize) {
                *logit += bias;
            }
        }
        if !self.penalizes() {
            return;
        }
        let Options { repeat_penalty, frequency_penalty, presence_penalty, .. } = self.options;
        for (token, count) in &self.counts {
            let Some(logit) = logits.get_mut(*token as usize) else { continue };
            *logit = if *logit > 0.0 { *logit / repeat_penalty } else { *logit * repeat_penalty };
            if *count > 0 {
                *logit -= frequency_penalty * *count as f32 + presence_penalty;
            }
        }
    }

    fn draw(&mut self, logits: &[f32]) -> u32 {
        let temperature = self.options.temperature;
        let first = simd::maximum(logits);
        let k = match self.options.top_k as usize {
            0 => logits.len(),
            k => k.min(logits.len()),
        };
        self.collect(logits, k, first - NEGLIGIBLE * temperature);
        let candidates = &mut self.candidates;
        for candidate in candidates.iter_mut() {
            candidate.weight = ((candidate.logit - first) / temperature).exp();
        }
        // In f64: of a quarter of a million small weights f32 would lose some.
        let total: f64 = candidates.iter().map(|candidate| f64::from(candidate.weight)).sum();

        let enough = f64::from(self.options.top_p) * total;
        let (mut sum, mut kept, mut sorted) = (0.0, 0, 0);
        while kept < candidates.len() {
            if kept == sorted {
                // The rest is put in order as far as it is needed: mostly some dozens of a quarter of a million.
                sorted = sort_more(candidates, sorted);
            }
            let weight = candidates[kept].weight;
            if kept > 0 && (sum >= enough || weight < self.options.min_p) {
                break;
            }
            sum += f64::from(weight);
            kept += 1;
        }
        let mut left = f64::from(uniform(self.seed, self.step)) * sum;
        for candidate in &candidates[..kept] {
            left -= f64::from(candidate.weight);
            if left < 0.0 {
                return candidate.token;
            }
        }
        // Rounding can leave a little over; NaN logits leave no candidate at all.
        candidates[..kept].last().map_or_else(|| argmax(logits), |candidate| candidate.token)
    }

    /// Collects the `k` first tokens among those of at least `floor`, in no order.
    fn collect(&mut self, logits: &[f32], k: usize, mut floor: f32) {
        let candidates = &mut self.candidates;
        candidates.clear();
        // More than k are at hand only from time to time, and each time the floor rises.
        let most = (k * 2).max(1024);
        for (run, values) in (0..).zip(logits.chunks(RUN)) {
            if simd::maximum(values) < floor {
                continue;
            }
            for (token, &logit) in (run * RUN as u32..).zip(values) {
                if logit >= floor {
                    candidates.push(Candidate { token, logit, weight: 0.0 });
                }
            }
            if candidates.len() > most {
                candidates.select_nth_unstable_by(k - 1, order);
                candidates.truncate(k);
                floor = candidates[k - 1].logit;
            }
        }
        if candidates.len() > k {
            candidates.select_nth_unstable_by(k - 1, order);
            candidates.truncate(k);
        }
    }
}

/// Rules out the tokens whose bit is not set.
fn forbid(logits: &mut [f32], allowed: &[u32]) {
    let words = allowed.iter().copied().chain(std::iter::repeat(0));
    for (word, logits) in words.zip(logits.chunks_mut(32)) {
        match word {
            u32::MAX => {}
            0 => logits.fill(f32::NEG_INFINITY),
            _ => {
                for (bit, logit) in logits.iter_mut().enumerate() {
                    if word >> bit & 1 == 0 {
                        *logit = f32::NEG_INFINITY;
                    }
                }
            }
        }
    }
}

/// Logits that are looked at together when most of them are too small.
const RUN: usize = 64;
/// Logits whose maximum is found before it is asked where it is.
const ARGMAX_RUN: usize = 4096;

/// From the most probable to the least, the lower id of two equals first.
fn order(a: &Candidate, b: &Candidate) -> Ordering {
    b.logit.partial_cmp(&a.logit).unwrap_or(Ordering::Equal).then(a.token.cmp(&b.token))
}

/// Of candidates whose first `sorted` are in their places, puts some more in theirs, and returns how many are.
fn sort_more(candidates: &mut [Candidate], sorted: usize) -> usize {
    let next = (sorted * 4).max(64);
    let rest = &mut candidates[sorted..];
    if next - sorted < rest.len() {
        rest.select_nth_unstable_by(next - sorted, order);
        rest[..next - sorted].sort_unstable_by(order);
        next
    } else {
        rest.sort_unstable_by(order);
        candidates.len()
    }
}

/// The index of the largest value, the first of equals.
fn argmax(logits: &[f32]) -> u32 {
    let (mut first, mut at) = (f32::NEG_INFINITY, 0);
    for (run, values) in logits.chunks(ARGMAX_RUN).enumerate() {
        let maximum = simd::maximum(values);
        if maximum > first {
            (first, at) = (maximum, run * ARGMAX_RUN);
        }
    }
    let within = logits[at..].iter().position(|logit| *logit == first);
    (at + within.unwrap_or(0)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draws(options: Options, logits: &[f32], n: u32) -> Vec<u32> {
        let mut sampler = Sampler::new(&options, &[], 1);
        (0..n).map(|_| sampler.sample(&mut logits.to_vec())).collect()
    }

    const LOGITS: [f32; 5] = [1.0, 3.0, 2.0, 3.0, -1.0];

    #[test]
    fn greedy_takes_the_first_maximum() {
        assert_eq!(draws(Options { temperature: 0.0, ..Options::default() }, &LOGITS, 3), [1, 1, 1]);
    }

    #[test]
    fn frequencies_follow_the_softmax() {
        let all = Options { temperature: 1.0, top_k: 0, top_p: 1.0, min_p: 0.0, ..Options::default() };
        let n = 100_000;
        let draws = draws(all, &LOGITS, n);
        let total: f32 = LOGITS.iter().map(|l| l.exp()).sum();
        for (token, logit) in LOGITS.iter().enumerate() {
            let share = draws.iter().filter(|d| **d == token as u32).count() as f32 / n as f32;
            assert!((share - logit.exp() / total).abs() < 0.01, "token {token}: {share}");
        }
    }

    #[test]
    fn truncations_keep_what_they_say() {
        let open = Options { temperature: 1.0, top_k: 0, top_p: 1.0, min_p: 0.0, ..Options::default() };
        let kinds = |options: Options| {
            let mut tokens = draws(options, &LOGITS, 2_000);
            tokens.sort_unstable();
            tokens.dedup();
            tokens
        };
        assert_eq!(kinds(Options { top_k: 1, ..open.clone() }), [1]);
        assert_eq!(kinds(Options { top_k: 3, ..open.clone() }), [1, 2, 3]);
        assert_eq!(kinds(Options { top_p: 0.5, ..open.clone() }), [1, 3]);
        assert_eq!(kinds(Options { min_p: 0.3, ..open.clone() }), [1, 2, 3]);
        assert_eq!(kinds(Options { logit_bias: [(4, 100.0)].into(), ..open }), [4]);
    }

    /// Over a large vocabulary, where candidates are collected in part and sorted in part, the choice is that of a
    /// sampler that sorts all of it.
    #[test]
    fn large_vocabularies_are_sampled_as_small_ones() {
        let logits: Vec<f32> =
            (0..40_000u32).map(|k| (k.wrapping_mul(2_654_435_761) >> 12) as f32 / 5e4).collect();
        let mut sorted: Vec<(u32, f32)> = (0..).zip(logits.iter().copied()).collect();
        sorted.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        for (top_k, top_p, min_p, temperature) in [
            (40, 0.95, 0.05, 0.8),
            (0, 0.9, 0.0, 1.0),
            (0, 1.0, 0.0, 1.5),
            (3000, 0.999, 0.0, 2.0),
            (1, 1.0, 0.0, 1.0),
        ] {
            let options = Options { temperature, top_k, top_p, min_p, seed: Some(5), ..Options::default() };
            let weight = |logit: f32| f64::from((logit - sorted[0].1) / temperature).exp();
            let k = if top_k == 0 { sorted.len() } else { top_k as usize };
            let total: f64 = sorted[..k].iter().map(|(_, logit)| weight(*logit)).sum();
            let mut kept = Vec::new();
            let mut sum = 0.0;
            for (token, logit) in &sorted[..k] {
                if !kept.is_empty() && (sum >= f64::from(top_p) * total || weight(*logit) < f64::from(min_p))
                {
                    break;
                }
                sum += weight(*logit);
                kept.push((*token, sum));
            }
            for (step, token) in (0..).zip(draws(options, &logits, 200)) {
                let at = kept.iter().position(|(kept, _)| *kept == token).expect("a token that is kept");
                let before = if at == 0 { 0.0 } else { kept[at - 1].1 };
                let drawn = f64::from(uniform(5, step)) * sum;
                // Weights are rounded to f32.
                let slack = 1e-6 * sum;
                assert!(
                    before - slack <= drawn && drawn <= kept[at].1 + slack,
                    "k {top_k}, p {top_p}: step {step}"
                );
            }
        }
        assert_eq!(argmax(&logits), sorted[0].0);
        assert_eq!(argmax(&[&[f32::NAN, 1.0][..], &[2.0; 200]].concat()), 2);
    }

    #[test]
    fn a_seed_repeats_and_penalties_forbid() {
        let seeded = Options { seed: Some(7), temperature: 2.0, ..Options::default() };
        assert_eq!(draws(seeded.clone(), &LOGITS, 50), draws(seeded, &LOGITS, 50));
        let once = Options { temperature: 0.0, presence_penalty: 10.0, ..Options::default() };
        assert_eq!(draws(once, &LOGITS, 5), [1, 3, 2, 0, 4]);
    }

    #[test]
    fn what_is_forbidden_is_never_drawn() {
        let mut logits = vec![0.0; 100];
        let allowed = [0, 1 << 7 | 1 << 31, u32::MAX];
        forbid(&mut logits, &allowed);
        let left: Vec<usize> = (0..100).filter(|token| logits[*token] == 0.0).collect();
        assert_eq!(left, [39, 63].into_iter().chain(64..96).collect::<Vec<_>>());
        let hot = Options { temperature: 5.0, top_k: 0, top_p: 1.0, min_p: 0.0, ..Options::default() };
        assert!(draws(hot, &logits, 1000).iter().all(|token| left.contains(&(*token as usize))));
    }

    #[test]
    fn nan_logits_still_give_a_token() {
        assert_eq!(draws(Options::default(), &[f32::NAN; 4], 2), [0, 0]);
    }
}
