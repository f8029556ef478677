//! Reports on their way from the workers to the control plane.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam::queue::ArrayQueue;
use ringway_api::Counter;

/// A queue of reports for each worker, read by the control plane, and a bell that is rung once for all that come before
/// it is heard. A full queue loses its oldest report, which is counted: reporting never holds up a request.
///
/// Handing over a report is two atomic operations on cache lines that the reader touches once per batch, tens of
/// nanoseconds. Streams pay it only while somebody wants reports.
pub struct ReportRing<T> {
    lanes: Box<[Lane<T>]>,
    rung: AtomicBool,
    bell: Box<dyn Fn() + Send + Sync>,
}

#[derive(Debug)]
struct Lane<T> {
    queue: ArrayQueue<T>,
    /// Written by the worker.
    dropped: Counter,
}

/// One worker's end of a [`ReportRing`].
#[derive(Debug)]
pub struct ReportLane<T> {
    ring: Arc<ReportRing<T>>,
    worker: usize,
}

impl<T> ReportRing<T> {
    /// A queue of `capacity` reports (at least 1) for each of so many workers; `bell` is called from workers and must
    /// not block.
    pub fn new(workers: usize, capacity: usize, bell: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        let lane = |_| Lane { queue: ArrayQueue::new(capacity.max(1)), dropped: Counter::default() };
        Arc::new(Self { lanes: (0..workers).map(lane).collect(), rung: AtomicBool::new(false), bell: Box::new(bell) })
    }

    /// A worker's end, to be taken on that worker; `None` for a worker that is not there.
    pub fn lane(self: &Arc<Self>, worker: usize) -> Option<ReportLane<T>> {
        (worker < self.lanes.len()).then(|| ReportLane { ring: Arc::clone(self), worker })
    }

    /// Takes at most `limit` reports, of each worker in the order in which they were made, and gives each to `take`.
    /// True if there may be more. The bell rings again for what comes from now on.
    pub fn drain(&self, limit: usize, mut take: impl FnMut(T)) -> bool {
        // Read-modify-write on both sides: whoever comes second sees what the first has done.
        self.rung.swap(false, Ordering::AcqRel);
        let mut taken = 0;
        for lane in &self.lanes {
            while taken < limit
                && let Some(report) = lane.queue.pop()
            {
                take(report);
                taken += 1;
            }
        }
        taken >= limit
    }

    /// How many were lost to newer ones, ever.
    pub fn dropped(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.dropped.value()).sum()
    }
}

impl<T> ReportLane<T> {
    /// Hands over a report; the oldest makes room for it, if there is none.
    pub fn push(&self, report: T) {
        if let Some(lane) = self.ring.lanes.get(self.worker)
            && lane.queue.force_push(report).is_some()
        {
            lane.dropped.inc();
        }
        if !self.ring.rung.swap(true, Ordering::AcqRel) {
            (self.ring.bell)();
        }
    }
}

impl<T> fmt::Debug for ReportRing<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let waiting: Vec<usize> = self.lanes.iter().map(|lane| lane.queue.len()).collect();
        f.debug_struct("ReportRing")
            .field("waiting", &waiting)
            .field("dropped", &self.dropped())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[test]
    fn a_full_lane_loses_its_oldest() {
        let bell: Arc<AtomicUsize> = Arc::default();
        let rung = Arc::clone(&bell);
        let ring = ReportRing::new(2, 3, move || {
            rung.fetch_add(1, Ordering::Relaxed);
        });
        let (first, second) = (ring.lane(0).unwrap(), ring.lane(1).unwrap());
        (0..5).for_each(|report| first.push(report));
        second.push(10);
        let mut taken = Vec::new();
        assert_eq!(bell.load(Ordering::Relaxed), 1, "once, until it is heard");
        assert!(ring.drain(3, |report| taken.push(report)));
        assert!(!ring.drain(9, |report| taken.push(report)));
        second.push(11);
        assert_eq!(bell.load(Ordering::Relaxed), 2);
        assert_eq!((taken, ring.dropped()), (vec![2, 3, 4, 10], 2));
        assert!(ring.lane(2).is_none());
    }
}
