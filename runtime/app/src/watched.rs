//! Files other than the configuration that are watched: certificates and keys.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ringway_control::{ConfigSource, FileOptions, FileSource};
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// A certificate and its key are two files: both should have arrived.
const SETTLE: Duration = Duration::from_millis(200);

/// A set of watched files.
#[derive(Default)]
pub(crate) struct Watched {
    tasks: HashMap<PathBuf, JoinHandle<()>>,
    changed: Arc<Notify>,
}

impl Watched {
    /// Watches these files from now on, and no others.
    pub(crate) fn set(&mut self, files: &BTreeSet<PathBuf>) {
        self.tasks.retain(|path, task| {
            let stays = files.contains(path);
            if !stays {
                task.abort();
            }
            stays
        });
        for path in files {
            let changed = &self.changed;
            let watch = || tokio::spawn(watch(path.clone(), Arc::clone(changed)));
            self.tasks.entry(path.clone()).or_insert_with(watch);
        }
    }

    /// A handle to wait for changes with.
    pub(crate) fn changes(&self) -> Changes {
        Changes(Arc::clone(&self.changed))
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.tasks.values().for_each(JoinHandle::abort);
    }
}

/// Tells of changes of watched files.
pub(crate) struct Changes(Arc<Notify>);

impl Changes {
    /// Waits until files have changed and been left alone for a moment.
    pub(crate) async fn next(&self) {
        self.0.notified().await;
        while tokio::time::timeout(SETTLE, self.0.notified()).await.is_ok() {}
    }
}

async fn watch(path: PathBuf, changed: Arc<Notify>) {
    let mut source = FileSource::new(path, FileOptions::default());
    // What was there when the watch began has been read already.
    drop(source.next().await);
    loop {
        // A file that cannot be read is a change too: whoever reads it says what is wrong.
        drop(source.next().await);
        changed.notify_one();
    }
}
