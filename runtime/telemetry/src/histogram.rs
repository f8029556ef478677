//! Latency histograms: log-linear cells on the worker, merged into an [`hdrhistogram::Histogram`] by the reader.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Cells per power of two: 2^6, so a cell is at most 1/64 of its values wide and its middle within 1/128 of each.
const SUB_BITS: u32 = 6;
const SUB: usize = 1 << SUB_BITS;
/// Values are below 2^32 microseconds, about 71 minutes; longer ones count as that.
const VALUE_BITS: u32 = 32;
const MAX_VALUE: u64 = (1 << VALUE_BITS) - 1;
const OCTAVES: usize = (VALUE_BITS - SUB_BITS + 1) as usize;
const CELLS: usize = SUB * OCTAVES;

/// A histogram of durations, written by one thread.
///
/// Resolution one microsecond, relative error of a quantile below 1 %, range up to 71 minutes. What is never used costs
/// a pointer, what is used 440 bytes and 512 for each power of two that its durations fall into: 4 KB, mostly.
#[derive(Debug, Default)]
pub struct Histogram(OnceLock<Box<Cells>>);

#[derive(Debug, Default)]
struct Cells {
    octaves: [OnceLock<Box<Octave>>; OCTAVES],
    sum_us: AtomicU64,
}

/// The cells of the values between two powers of two.
#[derive(Debug)]
struct Octave([AtomicU64; SUB]);

/// What the histograms of some cores held when they were read.
#[derive(Clone, Debug)]
pub struct HistogramReading {
    counts: Box<[u64; CELLS]>,
    sum_us: u64,
}

impl Histogram {
    /// Counts one duration.
    #[inline]
    pub fn record(&self, took: Duration) {
        self.record_us(u64::try_from(took.as_micros()).unwrap_or(MAX_VALUE));
    }

    /// Counts one duration of so many microseconds.
    #[inline]
    pub fn record_us(&self, us: u64) {
        let cells = self.0.get_or_init(Box::default);
        let us = us.min(MAX_VALUE);
        let at = cell_of(us);
        if let Some(octave) = cells.octaves.get(at / SUB)
            && let Some(cell) = octave.get_or_init(Octave::boxed).0.get(at % SUB)
        {
            cell.store(cell.load(Relaxed).wrapping_add(1), Relaxed);
        }
        cells.sum_us.store(cells.sum_us.load(Relaxed).wrapping_add(us), Relaxed);
    }

    /// Whether anything was ever recorded.
    pub fn is_used(&self) -> bool {
        self.0.get().is_some()
    }
}

impl Octave {
    #[cold]
    fn boxed() -> Box<Self> {
        Box::new(Self([const { AtomicU64::new(0) }; SUB]))
    }
}

impl Default for HistogramReading {
    fn default() -> Self {
        Self { counts: Box::new([0; CELLS]), sum_us: 0 }
    }
}

impl HistogramReading {
    /// Adds what one core has recorded. Each cell is read once; what is recorded meanwhile may show in part.
    pub fn merge(&mut self, from: &Histogram) {
        let Some(cells) = from.0.get() else { return };
        for (counts, octave) in self.counts.chunks_mut(SUB).zip(&cells.octaves) {
            let Some(octave) = octave.get() else { continue };
            for (to, cell) in counts.iter_mut().zip(&octave.0) {
                *to = to.wrapping_add(cell.load(Relaxed));
            }
        }
        self.sum_us = self.sum_us.wrapping_add(cells.sum_us.load(Relaxed));
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.counts.fill(0);
        self.sum_us = 0;
    }

    /// How many durations were recorded.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// Their sum in microseconds.
    pub fn sum_us(&self) -> u64 {
        self.sum_us
    }

    /// How many were surely no longer than each of `bounds_us` (ascending); a cell that straddles a bound counts for
    /// the next one.
    pub fn cumulative<'a>(&'a self, bounds_us: &'a [u64]) -> impl Iterator<Item = u64> + 'a {
        let mut cells = self.counts.iter().enumerate().peekable();
        let mut seen = 0;
        bounds_us.iter().map(move |bound| {
            while let Some((_, count)) = cells.next_if(|(cell, _)| last_value(*cell) <= *bound) {
                seen += count;
            }
            seen
        })
    }

    /// Adds everything to `target`, each duration as the middle of its cell, in microseconds.
    pub fn add_to(&self, target: &mut hdrhistogram::Histogram<u64>) {
        for (cell, count) in self.counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let (low, high) = (first_value(cell), last_value(cell));
            target.saturating_record_n(low + (high - low) / 2, *count);
        }
    }

    /// The same as a histogram of its own, in microseconds.
    pub fn to_hdr(&self) -> hdrhistogram::Histogram<u64> {
        let mut target = empty_hdr();
        self.add_to(&mut target);
        target
    }
}

/// A histogram that holds any duration a [`Histogram`] can, with three significant digits.
#[expect(clippy::expect_used, reason = "the bounds are constants, which a test tries")]
pub(crate) fn empty_hdr() -> hdrhistogram::Histogram<u64> {
    hdrhistogram::Histogram::new_with_bounds(1, MAX_VALUE, 3).expect("1 <= low, 2 * low <= high, digits <= 5")
}

