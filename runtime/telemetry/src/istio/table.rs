//! One worker's series.

use std::hash::{BuildHasher, RandomState};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use ringway_api::Counter;

use super::buckets::{Durations, Sizes};
use super::facts::{Facts, OwnFacts};

/// The series of one worker: found by their facts without memory or a lock, made once, never removed.
///
/// The worker writes, the control plane reads. A slot is filled once and for all before anybody can see it, and its
/// cells are written by that worker alone.
pub(super) struct Table {
    hasher: RandomState,
    /// Open addressing, at most half full.
    slots: Box<[OnceLock<Box<Series>>]>,
    /// Written by the worker.
    len: AtomicUsize,
    limit: usize,
    /// What finds no room: requests, and connections of bytes.
    overflow: [Counts; 2],
}

/// What streams of the same labels have counted.
struct Series {
    hash: u64,
    facts: OwnFacts,
    counts: Counts,
    /// Written by the control plane: it has a place among those of all workers.
    shown: AtomicBool,
}

/// The cells of a series. Those of requests and of connections of bytes share their places.
#[derive(Default)]
pub(super) struct Counts {
    /// Requests, or connections that were opened.
    pub(super) began: Counter,
    /// Connections that were closed.
    pub(super) closed: Counter,
    /// Bytes of connections, both ways.
    pub(super) received: Counter,
    pub(super) sent: Counter,
    /// There for requests.
    pub(super) http: OnceLock<Box<HttpCounts>>,
}

/// What is counted of requests besides.
#[derive(Default)]
pub(super) struct HttpCounts {
    pub(super) duration: Durations,
    pub(super) request_bytes: Sizes,
    pub(super) response_bytes: Sizes,
}

impl Table {
    /// A table for so many series.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            hasher: RandomState::new(),
            slots: (0..(2 * limit).next_power_of_two()).map(|_| OnceLock::new()).collect(),
            len: AtomicUsize::new(0),
            limit,
            overflow: Default::default(),
        }
    }

    /// The counts of the streams that have these facts, and whether they are theirs alone. For the worker.
    pub(super) fn find(&self, facts: Facts<'_>) -> (&Counts, bool) {
        let hash = self.hasher.hash_one(facts);
        let mask = self.slots.len().wrapping_sub(1);
        let mut at = hash as usize & mask;
        // Half of the slots are empty: this ends.
        while let Some(slot) = self.slots.get(at) {
            match slot.get() {
                Some(series) if series.hash == hash && series.facts.facts() == facts => return (&series.counts, true),
                Some(_) => at = (at + 1) & mask,
                None => {
                    let len = self.len.load(Ordering::Relaxed);
                    if len >= self.limit {
                        break;
                    }
                    self.len.store(len + 1, Ordering::Relaxed);
                    let new = || {
                        Box::new(Series {
                            hash,
                            facts: facts.to_own(),
                            counts: Counts::default(),
                            shown: AtomicBool::new(false),
                        })
                    };
                    return (&slot.get_or_init(new).counts, true);
                }
            }
        }
        (self.overflow(facts.tcp), false)
    }

    /// What found no room.
    pub(super) fn overflow(&self, tcp: bool) -> &Counts {
        let [http, of_bytes] = &self.overflow;
        if tcp { of_bytes } else { http }
    }

    /// All series, for reading, each with the mark that it is shown.
    pub(super) fn series(&self) -> impl Iterator<Item = (Facts<'_>, &Counts, &AtomicBool)> {
        let series = self.slots.iter().filter_map(OnceLock::get);
        series.map(|series| (series.facts.facts(), &series.counts, &series.shown))
    }
}
