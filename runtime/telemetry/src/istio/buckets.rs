//! Histograms of fixed buckets: small, since there are three for each set of labels.

use std::num::NonZeroU128;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering, fence};
use std::time::{Duration, SystemTime};

use ringway_api::Counter;

/// Buckets of durations, written by one thread. They go to one hour; the last holds what is longer.
#[derive(Debug, Default)]
pub(super) struct Durations {
    counts: [Counter; DURATIONS_US.len() + 1],
    sum_us: Counter,
    /// Made at the first traced stream.
    exemplars: OnceLock<Box<[ExemplarCell; DURATIONS_US.len() + 1]>>,
}

/// Buckets of sizes, likewise.
#[derive(Debug, Default)]
pub(super) struct Sizes {
    counts: [Counter; SIZES.len() + 1],
    sum: Counter,
}

/// A stream that stands for those of its bucket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exemplar {
    /// Its trace.
    pub trace: NonZeroU128,
    /// What it took, in microseconds.
    pub us: u64,
    /// When it ended.
    pub at: SystemTime,
}

/// The bounds of durations in microseconds: Envoy's, which are Istio's.
pub(super) const DURATIONS_US: [u64; 19] = [
    500,
    1_000,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    30_000_000,
    60_000_000,
    300_000_000,
    600_000_000,
    1_800_000_000,
    3_600_000_000,
];

/// The bounds of sizes in bytes: of an empty body, a field, a page, a picture, a film.
pub(super) const SIZES: [u64; 12] =
    [0, 64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20, 64 << 20];

/// An exemplar that its writer may replace while it is read: whoever reads it in between sees another number after than
/// before, and leaves it out.
#[derive(Debug, Default)]
struct ExemplarCell {
    /// Odd while it is written; 0 if it never was.
    writes: AtomicU64,
    words: [AtomicU64; 4],
}

impl Durations {
    /// Counts one duration, of a stream that ended at `at` and is part of a recorded trace if there is one.
    pub(super) fn record(&self, took: Duration, sampled: Option<NonZeroU128>, at: impl FnOnce() -> SystemTime) {
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        let bucket = DURATIONS_US.partition_point(|bound| *bound < us);
        if let Some(count) = self.counts.get(bucket) {
            count.inc();
        }
        self.sum_us.add(us);
        if let Some(trace) = sampled
            && let Some(cell) = self.exemplars.get_or_init(Box::default).get(bucket)
        {
            cell.write(&Exemplar { trace, us, at: at() });
        }
    }

    pub(super) fn counts(&self) -> impl Iterator<Item = u64> {
        self.counts.iter().map(Counter::value)
    }

    pub(super) fn sum_us(&self) -> u64 {
        self.sum_us.value()
    }

    /// The exemplars, by bucket; none at all if no stream was traced.
    pub(super) fn exemplars(&self) -> impl Iterator<Item = Option<Exemplar>> {
        self.exemplars.get().into_iter().flat_map(|cells| cells.iter().map(ExemplarCell::read))
    }
}

impl Sizes {
    pub(super) fn record(&self, size: u64) {
        if let Some(count) = self.counts.get(SIZES.partition_point(|bound| *bound < size)) {
            count.inc();
        }
        self.sum.add(size);
    }

    pub(super) fn counts(&self) -> impl Iterator<Item = u64> {
        self.counts.iter().map(Counter::value)
    }

    pub(super) fn sum(&self) -> u64 {
        self.sum.value()
    }
}

impl ExemplarCell {
    /// By one writer: plain stores in the order of a sequence lock, no locked instruction.
    fn write(&self, exemplar: &Exemplar) {
        let before = self.writes.load(Ordering::Relaxed);
        self.writes.store(before.wrapping_add(1), Ordering::Relaxed);
        fence(Ordering::Release);
        let trace = exemplar.trace.get();
        let at = exemplar.at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let words =
            [(trace >> 64) as u64, trace as u64, exemplar.us, u64::try_from(at.as_micros()).unwrap_or(u64::MAX)];
        self.words.iter().zip(words).for_each(|(cell, word)| cell.store(word, Ordering::Relaxed));
        self.writes.store(before.wrapping_add(2), Ordering::Release);
    }

    fn read(&self) -> Option<Exemplar> {
        let before = self.writes.load(Ordering::Acquire);
        let [high, low, us, at] = self.words.each_ref().map(|word| word.load(Ordering::Relaxed));
        fence(Ordering::Acquire);
        let whole = before.is_multiple_of(2) && self.writes.load(Ordering::Relaxed) == before;
        let trace = NonZeroU128::new(u128::from(high) << 64 | u128::from(low)).filter(|_| whole)?;
        Some(Exemplar { trace, us, at: SystemTime::UNIX_EPOCH + Duration::from_micros(at) })
    }
}
