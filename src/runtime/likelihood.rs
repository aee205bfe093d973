//! How likely a token was, and which would have been likelier.

use super::score::log_normalizer;

/// Of a token that was chosen: natural logarithms of probabilities, as the model has them.
#[derive(Debug, Clone, PartialEq)]
pub struct Likelihood {
    pub logprob: f32,
    /// The likeliest tokens, the likeliest first, the lower id of two equals.
    pub top: Vec<(u32, f32)>,
}

impl Likelihood {
    /// Of `token`, with the `n` likeliest beside it.
    pub fn of(logits: &[f32], token: u32, n: usize) -> Self {
        let normalizer = log_normalizer(logits);
        let logprob = |token: u32| (f64::from(logits[token as usize]) - normalizer) as f32;
        let mut order: Vec<u32> = (0..logits.len() as u32).collect();
        let likelier = |a: &u32, b: &u32| {
            let [x, y] = [*a, *b].map(|token| logits[token as usize]);
            y.total_cmp(&x).then(a.cmp(b))
        };
        let n = n.min(order.len());
        if n < order.len() {
            order.select_nth_unstable_by(n, likelier);
            order.truncate(n);
        }
        order.sort_unstable_by(likelier);
        let top = order.into_iter().map(|token| (token, logprob(token))).collect();
        Likelihood { logprob: logprob(token), top }
    }
}

#[cfg(test)]
mod tests {
    use super::Likelihood;

    #[test]
    fn the_likeliest_come_first_with_the_logarithms_of_their_probabilities() {
        let logits = [1.0, 3.0, 2.0, 3.0, -1.0];
        let sum: f32 = logits.iter().map(|logit: &f32| logit.exp()).sum();
        let Likelihood { logprob, top } = Likelihood::of(&logits, 2, 3);
        assert!((logprob - (2.0 - sum.ln())).abs() < 1e-6);
        assert_eq!(top.iter().map(|(token, _)| *token).collect::<Vec<_>>(), [1, 3, 2]);
        for (token, logprob) in top {
            assert!((logprob - (logits[token as usize] - sum.ln())).abs() < 1e-6);
        }
        assert!(Likelihood::of(&logits, 0, 0).top.is_empty());
        assert_eq!(Likelihood::of(&logits, 0, 9).top.len(), 5);
    }
}
