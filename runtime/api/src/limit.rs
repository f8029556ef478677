//! Process-wide limits that cost a worker nothing while it has room of its own.
//!
//! One padded atomic holds what is left. Workers take from it in batches of `max(1, limit / (64 * cores))` and keep
//! at most one batch they do not use. So the limit is never exceeded, and may refuse early by at most
//! [`SharedLimit::error`] = batch x cores. A batch of one keeps nothing back: below 64 per core the limit is exact.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// Batches per core that a limit is cut into.
const BATCHES_PER_CORE: i64 = 64;

/// A limit that all workers share.
#[derive(Clone, Debug)]
pub struct SharedLimit(Arc<Shared>);

/// One worker's part in a [`SharedLimit`].
#[derive(Debug)]
pub struct Limit {
    shared: Arc<Shared>,
    /// Taken from the shared count and not in use.
    spare: Cell<i64>,
    /// What `spare` was at the last [`settle`](Self::settle).
    settled: Cell<i64>,
    /// A wider limit of which each unit takes one as well.
    wider: Option<Rc<Limit>>,
}

/// One unit of a [`Limit`]; dropping it gives the unit back.
#[derive(Debug)]
pub struct Permit(Rc<Limit>);

#[derive(Debug)]
struct Shared {
    left: Padded,
    /// Read at every refill and release, written by a resize only: not in the cache line of `left`.
    batch: AtomicI64,
    limit: AtomicI64,
    cores: i64,
}

#[derive(Debug)]
#[repr(align(128))]
struct Padded(AtomicI64);

// === impl SharedLimit ===

impl SharedLimit {
    /// A limit of `limit` units among `cores` workers.
    pub fn new(limit: u32, cores: usize) -> Self {
        let cores = i64::try_from(cores.max(1)).unwrap_or(i64::MAX);
        let (limit, batch) = (i64::from(limit), batch(limit, cores));
        Self(Arc::new(Shared {
            left: Padded(AtomicI64::new(limit)),
            batch: AtomicI64::new(batch),
            limit: AtomicI64::new(limit),
            cores,
        }))
    }

    /// Changes the limit. Units in use stay in use: after a cut, nothing is granted until enough came back.
    pub fn resize(&self, limit: u32) {
        let limit_now = i64::from(limit);
        let before = self.0.limit.swap(limit_now, Ordering::Relaxed);
        self.0.batch.store(batch(limit, self.0.cores), Ordering::Relaxed);
        self.0.left.0.fetch_add(limit_now - before, Ordering::Relaxed);
    }

    /// The limit.
    pub fn limit(&self) -> u64 {
        self.0.limit.load(Ordering::Relaxed).unsigned_abs()
    }

    /// Units that no worker has taken. Workers may hold up to [`error`](Self::error) more that are not in use.
    pub fn left(&self) -> u64 {
        u64::try_from(self.0.left.0.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// By how many units the limit may refuse too early: batch x cores, or 0 where it is exact. It never grants
    /// too much.
    pub fn error(&self) -> u64 {
        match self.0.batch.load(Ordering::Relaxed) {
            1 => 0,
            batch => (batch * self.0.cores).unsigned_abs(),
        }
    }

    /// The part of one worker; each worker takes one.
    pub fn worker(&self) -> Rc<Limit> {
        self.part(None)
    }

    /// The part of one worker of a limit within a wider one: each of its units is one of that as well.
    pub fn worker_within(&self, wider: &Rc<Limit>) -> Rc<Limit> {
        self.part(Some(Rc::clone(wider)))
    }

    /// Whether both are the same limit.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    fn part(&self, wider: Option<Rc<Limit>>) -> Rc<Limit> {
        Rc::new(Limit { shared: Arc::clone(&self.0), spare: Cell::new(0), settled: Cell::new(0), wider })
    }

    /// Whether a worker's part is one of this limit.
    pub fn owns(&self, part: &Limit) -> bool {
        Arc::ptr_eq(&self.0, &part.shared)
    }
}

fn batch(limit: u32, cores: i64) -> i64 {
    (i64::from(limit) / BATCHES_PER_CORE.saturating_mul(cores)).max(1)
}

// === impl Limit ===

impl Limit {
    /// Takes one unit if there is one.
    #[inline]
    pub fn try_acquire(&self) -> bool {
        if let Some(wider) = &self.wider {
            return wider.try_acquire() && (self.take() || self.refuse(wider));
        }
        self.take()
    }

    #[inline]
    fn take(&self) -> bool {
        match self.spare.get() {
            0 => self.refill(),
            spare => {
                self.spare.set(spare - 1);
                true
            }
        }
    }

    #[cold]
    fn refuse(&self, wider: &Self) -> bool {
        wider.release();
        false
    }

    /// Whether its units are units of `wider` as well.
    pub fn is_within(&self, wider: &Rc<Self>) -> bool {
        self.wider.as_ref().is_some_and(|own| Rc::ptr_eq(own, wider))
    }

    /// Gives back one unit that [`try_acquire`](Self::try_acquire) took.
    #[inline]
    pub fn release(&self) {
        if let Some(wider) = &self.wider {
            wider.release();
        }
        let spare = self.spare.get() + 1;
        let batch = self.shared.batch.load(Ordering::Relaxed);
        if spare <= batch && batch > 1 {
            self.spare.set(spare);
        } else {
            // Half a batch stays, so that coming and going at this border does not touch the atomic each time.
            let keep = batch / 2;
            self.spare.set(keep);
            self.shared.left.0.fetch_add(spare - keep, Ordering::Relaxed);
        }
    }

    /// Returns what this worker has taken and did not touch since the last call. For the worker's tick.
    pub fn settle(&self) {
        let spare = self.spare.get();
        if spare > 0 && spare == self.settled.get() {
            self.return_spare();
        }
        self.settled.set(self.spare.get());
    }

    #[cold]
    fn refill(&self) -> bool {
        let batch = self.shared.batch.load(Ordering::Relaxed);
        let take = |left: i64| (left > 0).then(|| left - left.min(batch));
        match self.shared.left.0.try_update(Ordering::Relaxed, Ordering::Relaxed, take) {
            Ok(left) => {
                self.spare.set(left.min(batch) - 1);
                true
            }
            Err(_) => false,
        }
    }

    fn return_spare(&self) {
        let spare = self.spare.replace(0);
        if spare > 0 {
            self.shared.left.0.fetch_add(spare, Ordering::Relaxed);
        }
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        self.return_spare();
    }
}

// === impl Permit ===

impl Permit {
    /// One unit of the limit, if there is one.
    #[inline]
    pub fn of(limit: &Rc<Limit>) -> Option<Self> {
        limit.try_acquire().then(|| Self(Rc::clone(limit)))
    }
}

impl Drop for Permit {
    #[inline]
    fn drop(&mut self) {
        self.0.release();
    }
}

#[cfg(test)]
mod tests;
