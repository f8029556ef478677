//! How many retries a cluster may have under way, over all workers.
//!
//! One exact count, touched by retries alone: what is rare may pay for an atomic. A share of the load would be held
//! back from hosts that are in trouble already if each worker had its part; and a count that were wrong by a batch
//! would be wrong by more than a budget of three.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// The limit on a cluster's retries; clones share it.
#[derive(Clone, Debug)]
pub struct RetryLimit(Arc<Shared>);

/// How many retries are allowed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RetryAllowance {
    /// So many at once (Envoy's `max_retries`).
    Absolute(u32),
    /// A share of the requests that are under way or wait for a connection, and so many in any case (Envoy's
    /// `retry_budget`).
    Budget {
        /// Retries to a hundred requests, 0 to 100.
        percent: f64,
        /// Retries that are allowed in any case.
        min: u32,
    },
}

/// One retry, from its decision to its outcome: while it waits for its turn, too. Dropping it gives the place back.
#[derive(Debug)]
#[must_use = "dropping it ends the retry"]
pub struct RetryPermit(Arc<Shared>);

#[derive(Debug)]
#[repr(align(128))]
struct Shared {
    active: AtomicU32,
    least: AtomicU32,
    /// In hundredths of a percent.
    share: AtomicU32,
}

impl Default for RetryAllowance {
    fn default() -> Self {
        Self::Budget { percent: 20.0, min: 3 }
    }
}

impl RetryAllowance {
    fn parts(self) -> (u32, u32) {
        match self {
            Self::Absolute(most) => (most, 0),
            // Saturates: what is out of range was refused when it was read.
            Self::Budget { percent, min } => (min, (percent * 100.0) as u32),
        }
    }
}

impl RetryLimit {
    /// A limit with nothing under way.
    pub fn new(allowance: RetryAllowance) -> Self {
        let (least, share) = allowance.parts();
        Self(Arc::new(Shared { active: AtomicU32::new(0), least: least.into(), share: share.into() }))
    }

    /// Changes the limit. Retries under way go on.
    pub fn resize(&self, allowance: RetryAllowance) {
        let (least, share) = allowance.parts();
        self.0.least.store(least, Relaxed);
        self.0.share.store(share, Relaxed);
    }

    /// A retry, unless there are as many as may be with `load` requests under way or waiting on all workers.
    pub fn try_acquire(&self, load: u64) -> Option<RetryPermit> {
        let share = load.saturating_mul(self.0.share.load(Relaxed).into()) / 10_000;
        let most = share.max(self.0.least.load(Relaxed).into());
        let one_more = |active: u32| (u64::from(active) < most).then(|| active.saturating_add(1));
        self.0.active.try_update(Relaxed, Relaxed, one_more).ok()?;
        Some(RetryPermit(Arc::clone(&self.0)))
    }

    /// Whether it follows the load; otherwise it is a number.
    pub fn is_budget(&self) -> bool {
        self.0.share.load(Relaxed) > 0
    }

    /// Retries under way.
    pub fn active(&self) -> u32 {
        self.0.active.load(Relaxed)
    }
}

impl Drop for RetryPermit {
    fn drop(&mut self) {
        self.0.active.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(limit: &RetryLimit, load: u64) -> usize {
        let permits: Vec<_> = std::iter::from_fn(|| limit.try_acquire(load)).collect();
        permits.len()
    }

    #[test]
    fn a_budget_follows_the_load_and_a_number_does_not() {
        let limit = RetryLimit::new(RetryAllowance::default());
        for (load, most) in [(0, 3), (15, 3), (20, 4), (1000, 200)] {
            assert_eq!(taken(&limit, load), most, "{load}");
        }
        assert_eq!(limit.active(), 0);
        limit.resize(RetryAllowance::Absolute(2));
        assert_eq!(taken(&limit, 1_000_000), 2);
        limit.resize(RetryAllowance::Budget { percent: 0.5, min: 0 });
        assert_eq!((taken(&limit, 199), taken(&limit, 1000)), (0, 5));
    }

    #[test]
    fn workers_together_never_exceed_it() {
        let limit = RetryLimit::new(RetryAllowance::Absolute(8));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                let limit = limit.clone();
                scope.spawn(move || {
                    for _ in 0..20_000 {
                        if let Some(permit) = limit.try_acquire(0) {
                            assert!(limit.active() <= 8);
                            drop(permit);
                        }
                    }
                });
            }
        });
        assert_eq!(limit.active(), 0);
    }
}
