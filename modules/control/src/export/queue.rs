//! What waits to be sent.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ringway_telemetry::{ExporterStats, Scope};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::{Batching, Flush};

/// Items with their sizes; bounded by bytes, the oldest go first.
pub(super) struct Queue<T> {
    batching: Batching,
    inner: Mutex<Inner<T>>,
    changed: Notify,
    stats: Arc<Scope<ExporterStats>>,
}

struct Inner<T> {
    items: VecDeque<(usize, T)>,
    bytes: usize,
    /// When the oldest came.
    since: Option<Instant>,
    /// Sent whatever it is.
    hurried: bool,
    /// Something has been taken and is not sent yet.
    sending: bool,
}

/// Bytes of one message at most.
const MOST: usize = 1 << 20;

impl<T> Queue<T> {
    pub(super) fn new(batching: Batching, stats: Arc<Scope<ExporterStats>>) -> Self {
        let inner = Inner { items: VecDeque::new(), bytes: 0, since: None, hurried: false, sending: false };
        Self { batching, inner: Mutex::new(inner), changed: Notify::new(), stats }
    }

    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an item of so many bytes.
    pub(super) fn push(&self, bytes: usize, item: T) {
        let stats = self.stats.control();
        let mut inner = self.lock();
        let was = inner.bytes;
        let first = inner.items.is_empty();
        inner.items.push_back((bytes, item));
        inner.bytes += bytes;
        while inner.bytes > self.batching.queue_bytes
            && let Some((gone, _)) = inner.items.pop_front()
        {
            inner.bytes -= gone;
            stats.dropped.inc();
        }
        if first {
            inner.since = Some(Instant::now());
        }
        let full = was < self.batching.bytes && inner.bytes >= self.batching.bytes;
        drop(inner);
        if first || full {
            self.changed.notify_one();
        }
    }

    /// Waits until there is a batch, and takes it: what is worth a message, or has waited long enough.
    pub(super) async fn batch(&self) -> Vec<T> {
        loop {
            let due = {
                let mut inner = self.lock();
                inner.sending = false;
                match inner.since.filter(|_| !inner.items.is_empty()) {
                    None => None,
                    Some(since) => {
                        let due = since + self.batching.interval;
                        if inner.bytes >= self.batching.bytes || inner.hurried || due <= Instant::now() {
                            return self.take(&mut inner);
                        }
                        Some(due)
                    }
                }
            };
            match due {
                None => self.changed.notified().await,
                Some(due) => tokio::select! {
                    () = self.changed.notified() => {}
                    () = tokio::time::sleep_until(due) => {}
                },
            }
        }
    }

    fn take(&self, inner: &mut Inner<T>) -> Vec<T> {
        let mut batch = Vec::new();
        let mut bytes = 0;
        while let Some((size, _)) = inner.items.front()
            && (batch.is_empty() || bytes + size <= MOST)
            && let Some((size, item)) = inner.items.pop_front()
        {
            bytes += size;
            inner.bytes -= size;
            batch.push(item);
        }
        if inner.items.is_empty() {
            inner.hurried = false;
        }
        inner.sending = true;
        batch
    }
}

impl<T: Send> Flush for Queue<T> {
    fn is_empty(&self) -> bool {
        let inner = self.lock();
        inner.items.is_empty() && !inner.sending
    }

    fn hurry(&self) {
        self.lock().hurried = true;
        self.changed.notify_one();
    }
}
