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
    settled: Arc<Notify>,
    settling: Option<JoinHandle<()>>,
}

impl Watched {
    /// Watches these files from now on, and no others. Those that are new are told as changed once: they may have
    /// changed since they were read.
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
        if !files.is_empty() && self.settling.is_none() {
            self.settling = Some(tokio::spawn(settle(Arc::clone(&self.changed), Arc::clone(&self.settled))));
        }
    }

    /// A handle to wait for changes with.
    pub(crate) fn changes(&self) -> Changes {
        Changes(Arc::clone(&self.settled))
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.tasks.values().chain(&self.settling).for_each(JoinHandle::abort);
    }
}

/// Tells of changes of watched files.
pub(crate) struct Changes(Arc<Notify>);

impl Changes {
    /// Waits until files have changed and been left alone for a moment. The future may be dropped.
    pub(crate) async fn next(&self) {
        self.0.notified().await;
    }
}

async fn settle(changed: Arc<Notify>, settled: Arc<Notify>) {
    loop {
        changed.notified().await;
        while tokio::time::timeout(SETTLE, changed.notified()).await.is_ok() {}
        settled.notify_one();
    }
}

async fn watch(path: PathBuf, changed: Arc<Notify>) {
    let mut source = FileSource::new(path, FileOptions::default());
    loop {
        // A file that cannot be read is a change too: whoever reads it says what is wrong.
        drop(source.next().await);
        changed.notify_one();
    }
}
