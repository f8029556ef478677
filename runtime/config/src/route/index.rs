//! Finding the first matching route without trying them all.
//!
//! Routes are looked up by the text that every path they match begins with, so that only routes that can match are
//! tried, in order; what has no such text (some regular expressions) is tried in order between them.

use std::collections::HashMap;

use super::{PathMatch, RouteMatcher};

/// Candidates by path.
#[derive(Debug, Default)]
pub(crate) struct Index {
    cased: Paths,
    /// Routes whose paths' case does not matter, by the lower case of their text.
    folded: Option<Box<Paths>>,
    /// Routes that must always be tried.
    others: Vec<u32>,
}

#[derive(Debug, Default)]
struct Paths {
    exact: HashMap<Box<[u8]>, Vec<u32>>,
    prefixes: HashMap<Box<[u8]>, Vec<u32>>,
    /// Lengths of prefixes that occur, ascending.
    lengths: Vec<usize>,
}

/// Up to so many routes, trying them all is as fast.
const SMALL: usize = 8;

impl Index {
    pub(crate) fn new<'m>(matchers: impl ExactSizeIterator<Item = &'m RouteMatcher>) -> Self {
        let mut index = Self::default();
        let small = matchers.len() <= SMALL;
        for (at, matcher) in matchers.enumerate() {
            let at = at as u32;
            match matcher.path.literal().filter(|text| !small && !text.is_empty()) {
                None => index.others.push(at),
                Some(text) if matcher.case_sensitive => index.cased.insert(&matcher.path, text.as_bytes(), at),
                Some(text) => {
                    let text = text.to_ascii_lowercase();
                    index.folded.get_or_insert_default().insert(&matcher.path, text.as_bytes(), at);
                }
            }
        }
        index.cased.finish();
        if let Some(folded) = &mut index.folded {
            folded.finish();
        }
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
        self.cased.each(path, &mut consider);
        if let Some(folded) = &self.folded {
            folded.each(&path.to_ascii_lowercase(), &mut consider);
        }
        consider(&self.others);
        (best != u32::MAX).then_some(best as usize)
    }
}

impl Paths {
    fn insert(&mut self, path: &PathMatch, text: &[u8], at: u32) {
        let map = if matches!(path, PathMatch::Exact(_)) { &mut self.exact } else { &mut self.prefixes };
        map.entry(text.into()).or_default().push(at);
    }

    fn finish(&mut self) {
        self.lengths = self.prefixes.keys().map(|prefix| prefix.len()).collect();
        self.lengths.sort_unstable();
        self.lengths.dedup();
    }

    fn each(&self, path: &[u8], consider: &mut impl FnMut(&[u32])) {
        if let Some(candidates) = self.exact.get(path) {
            consider(candidates);
        }
        for length in self.lengths.iter().take_while(|length| **length <= path.len()) {
            if let Some(candidates) = path.get(..*length).and_then(|prefix| self.prefixes.get(prefix)) {
                consider(candidates);
            }
        }
    }
}