/// The cell that counts a value.
#[inline]
fn cell_of(us: u64) -> usize {
    if us < SUB as u64 {
        return us as usize;
    }
    let octave = us.ilog2();
    let sub = (us >> (octave - SUB_BITS)) as usize & (SUB - 1);
    (octave - SUB_BITS + 1) as usize * SUB + sub
}

/// The smallest value of a cell.
fn first_value(cell: usize) -> u64 {
    let (octave, sub) = ((cell / SUB) as u32, (cell % SUB) as u64);
    if octave == 0 { sub } else { (SUB as u64 + sub) << (octave - 1) }
}

/// The largest value of a cell.
fn last_value(cell: usize) -> u64 {
    first_value(cell + 1) - 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn cells_tile_the_range() {
        assert_eq!(first_value(0), 0);
        assert_eq!(last_value(CELLS - 1), MAX_VALUE);
        for cell in 0..CELLS {
            assert!(first_value(cell) <= last_value(cell));
            assert_eq!((cell_of(first_value(cell)), cell_of(last_value(cell))), (cell, cell));
        }
    }

    #[test]
    fn nothing_recorded_costs_and_shows_nothing() {
        let histogram = Histogram::default();
        assert!(!histogram.is_used());
        let mut reading = HistogramReading::default();
        reading.merge(&histogram);
        assert_eq!((reading.count(), reading.sum_us(), reading.to_hdr().len()), (0, 0, 0));
    }

    #[test]
    fn the_longest_durations_are_kept_as_the_maximum() {
        let histogram = Histogram::default();
        histogram.record(Duration::MAX);
        let mut reading = HistogramReading::default();
        reading.merge(&histogram);
        assert_eq!((reading.count(), reading.sum_us()), (1, MAX_VALUE));
    }

    /// A million latencies of many magnitudes over four cores: what a scrape says against what they were.
    #[test]
    fn percentiles_of_a_million_samples_agree_within_one_percent() {
        let cores: [Histogram; 4] = Default::default();
        let mut state = 42_u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 11) as f64 / (1_u64 << 53) as f64
        };
        let mut exact: Vec<u64> = (0..1_000_000)
            .map(|at| {
                // Most take half a millisecond, one in a hundred a thousand times that: a log-uniform tail.
                let base = 200.0 * 10_f64.powf(random() * if random() < 0.01 { 4.0 } else { 0.8 });
                let us = base as u64;
                cores[at % 4].record_us(us);
                us
            })
            .collect();
        exact.sort_unstable();
        let mut merged = HistogramReading::default();
        cores.iter().for_each(|core| merged.merge(core));
        let read = merged.to_hdr();
        assert_eq!(merged.count(), 1_000_000);
        for quantile in [0.01, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.995, 0.999, 0.9999] {
            let truth = exact[((exact.len() as f64 * quantile).ceil() as usize).max(1) - 1];
            let told = read.value_at_quantile(quantile);
            assert!(told.abs_diff(truth) as f64 <= truth as f64 * 0.01 + 1.0, "{quantile}: {told} and not {truth}");
        }
    }

    proptest! {
        #[test]
        fn a_value_is_known_to_one_percent(us in 1..MAX_VALUE) {
            let histogram = Histogram::default();
            histogram.record_us(us);
            let mut reading = HistogramReading::default();
            reading.merge(&histogram);
            let cell = cell_of(us);
            prop_assert!(first_value(cell) <= us && us <= last_value(cell));
            prop_assert!((last_value(cell) - first_value(cell)) * 64 <= us);
            let read = reading.to_hdr().value_at_quantile(0.5);
            prop_assert!(read.abs_diff(us) as f64 <= us as f64 / 100.0 + 1.0, "{} read as {}", us, read);
        }

        #[test]
        fn merging_is_the_same_as_recording_in_one(
            samples in prop::collection::vec((0..3_usize, 0..200_000_000_u64), 0..300),
            bounds in prop::collection::btree_set(1..200_000_000_u64, 1..8),
        ) {
            let cores: [Histogram; 3] = Default::default();
            let one = Histogram::default();
            for (core, us) in &samples {
                cores[*core].record_us(*us);
                one.record_us(*us);
            }
            let (mut merged, mut expected) = (HistogramReading::default(), HistogramReading::default());
            cores.iter().for_each(|core| merged.merge(core));
            expected.merge(&one);
            prop_assert_eq!(&merged.counts, &expected.counts);
            prop_assert_eq!(merged.count(), samples.len() as u64);
            prop_assert_eq!(merged.sum_us(), samples.iter().map(|(_, us)| us).sum::<u64>());
            let bounds: Vec<u64> = bounds.into_iter().collect();
            for (bound, seen) in bounds.iter().zip(merged.cumulative(&bounds)) {
                let exact = samples.iter().filter(|(_, us)| us <= bound).count() as u64;
                let sure = samples.iter().filter(|(_, us)| *us as f64 <= *bound as f64 * 63.0 / 64.0 - 1.0).count() as u64;
                prop_assert!(sure <= seen && seen <= exact, "{} <= {} <= {}", sure, seen, exact);
            }
        }
    }
}
