//! Turns directory events into one coalesced wake-up.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use notify::event::{AccessKind, AccessMode, ModifyKind};
use notify::{EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

use super::plan::Plan;

/// Watches what a [`Plan`] names and wakes `changed` when any of it may have changed.
pub(super) struct Watch {
    watcher: RecommendedWatcher,
    plan: Plan,
    /// Shared with the watcher's own thread: only events on these paths wake anyone, so that a busy directory next
    /// to the file costs nothing here.
    interest: Arc<Mutex<HashSet<PathBuf>>>,
    /// A watched directory was removed or moved away, and its watch with it, which its path and inode number alone
    /// do not show: a new directory may have the same ones.
    lost: Arc<AtomicBool>,
}

impl Watch {
    /// Starts with nothing to watch. Errors where the system has no file events to give (limits, containers).
    pub(super) fn new(changed: Arc<Notify>) -> notify::Result<Self> {
        let interest = Arc::new(Mutex::new(HashSet::new()));
        let lost = Arc::new(AtomicBool::new(false));
        let (wanted, gone) = (interest.clone(), lost.clone());
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            let wanted = wanted.lock().unwrap_or_else(PoisonError::into_inner);
            if event.as_ref().map_or(true, |event| matters(event, &wanted)) {
                if event.map_or(true, |event| ends_a_watch(&event)) {
                    gone.store(true, Ordering::Release);
                }
                changed.notify_one();
            }
        })?;
        Ok(Self { watcher, plan: Plan::default(), interest, lost })
    }

    /// Watches what `plan` names and no longer what it does not. Returns false if it already did. After an error
    /// some of it may be unwatched; the next call tries again.
    pub(super) fn follow(&mut self, plan: &Plan) -> notify::Result<bool> {
        let lost = self.lost.swap(false, Ordering::AcqRel);
        if self.plan == *plan && !lost {
            return Ok(false);
        }
        *self.interest.lock().unwrap_or_else(PoisonError::into_inner) = plan.paths().collect();
        let mut old = std::mem::take(&mut self.plan);
        for (directory, watched) in &old.directories {
            if lost || plan.directories.get(directory).is_none_or(|new| new.identity != watched.identity) {
                // It fails if the directory is gone, and with it the watch.
                self.watcher.unwatch(directory).ok();
            }
        }
        if lost {
            old = Plan::default();
        }
        for (directory, watched) in &plan.directories {
            if old.directories.get(directory).is_none_or(|before| before.identity != watched.identity) {
                self.watcher.watch(directory, RecursiveMode::NonRecursive)?;
            }
        }
        self.plan = plan.clone();
        Ok(true)
    }
}

/// Whether `event` may change what the path reads. Opening and reading do not: our own readings cause such events.
fn matters(event: &notify::Event, interest: &HashSet<PathBuf>) -> bool {
    match event.kind {
        EventKind::Access(AccessKind::Close(AccessMode::Write)) => {}
        EventKind::Access(_) => return false,
        _ => {}
    }
    event.need_rescan() || event.paths.is_empty() || event.paths.iter().any(|path| interest.contains(path))
}

/// Whether a directory may have been removed or moved. Taken broadly (the kind of an entry is not always known): to
/// watch everything anew costs little.
fn ends_a_watch(event: &notify::Event) -> bool {
    event.need_rescan() || matches!(event.kind, EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reading the file opens and closes it: were that a change, each reading would cause the next.
    #[test]
    fn reading_is_no_change_and_neighbours_do_not_matter() {
        let interest = HashSet::from([PathBuf::from("/etc/ringway/config.yaml")]);
        let event = |kind, path: &str| notify::Event::new(kind).add_path(path.into());
        let (file, neighbour) = ("/etc/ringway/config.yaml", "/etc/ringway/other");
        let written = EventKind::Access(AccessKind::Close(AccessMode::Write));
        assert!(matters(&event(written, file), &interest));
        assert!(!matters(&event(written, neighbour), &interest));
        for kind in [AccessKind::Open(AccessMode::Any), AccessKind::Close(AccessMode::Read), AccessKind::Read] {
            assert!(!matters(&event(EventKind::Access(kind), file), &interest), "{kind:?}");
        }
        let overflow = notify::Event::new(EventKind::Other).set_flag(notify::event::Flag::Rescan);
        assert!(matters(&overflow, &interest));
    }
}
