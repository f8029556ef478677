//! What differs between a configuration and the one before, in numbers.

use std::collections::HashMap;
use std::sync::Arc;

use ringway_config::Snapshot;
use ringway_telemetry::Registry;

/// Counts what is new in a snapshot about to be published.
pub(super) fn count(registry: &Registry, old: Option<&Snapshot>, snapshot: &Snapshot) {
    let (listeners, clusters) = (registry.listener_manager.control(), registry.cluster_manager.control());
    listeners.total_listeners_active.set(snapshot.listeners.len() as u64);
    listeners.workers_started.set(1);
    clusters.active_clusters.set(snapshot.clusters.len() as u64);
    let before = old.map_or(&[][..], |old| &old.listeners[..]);
    let changes = Changes::between(before, &snapshot.listeners, |listener| &listener.raw.name);
    listeners.listener_added.add(changes.added);
    listeners.listener_modified.add(changes.modified);
    listeners.listener_removed.add(changes.removed);
    let before = old.map_or(&[][..], |old| &old.clusters[..]);
    let changes = Changes::between(before, &snapshot.clusters, |cluster| &cluster.raw.name);
    clusters.cluster_added.add(changes.added);
    clusters.cluster_modified.add(changes.modified);
    clusters.cluster_removed.add(changes.removed);
}

/// How many parts of a snapshot differ from the one before.
#[derive(Debug, Default, PartialEq)]
struct Changes {
    added: u64,
    modified: u64,
    removed: u64,
}

impl Changes {
    /// Parts are known by their names, and the same as before when they are the same `Arc`.
    fn between<T>(before: &[Arc<T>], now: &[Arc<T>], name: impl Fn(&T) -> &String) -> Self {
        let mut gone: HashMap<&String, &Arc<T>> = before.iter().map(|part| (name(part), part)).collect();
        let mut changes = Self::default();
        for part in now {
            match gone.remove(name(part)) {
                None => changes.added += 1,
                Some(old) if !Arc::ptr_eq(old, part) => changes.modified += 1,
                Some(_) => {}
            }
        }
        changes.removed = gone.len() as u64;
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_told_apart_by_name_and_identity() {
        let parts = |names: &[&str]| names.iter().map(|name| Arc::new((*name).to_owned())).collect::<Vec<_>>();
        let before = parts(&["kept", "changed", "gone"]);
        let mut now = parts(&["changed", "new", "newer"]);
        now.push(Arc::clone(&before[0]));
        let changes = Changes::between(&before, &now, |name| name);
        assert_eq!(changes, Changes { added: 2, modified: 1, removed: 1 });
    }
}
