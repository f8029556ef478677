//! What filters count: tables that plug-ins bring along.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use ringway_api::{FilterStats, Stat};

use crate::registry::shown;

/// The statistics of the filters of one name on one listener: cells for each worker.
#[derive(Debug)]
pub struct FilterScope {
    listener: Box<str>,
    filter: &'static str,
    stats: &'static [Stat],
    workers: Box<[FilterStats]>,
}

/// Scopes by listener and filter; does not keep them alive.
#[derive(Default)]
pub(crate) struct Filters(Mutex<BTreeMap<Key, Weak<FilterScope>>>);

/// A filter on a listener.
type Key = (&'static str, Box<str>);

impl FilterScope {
    /// A worker's cells, to be taken on that worker; cells that nobody reads for a worker beyond the registry's number.
    pub fn worker(&self, worker: usize) -> FilterStats {
        debug_assert!(worker < self.workers.len(), "worker {worker} of {}", self.workers.len());
        self.workers.get(worker).cloned().unwrap_or_else(|| FilterStats::new(self.stats.len()))
    }

    pub(crate) fn listener(&self) -> &str {
        &self.listener
    }

    pub(crate) fn filter(&self) -> &'static str {
        self.filter
    }

    pub(crate) fn stats(&self) -> &'static [Stat] {
        self.stats
    }

    /// A row over all workers, and whether it was ever written.
    pub(crate) fn read(&self, row: usize) -> (u64, bool) {
        let cells = || self.workers.iter().filter_map(|worker| worker.cells().get(row));
        let sum = cells().fold(0_i64, |sum, cell| sum.wrapping_add(cell.value()));
        (u64::try_from(sum).unwrap_or(0), cells().any(|cell| cell.is_used()))
    }
}

impl Filters {
    pub(crate) fn scope(
        &self,
        listener: &str,
        filter: &'static str,
        stats: &'static [Stat],
        workers: usize,
    ) -> Arc<FilterScope> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (filter, Box::from(listener));
        if let Some(scope) = known.get(&key).and_then(Weak::upgrade) {
            return scope;
        }
        known.retain(|_, scope| scope.strong_count() > 0);
        let cells = (0..workers).map(|_| FilterStats::new(stats.len())).collect();
        let scope = Arc::new(FilterScope { listener: shown(listener), filter, stats, workers: cells });
        known.insert(key, Arc::downgrade(&scope));
        scope
    }

    /// The scopes that somebody holds, those of one filter together.
    pub(crate) fn live(&self) -> Vec<Arc<FilterScope>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).values().filter_map(Weak::upgrade).collect()
    }
}
