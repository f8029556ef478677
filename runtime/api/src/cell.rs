//! Cells that one thread writes and any thread reads, without a locked instruction.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A number that only grows. Written by one thread; wraps after 2^64.
///
/// A second writer would lose counts, nothing worse.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

/// A number that goes up and down on each worker; the workers' values are added up. Written by one thread.
///
/// Bit 0 remembers that it was ever written, so that a gauge at zero counts as used; the value is above it.
#[derive(Debug, Default)]
pub struct Gauge(AtomicU64);

/// A number that every writer knows as a whole, the size of a cluster, say; of the writers' values the largest holds.
#[derive(Debug, Default)]
pub struct Level(Gauge);

/// Something that a plug-in counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stat {
    /// The last word of its name, in snake case: `delays_injected`.
    pub name: &'static str,
    /// What it counts, one sentence.
    pub help: &'static str,
    /// It may go down again.
    pub gauge: bool,
}

/// The cells of a filter's [`Stat`]s on one worker, in their order. Written by that worker only.
#[derive(Clone, Debug, Default)]
pub struct FilterStats(Arc<[Gauge]>);

impl Stat {
    /// Something that only grows.
    pub const fn counter(name: &'static str, help: &'static str) -> Self {
        Self { name, help, gauge: false }
    }

    /// Something that goes up and down.
    pub const fn gauge(name: &'static str, help: &'static str) -> Self {
        Self { name, help, gauge: true }
    }
}

impl FilterStats {
    /// Cells for so many [`Stat`]s.
    pub fn new(len: usize) -> Self {
        Self((0..len).map(|_| Gauge::default()).collect())
    }

    /// The cells, for reading.
    pub fn cells(&self) -> &[Gauge] {
        &self.0
    }

    /// Adds one to the cell of a [`Stat`], by its place in the table. Does nothing when there is none.
    #[inline]
    pub fn inc(&self, at: usize) {
        self.add(at, 1);
    }

    /// Takes one away.
    #[inline]
    pub fn dec(&self, at: usize) {
        self.add(at, -1);
    }

    /// Adds `n`, which may be negative.
    #[inline]
    pub fn add(&self, at: usize, n: i64) {
        debug_assert!(at < self.0.len(), "no row {at} in the filter's table");
        if let Some(cell) = self.0.get(at) {
            cell.add(n);
        }
    }
}

impl Counter {
    /// Adds one.
    #[inline]
    pub fn inc(&self) {
        self.add(1);
    }

    /// Adds `n`.
    #[inline]
    pub fn add(&self, n: u64) {
        // Load and store instead of fetch_add: with one writer nothing is lost, and no bus lock is taken.
        self.0.store(self.0.load(Relaxed).wrapping_add(n), Relaxed);
    }

    /// Sets what somebody else counts, such as the engine's own totals.
    #[inline]
    pub fn set(&self, total: u64) {
        self.0.store(total, Relaxed);
    }

    /// The value now.
    #[inline]
    pub fn value(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

impl Gauge {
    const USED: u64 = 1;
    const ONE: u64 = 2;

    /// Adds one.
    #[inline]
    pub fn inc(&self) {
        self.step(Self::ONE);
    }

    /// Takes one away.
    #[inline]
    pub fn dec(&self) {
        self.step(Self::ONE.wrapping_neg());
    }

    /// Adds `n`, which may be negative. Holds 63 bits.
    #[inline]
    pub fn add(&self, n: i64) {
        self.step(n.cast_unsigned().wrapping_mul(Self::ONE));
    }

    /// Sets the value. Holds 62 bits.
    #[inline]
    pub fn set(&self, value: u64) {
        self.0.store(value.wrapping_mul(Self::ONE) | Self::USED, Relaxed);
    }

    /// The value now. Below zero only where one worker's share is: what it takes away another added.
    #[inline]
    pub fn value(&self) -> i64 {
        self.0.load(Relaxed).cast_signed() >> 1
    }

    /// Whether it was ever written.
    pub fn is_used(&self) -> bool {
        self.0.load(Relaxed) & Self::USED != 0
    }

    fn step(&self, by: u64) {
        self.0.store((self.0.load(Relaxed) | Self::USED).wrapping_add(by), Relaxed);
    }
}

impl Level {
    /// Sets the value. Holds 62 bits.
    #[inline]
    pub fn set(&self, value: u64) {
        self.0.set(value);
    }

    /// The value now.
    pub fn value(&self) -> u64 {
        u64::try_from(self.0.value()).unwrap_or(0)
    }

    /// Whether it was ever written.
    pub fn is_used(&self) -> bool {
        self.0.is_used()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gauges_remember_use_and_may_be_negative() {
        let gauge = Gauge::default();
        assert!(!gauge.is_used());
        gauge.inc();
        gauge.dec();
        assert_eq!((gauge.value(), gauge.is_used()), (0, true));
        gauge.dec();
        assert_eq!(gauge.value(), -1);
        gauge.add(11);
        assert_eq!(gauge.value(), 10);
        gauge.set(7);
        gauge.add(-3);
        assert_eq!(gauge.value(), 4);
    }

    #[test]
    fn counters_add() {
        let counter = Counter::default();
        counter.inc();
        counter.add(4);
        assert_eq!(counter.value(), 5);
    }
}
