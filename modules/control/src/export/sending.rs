//! Batches become messages, and messages are sent until they are taken or given up.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ringway_telemetry::{ExporterStats, Scope};

use super::collector::{Collector, Refusal};
use super::queue::Queue;
use super::{Stats, Tell};

/// How items become a message, and what its answer means.
pub(super) trait Batch: Send + Sync + 'static {
    type Item: Send + 'static;

    /// The path of the request, below the endpoint's over HTTP.
    fn path(&self) -> &'static str;

    fn content_type(&self) -> &'static str;

    fn message(&self, items: &[Self::Item]) -> Bytes;

    /// How many of the items the collector has refused although it took the message.
    fn rejected(&self, _answer: &[u8]) -> u64 {
        0
    }
}

/// Tries of one message at most.
const TRIES: u32 = 5;
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Sends the batches of a queue for ever.
pub(super) async fn run<B: Batch>(
    queue: Arc<Queue<B::Item>>,
    mut collector: Collector,
    batch: B,
    scope: Arc<Scope<ExporterStats>>,
    tell: Tell,
) {
    let mut failing = false;
    loop {
        let items = queue.batch().await;
        let message = batch.message(&items);
        let outcome = send(&mut collector, &batch, message, &scope).await;
        // The cells stay on their thread, so they are not kept across a wait.
        let stats: Stats = scope.control();
        let count = items.len() as u64;
        match outcome {
            Ok(rejected) => {
                if std::mem::take(&mut failing) {
                    tell("is well again");
                }
                stats.sent.add(count.saturating_sub(rejected));
                stats.rejected.add(rejected.min(count));
            }
            Err(refusal) => {
                if !std::mem::replace(&mut failing, true) {
                    tell(&format!("cannot send: {}; records are lost meanwhile", refusal.why));
                }
                stats.failed.add(count);
            }
        }
    }
}

async fn send<B: Batch>(
    collector: &mut Collector,
    batch: &B,
    message: Bytes,
    scope: &Arc<Scope<ExporterStats>>,
) -> Result<u64, Refusal> {
    let mut pause = FIRST_PAUSE;
    let mut tries = 1;
    loop {
        scope.control().requests.inc();
        match collector.send(batch.path(), batch.content_type(), message.clone()).await {
            Ok(answer) => return Ok(batch.rejected(&answer)),
            Err(refusal) if refusal.again.is_none() || tries == TRIES => return Err(refusal),
            Err(refusal) => {
                let asked = refusal.again.unwrap_or_default();
                scope.control().retries.inc();
                tokio::time::sleep(asked.max(pause).min(LONGEST_PAUSE)).await;
                pause *= 2;
                tries += 1;
            }
        }
    }
}
