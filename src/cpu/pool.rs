//! Means of hidden states, which an encoder's vectors are.

use super::{Executor, simd};
use std::ops::Range;

impl Executor {
    /// Of each range of rows of the last step the mean of its states, one after the other; `normalize` gives it the
    /// length 1.
    pub fn means(&mut self, ranges: &[Range<usize>], normalize: bool, means: &mut Vec<f32>) {
        let width = self.plan().embedding_length();
        means.clear();
        for range in ranges {
            let at = means.len();
            means.resize(at + width, 0.0);
            let mean = &mut means[at..];
            for row in range.clone() {
                mean.iter_mut().zip(self.hidden(row)).for_each(|(sum, x)| *sum += x);
            }
            mean.iter_mut().for_each(|sum| *sum /= range.len() as f32);
            if normalize {
                let length = simd::sum_of_squares(mean).sqrt().max(1e-12);
                mean.iter_mut().for_each(|x| *x /= length);
            }
        }
    }
}
