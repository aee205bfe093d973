//! From logits to a token.
//!
//! Order: bias and penalties, temperature, top-k, top-p, min-p, then a draw. At temperature 0 the most probable
//! token is taken, the lower id of two equals.

use super::options::Options;
use super::random::uniform;
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
        let token = if self.options.temperature == 0.0 { argmax(logits) } else { self.draw(logits) };
        *self.counts.entry(token).or_default() += 1;
        self.step += 1;
        token
    }

    fn adjust(&self, logits: &mut [f32]) {
        for (token, bias) in &self.options.logit_bias {
            if let Some(logit) = logits.get_mut(*token as usize) {
                *logit += bias;
            }
        }
        let Options { repeat_penalty, frequency_penalty, presence_penalty, .. } = self.options;
        if (repeat_penalty, frequency_penalty, presence_penalty) == (1.0, 0.0, 0.0) {
            return;
        }
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
        let first = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let floor = first - NEGLIGIBLE * temperature;
        let candidates = &mut self.candidates;
        candidates.clear();
        candidates.extend(
            (0..)
                .zip(logits)
                .filter(|(_, logit)| **logit >= floor)
                .map(|(token, &logit)| Candidate { token, logit }),
        );
        let order = |a: &Candidate, b: &Candidate| {
            b.logit.partial_cmp(&a.logit).unwrap_or(Ordering::Equal).then(a.token.cmp(&b.token))
        };
        let k = match self.options.top_k as usize {
            0 => candidates.len(),
            k => k.min(candidates.len()),
        };
        if k < candidates.len() {
            candidates.select_nth_unstable_by(k, order);
            candidates.truncate(k);
        }
        candidates.sort_unstable_by(order);

        let weight = |candidate: &Candidate| ((candidate.logit - first) / temperature).exp();
        let total: f32 = candidates.iter().map(weight).sum();
        let mut sum = 0.0;
        let mut kept = 0;
        for candidate in candidates.iter() {
            let w = weight(candidate);
            if kept > 0 && (sum >= self.options.top_p * total || w < self.options.min_p) {
                break;
            }
            sum += w;
            kept += 1;
        }
        let mut left = uniform(self.seed, self.step) * sum;
        for candidate in &candidates[..kept] {
            left -= weight(candidate);
            if left < 0.0 {
                return candidate.token;
            }
        }
        // Rounding can leave a little over; NaN logits leave no candidate at all.
        candidates[..kept].last().map_or_else(|| argmax(logits), |candidate| candidate.token)
    }
}

/// The index of the largest value, the first of equals.
fn argmax(logits: &[f32]) -> u32 {
    let first = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    logits.iter().position(|logit| *logit == first).unwrap_or(0) as u32
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

    #[test]
    fn a_seed_repeats_and_penalties_forbid() {
        let seeded = Options { seed: Some(7), temperature: 2.0, ..Options::default() };
        assert_eq!(draws(seeded.clone(), &LOGITS, 50), draws(seeded, &LOGITS, 50));
        let once = Options { temperature: 0.0, presence_penalty: 10.0, ..Options::default() };
        assert_eq!(draws(once, &LOGITS, 5), [1, 3, 2, 0, 4]);
    }

    #[test]
    fn nan_logits_still_give_a_token() {
        assert_eq!(draws(Options::default(), &[f32::NAN; 4], 2), [0, 0]);
    }
}
