//! Finding the first matching route without trying them all.
//!
//! Exact paths and prefixes are looked up by the path itself, so that only routes that can match are tried, in order;
//! what cannot be looked up (regular expressions, paths without case) is tried in order between them.

use std::collections::HashMap;

use super::{PathMatch, RouteMatcher};

/// Candidates by path.
#[derive(Debug, Default)]
pub(crate) struct Index {
    exact: HashMap<Box<[u8]>, Vec<u32>>,
    prefixes: HashMap<Box<[u8]>, Vec<u32>>,
    /// Lengths of prefixes that occur, ascending.
    lengths: Vec<usize>,
    /// Routes that must always be tried.
    others: Vec<u32>,
}

/// Up to so many routes, trying them all is as fast.
const SMALL: usize = 8;

impl Index {
    pub(crate) fn new<'m>(matchers: impl ExactSizeIterator<Item = &'m RouteMatcher>) -> Self {
        let mut index = Self::default();
        let small = matchers.len() <= SMALL;
        for (at, matcher) in matchers.enumerate() {
            let at = at as u32;
            match &matcher.path {
                _ if small || !matcher.case_sensitive => index.others.push(at),
                PathMatch::Exact(path) => index.exact.entry(path.as_bytes().into()).or_default().push(at),
                PathMatch::Prefix(prefix) | PathMatch::Segments(prefix) => {
                    index.prefixes.entry(prefix.as_bytes().into()).or_default().push(at);
                }
                PathMatch::Regex(_) | PathMatch::Connect => index.others.push(at),
            }
        }
        index.lengths = index.prefixes.keys().map(|prefix| prefix.len()).collect();
        index.lengths.sort_unstable();
        index.lengths.dedup();
        index
    }

    /// The lowest route for which `matches` holds.
    pub(crate) fn first(&self, path: &[u8], mut matches: impl FnMut(usize) -> bool) -> Option<usize> {
        let mut best = u32::MAX;
        let mut consider = |candidates: &[u32]| {
            // Ascending: the first that matches is the list's best, and none beyond `best` can be better.
            for at in candidates.iter().take_while(|at| **at < best) {
                if matches(*at as usize) {
                    best = *at;
                    break;
                }
            }
        };
        if let Some(candidates) = self.exact.get(path) {
            consider(candidates);
        }
        for length in self.lengths.iter().take_while(|length| **length <= path.len()) {
            if let Some(candidates) = path.get(..*length).and_then(|prefix| self.prefixes.get(prefix)) {
                consider(candidates);
            }
        }
        consider(&self.others);
        (best != u32::MAX).then_some(best as usize)
    }
}
