//! Published snapshots: the one in force and the last few before it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::SystemTime;

use arc_swap::ArcSwapOption;

use crate::snapshot::Snapshot;

/// How many snapshots can be rolled back to, the one in force included.
pub const HISTORY: usize = 8;

/// A snapshot as it was published.
#[derive(Clone, Debug)]
pub struct Published {
    /// Counts up from 1; a rollback gets a new one.
    pub generation: u64,
    /// Where it came from: a file, the admin API, a rollback.
    pub origin: String,
    /// When.
    pub at: SystemTime,
    /// Its text.
    pub text: Arc<str>,
    /// What it was compiled to.
    pub snapshot: Arc<Snapshot>,
}

/// The snapshots. Written by the control plane alone; the one in force can be read from any thread.
#[derive(Debug, Default)]
pub struct Store {
    current: ArcSwapOption<Published>,
    history: VecDeque<Arc<Published>>,
    /// Out of the history but perhaps still in use by a worker: freed here, never there.
    retired: Vec<Arc<Published>>,
    next: u64,
}

impl Store {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// The snapshot in force.
    pub fn current(&self) -> Option<Arc<Published>> {
        self.current.load_full()
    }

    /// Puts a snapshot in force.
    pub fn publish(&mut self, origin: &str, at: SystemTime, text: Arc<str>, snapshot: Arc<Snapshot>) -> Arc<Published> {
        self.next += 1;
        let published = Arc::new(Published { generation: self.next, origin: origin.into(), at, text, snapshot });
        self.current.store(Some(Arc::clone(&published)));
        self.history.push_back(Arc::clone(&published));
        while self.history.len() > HISTORY {
            self.retired.extend(self.history.pop_front());
        }
        self.reap();
        published
    }

    /// The snapshots that can be rolled back to, oldest first.
    pub fn history(&self) -> impl ExactSizeIterator<Item = &Arc<Published>> {
        self.history.iter()
    }

    /// A snapshot of the history.
    pub fn find(&self, generation: u64) -> Option<&Arc<Published>> {
        self.history.iter().find(|published| published.generation == generation)
    }

    /// Frees retired snapshots that nobody uses any more. Called at each publication; call it now and then besides.
    pub fn reap(&mut self) {
        self.retired.retain(|published| Arc::strong_count(published) > 1 || Arc::strong_count(&published.snapshot) > 1);
    }

    /// Retired snapshots that somebody still uses.
    pub fn retired(&self) -> usize {
        self.retired.len()
    }
}

/// What changed between two texts, as a unified diff; empty when nothing did.
pub fn diff(old: &Published, new: &Published) -> String {
    let (from, to) = (format!("generation {}", old.generation), format!("generation {}", new.generation));
    similar::TextDiff::from_lines(&*old.text, &*new.text).unified_diff().header(&from, &to).to_string()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn snapshot() -> Arc<Snapshot> {
        let raw = crate::raw::Config::default();
        Arc::new(Snapshot {
            raw,
            workers: None,
            admin: None,
            listeners: Vec::new(),
            clusters: Vec::new(),
            exporters: Vec::new(),
            tracing: None,
            istio: None,
        })
    }

    proptest! {
        /// Whatever is published and held, the last ones are there, and nothing is kept that nobody holds.
        #[test]
        fn the_last_snapshots_are_kept_and_no_more(holds in prop::collection::vec(0..5usize, 1..60)) {
            let mut store = Store::new();
            let mut held: VecDeque<(usize, Arc<Published>)> = VecDeque::new();
            for (at, hold) in holds.into_iter().enumerate() {
                let text: Arc<str> = format!("workers: {}", at + 1).into();
                let published = store.publish("test", SystemTime::UNIX_EPOCH, text, snapshot());
                prop_assert_eq!(published.generation, at as u64 + 1);
                prop_assert!(Arc::ptr_eq(&store.current().unwrap(), &published));
                held.push_back((at + hold, published));
                held.retain(|(until, _)| *until > at);
                prop_assert_eq!(store.history().len(), (at + 1).min(HISTORY));
                store.reap();
                prop_assert!(store.retired() <= held.len());
                let oldest = (at + 1).saturating_sub(HISTORY) as u64;
                prop_assert!(store.find(oldest).is_none() && store.find(oldest + 1).is_some());
            }
            held.clear();
            store.reap();
            prop_assert_eq!(store.retired(), 0);
        }
    }

    #[test]
    fn a_diff_shows_what_changed() {
        let mut store = Store::new();
        let publish =
            |store: &mut Store, text: &str| store.publish("t", SystemTime::UNIX_EPOCH, text.into(), snapshot());
        let (old, new) = (publish(&mut store, "a: 1\nb: 2\n"), publish(&mut store, "a: 1\nb: 3\n"));
        let text = diff(&old, &new);
        assert!(text.contains("--- generation 1") && text.contains("-b: 2") && text.contains("+b: 3"), "{text}");
        assert_eq!(diff(&old, &old), "");
    }
}
