//! The times of requests, noted by all workers.

use std::sync::atomic::AtomicU32;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use super::gradient::Samples;

/// Counts of times by their size, exact to 1/32. 4.5 KiB.
#[derive(Debug)]
pub(super) struct Histogram {
    /// An atomic of all workers, touched once for a request: its time would otherwise be one of a worker alone.
    counts: Box<[AtomicU32]>,
    total: AtomicU32,
}

/// What was taken out of a histogram.
#[derive(Debug)]
pub(super) struct Taken {
    counts: Box<[u32]>,
    total: u32,
}

/// Sizes are told apart by so many bits after the first.
const BITS: u32 = 5;
const PARTS: usize = 1 << BITS;
/// Microseconds from 2^37 on (38 hours) are all the same.
const SIZES: usize = (37 - BITS as usize) * PARTS + PARTS;

impl Histogram {
    pub(super) fn new() -> Self {
        Self { counts: (0..SIZES).map(|_| AtomicU32::new(0)).collect(), total: AtomicU32::new(0) }
    }

    /// Notes a time.
    pub(super) fn note(&self, time: Duration) {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        if let Some(count) = self.counts.get(index(micros)) {
            count.fetch_add(1, Relaxed);
            self.total.fetch_add(1, Relaxed);
        }
    }

    /// How many times were noted.
    pub(super) fn count(&self) -> u32 {
        self.total.load(Relaxed)
    }

    /// Takes all of them out. Those that come meanwhile stay, or come along.
    pub(super) fn take(&self) -> Taken {
        self.total.store(0, Relaxed);
        let counts: Box<[u32]> = self.counts.iter().map(|count| count.swap(0, Relaxed)).collect();
        let total = counts.iter().fold(0, |sum: u32, count| sum.saturating_add(*count));
        Taken { counts, total }
    }
}

impl Samples for Taken {
    fn count(&self) -> u32 {
        self.total
    }

    fn percentile(&self, part: f64) -> Duration {
        let wanted = (f64::from(self.total) * part).ceil().max(1.0);
        let mut seen = 0.0;
        let at = self.counts.iter().position(|count| {
            seen += f64::from(*count);
            seen >= wanted
        });
        Duration::from_micros(value(at.unwrap_or(0)))
    }
}

/// The place of a size: its first [`BITS`] + 1 bits.
fn index(micros: u64) -> usize {
    let Some(shift) = micros.checked_ilog2().and_then(|log| log.checked_sub(BITS)) else { return micros as usize };
    ((shift as usize + 1) * PARTS + (micros >> shift) as usize - PARTS).min(SIZES - 1)
}

/// The middle of the sizes at a place.
fn value(index: usize) -> u64 {
    let (row, part) = (index / PARTS, (index % PARTS) as u64);
    match row.checked_sub(1) {
        None => part,
        Some(shift) => ((part + PARTS as u64) << shift) + ((1 << shift) >> 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_exact_to_a_32nd() {
        let mut rng = ringway_testkit::Rng::new(3);
        for _ in 0..10_000 {
            let micros = rng.bits() >> (28 + rng.below(36));
            let back = value(index(micros));
            assert!(back.abs_diff(micros) <= micros / 32, "{micros} {back}");
        }
        assert_eq!(index(u64::MAX), SIZES - 1);
    }

    #[test]
    fn percentiles_are_those_of_what_was_noted() {
        let histogram = Histogram::new();
        (1..=100).for_each(|ms| histogram.note(Duration::from_millis(ms)));
        assert_eq!(histogram.count(), 100);
        let taken = histogram.take();
        for (part, ms) in [(0.0, 1), (0.5, 50), (0.9, 90), (1.0, 100)] {
            let got = taken.percentile(part).as_micros();
            assert!(got.abs_diff(ms * 1000) <= ms * 1000 / 32, "{part}: {got}");
        }
        assert_eq!((histogram.count(), histogram.take().count()), (0, 0));
    }
}
