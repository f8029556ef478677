//! The lanes that lead to files.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use crossbeam::utils::CachePadded;

/// What workers and the log thread share of one file.
pub(super) struct FileShared {
    name: String,
    lanes: Box<[CachePadded<Lane>]>,
    full: AtomicBool,
    retired: AtomicBool,
}

/// Lines of one worker on their way to one file.
#[derive(Default)]
pub(super) struct Lane(Mutex<Vec<u8>>);

impl FileShared {
    pub(super) fn new(name: String, workers: usize) -> Self {
        let lanes = (0..workers).map(|_| CachePadded::default()).collect();
        Self { name, lanes, full: AtomicBool::new(false), retired: AtomicBool::new(false) }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn lane(&self, worker: usize) -> Option<&Lane> {
        self.lanes.get(worker).map(|lane| &**lane)
    }

    pub(super) fn lanes(&self) -> impl Iterator<Item = &Lane> {
        self.lanes.iter().map(|lane| &**lane)
    }

    /// A lane has enough for a write.
    pub(super) fn mark_full(&self) {
        self.full.store(true, Ordering::Release);
    }

    /// Whether a lane had enough for a write since the last call. For the log thread.
    pub(super) fn take_full(&self) -> bool {
        self.full.load(Ordering::Acquire) && self.full.swap(false, Ordering::AcqRel)
    }

    /// Nobody will log to the file any more.
    pub(super) fn retire(&self) {
        self.retired.store(true, Ordering::Release);
    }

    pub(super) fn is_retired(&self) -> bool {
        self.retired.load(Ordering::Acquire)
    }
}

impl Lane {
    /// For a worker, which never waits.
    pub(super) fn try_lock(&self) -> Option<MutexGuard<'_, Vec<u8>>> {
        match self.0.try_lock() {
            Ok(lane) => Some(lane),
            Err(TryLockError::Poisoned(lane)) => Some(lane.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// For the log thread, which may wait the nanoseconds that a worker needs to append a line.
    pub(super) fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
