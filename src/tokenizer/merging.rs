//! Merging neighbours into tokens, best first, until no two of them make one: what both kinds of BPE do.

use std::collections::BinaryHeap;
use std::{cmp::Reverse, mem::replace};

/// Stands for "no token", and for "no neighbour".
pub const NONE: u32 = u32::MAX;

/// A stretch of the text; merged away when `len` is 0.
pub struct Part {
    pub start: u32,
    pub len: u32,
    /// The token that reads so, or `NONE`.
    pub token: u32,
    before: u32,
    after: u32,
}

impl Part {
    pub fn new(start: usize, len: usize, token: Option<u32>) -> Self {
        Part { start: start as u32, len: len as u32, token: token.unwrap_or(NONE), before: NONE, after: NONE }
    }
}

/// Two neighbours that make a token. The order of the fields is that in which they are joined.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Join {
    turn: u32,
    left: u32,
    right: u32,
    /// Bytes of both, which tells whether one of them has changed since.
    len: u32,
    token: u32,
}

/// Merges parts. `join` says what two neighbours make, if anything: when it is its turn, lower numbers first and of
/// equal ones the leftmost, and the token.
pub fn merge(parts: &mut [Part], join: impl Fn(&Part, &Part) -> Option<(u32, u32)>) {
    let last = parts.len().saturating_sub(1) as u32;
    for (index, part) in (0..).zip(parts.iter_mut()) {
        part.before = if index == 0 { NONE } else { index - 1 };
        part.after = if index == last { NONE } else { index + 1 };
    }
    let mut queue = BinaryHeap::new();
    let consider = |queue: &mut BinaryHeap<Reverse<Join>>, parts: &[Part], left: u32, right: u32| {
        let (a, b) = (&parts[left as usize], &parts[right as usize]);
        if let Some((turn, token)) = join(a, b) {
            queue.push(Reverse(Join { turn, left, right, len: a.len + b.len, token }));
        }
    };
    for right in 1..parts.len() as u32 {
        consider(&mut queue, parts, right - 1, right);
    }
    while let Some(Reverse(Join { left, right, len, token, .. })) = queue.pop() {
        // Either may have been merged with another neighbour since.
        let lens = [left, right].map(|index| parts[index as usize].len);
        if lens.contains(&0) || lens[0] + lens[1] != len {
            continue;
        }
        let merged_away = &mut parts[right as usize];
        merged_away.len = 0;
        let after = replace(&mut merged_away.after, NONE);
        let merged = &mut parts[left as usize];
        (merged.len, merged.token, merged.after) = (len, token, after);
        let before = merged.before;
        if after != NONE {
            parts[after as usize].before = left;
            consider(&mut queue, parts, left, after);
        }
        if before != NONE {
            consider(&mut queue, parts, before, left);
        }
    }
}
