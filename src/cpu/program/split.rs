//! How the columns of a slot are dealt to threads.

use crate::quant::PANEL;
use std::ops::Range;

/// For each thread, the columns that are its own: one range each, in order, and together all of them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Split(Vec<Range<usize>>);

impl Split {
    /// Parts of about equal size, in units of `unit` columns.
    pub fn even(width: usize, unit: usize, threads: usize) -> Self {
        let units = width.div_ceil(unit);
        Split(
            (0..threads)
                .map(|t| units * t / threads * unit..edge(units * (t + 1) / threads, unit, width))
                .collect(),
        )
    }

    /// Parts of these many units each.
    fn sized(width: usize, unit: usize, sizes: &[usize]) -> Self {
        let mut first = 0;
        let range = |size: &usize| {
            let range = edge(first, unit, width)..edge(first + size, unit, width);
            first += size;
            range
        };
        Split(sizes.iter().map(range).collect())
    }

    /// A thread's columns.
    pub fn range(&self, thread: usize) -> Range<usize> {
        self.0[thread].clone()
    }

    /// Whether every part begins and ends at a multiple of `width`.
    pub fn respects(&self, width: usize) -> bool {
        self.0.iter().all(|range| range.start.is_multiple_of(width) && range.end.is_multiple_of(width))
    }
}

fn edge(units: usize, unit: usize, width: usize) -> usize {
    (units * unit).min(width)
}

/// A product of a run: how many outputs it has, and of how many the heads consist that must stay whole.
#[derive(Debug, Clone, Copy)]
pub struct Product {
    pub outputs: usize,
    pub head: Option<usize>,
}

/// Deals the panels of a run of products over the same input so that each thread has about the same work.
///
/// A thread stores the keys and values that it computes, so it gets whole heads of those. There may be few (one
/// head of 256 and its values, for Gemma), so all of them are dealt as one sequence, and the first product without
/// heads, the queries, makes up for what is uneven.
pub fn deal(run: &[Product], threads: usize) -> Vec<Split> {
    // Panels may not cut a head, nor heads a panel.
    let unit = |product: &Product| product.head.map_or(PANEL, |head| head / gcd(head, PANEL) * PANEL);
    let units = |product: &Product| product.outputs.div_ceil(unit(product));
    let heads: usize = run.iter().filter(|product| product.head.is_some()).map(units).sum();
    let mut load = vec![0; threads];
    let mut dealt = 0;
    let mut splits: Vec<Option<Split>> = vec![None; run.len()];
    for (split, product) in splits.iter_mut().zip(run).filter(|(_, product)| product.head.is_some()) {
        let own = dealt..dealt + units(product);
        dealt = own.end;
        let sizes: Vec<usize> = (0..threads)
            .map(|t| {
                let part = (heads * t / threads).max(own.start)..(heads * (t + 1) / threads).min(own.end);
                part.len()
            })
            .collect();
        for (load, size) in load.iter_mut().zip(&sizes) {
            *load += size * unit(product) / PANEL;
        }
        *split = Some(Split::sized(product.outputs, unit(product), &sizes));
    }
    for (split, product) in splits.iter_mut().zip(run).filter(|(_, product)| product.head.is_none()) {
        if load.iter().all(|panels| *panels == load[0]) {
            *split = Some(Split::even(product.outputs, PANEL, threads));
            continue;
        }
        let mut sizes = vec![0; threads];
        for _ in 0..units(product) {
            let least = (0..threads).min_by_key(|t| load[*t]).unwrap_or(0);
            load[least] += 1;
            sizes[least] += 1;
        }
        // From here on all are even, as far as this product goes.
        load.fill(0);
        *split = Some(Split::sized(product.outputs, PANEL, &sizes));
    }
    splits.into_iter().flatten().collect()
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(split: &Split) -> Vec<usize> {
        split.0.iter().map(ExactSizeIterator::len).collect()
    }

    #[test]
    fn parts_cover_all_columns_in_order() {
        for (width, unit, threads) in [(576, 8, 2), (577, 8, 3), (5, 8, 4), (1536, 64, 7), (256, 256, 2)] {
            let split = Split::even(width, unit, threads);
            let mut end = 0;
            for range in &split.0 {
                assert_eq!(range.start.min(range.end), end.min(range.end), "{split:?}");
                end = range.end;
            }
            assert_eq!(end, width);
        }
    }

    #[test]
    fn queries_make_up_for_uneven_heads() {
        // SmolLM2: three heads of 64 for keys and for values, nine for queries; 120 panels.
        let product = |outputs, head| Product { outputs, head };
        let run = [product(576, None), product(192, Some(64)), product(192, Some(64))];
        let splits = deal(&run, 2);
        assert_eq!(splits.iter().map(sizes).collect::<Vec<_>>(), [[288, 288], [192, 0], [0, 192]]);
        let splits = deal(&run, 4);
        let load: Vec<usize> =
            (0..4).map(|t| splits.iter().map(|split| split.range(t).len()).sum()).collect();
        assert_eq!(load, [240; 4]);
        // Gemma 3 270M: one head of 256 and four for queries.
        let run = [product(1024, None), product(256, Some(256)), product(256, Some(256))];
        for threads in [2, 4] {
            let splits = deal(&run, threads);
            assert!(
                (0..threads)
                    .all(|t| splits.iter().map(|s| s.range(t).len()).sum::<usize>() == 1536 / threads)
            );
        }
        // Heads that no panel divides stay whole.
        let splits = deal(&[product(60, Some(20)), product(60, Some(20))], 2);
        assert!(splits.iter().all(|split| split.respects(20)), "{splits:?}");
    }

    #[test]
    fn products_without_heads_are_split_alike() {
        let product = Product { outputs: 1536, head: None };
        let splits = deal(&[product; 2], 5);
        assert_eq!(splits[0], splits[1]);
    }
}
