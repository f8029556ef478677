//! Taps: requests that somebody looks on at, for a while.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Result, anyhow, bail};
use ringway_config::raw;
use ringway_telemetry::{FieldPair, LogFilter, Needs, Sinks, StreamRecord, TapRing, TapSink};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc};
use tokio::time::Instant;

use super::access_log;

/// Taps that may be open at the same time.
const TAPS: usize = 8;
/// Lines that may wait for whoever reads them; further ones are left out and counted.
pub(crate) const WAITING: usize = 1024;
/// Streams that may wait on each worker.
const CAPACITY: usize = 1024;
const BATCH: usize = 512;

/// What never leaves, whatever the configuration says.
const SECRET: [&str; 4] = ["authorization", "proxy-authorization", "cookie", "set-cookie"];

/// What a tap is asked for.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct TapAsked {
    /// Which requests: a filter as access logs have them; all by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) filter: Option<raw::LogFilter>,
    /// So many requests, then it ends; up to 1,000,000.
    pub(crate) limit: u64,
    /// So many seconds, then it ends; up to 3,600.
    pub(crate) seconds: u64,
    /// Only what is needed to make the requests again.
    pub(crate) record: bool,
}

impl Default for TapAsked {
    fn default() -> Self {
        Self { filter: None, limit: 1000, seconds: 60, record: false }
    }
}

/// The taps that are open.
pub(crate) struct Taps {
    workers: usize,
    wake: Arc<Notify>,
    ring: Option<Arc<TapRing>>,
    open: Vec<Tap>,
    next: u64,
}

struct Tap {
    number: u64,
    asked: TapAsked,
    secret: Vec<String>,
    left: u64,
    until: Instant,
    lines: mpsc::Sender<String>,
    dropped: u64,
}

impl Taps {
    /// `wake` is notified when a [round](Self::round) has something to do.
    pub(super) fn new(workers: usize, wake: Arc<Notify>) -> Self {
        Self { workers, wake, ring: None, open: Vec::new(), next: 0 }
    }

    /// Opens one; what it sees goes to `lines`, one JSON object each. Workers know of it with the next plan.
    ///
    /// # Errors
    /// What is wrong with the question, or that there are too many already.
    pub(super) fn open(&mut self, asked: TapAsked, redact: &[String], lines: mpsc::Sender<String>) -> Result<()> {
        if !(1..=1_000_000).contains(&asked.limit) || !(1..=3600).contains(&asked.seconds) {
            bail!("tap: `limit` is 1 to 1000000, `seconds` 1 to 3600");
        }
        if self.open.len() >= TAPS {
            bail!("tap: {TAPS} are open, which is all there may be");
        }
        filter(&asked)?;
        let wake = Arc::clone(&self.wake);
        let ring = || TapRing::new(self.workers, CAPACITY, move || wake.notify_one());
        self.ring.get_or_insert_with(ring);
        let secret = SECRET.iter().map(|name| (*name).to_owned()).chain(redact.iter().map(|name| name.to_lowercase()));
        self.next += 1;
        self.open.push(Tap {
            number: self.next,
            secret: secret.collect(),
            left: asked.limit,
            until: Instant::now() + Duration::from_secs(asked.seconds),
            lines,
            dropped: 0,
            asked,
        });
        Ok(())
    }

    /// Differs when other taps are open.
    pub(super) fn version(&self) -> Vec<u64> {
        self.open.iter().map(|tap| tap.number).collect()
    }

    /// When the next one ends by itself.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.open.iter().map(|tap| tap.until).min()
    }

    /// Has a chain's streams told to those that are open.
    pub(super) fn add(&self, sinks: &mut Sinks) {
        let Some(ring) = &self.ring else { return };
        for tap in &self.open {
            // Checked when it was opened.
            if let Ok(filter) = filter(&tap.asked) {
                sinks.add(|needs| TapSink::new(tap.number, filter, Arc::clone(ring), needs));
            }
        }
    }

    /// Hands what workers have reported to whoever reads it. True if there may be more.
    pub(super) fn round(&mut self) -> bool {
        let Some(ring) = &self.ring else { return false };
        let open = &mut self.open;
        ring.drain(BATCH, |tapped| {
            if let Some(tap) = open.iter_mut().find(|tap| tap.number == tapped.tap && tap.left > 0) {
                tap.left -= 1;
                let line = tap.line(&tapped.report.record());
                match tap.lines.try_send(format!("{line}\n")) {
                    Ok(()) => {}
                    Err(mpsc::error::TrySendError::Full(_)) => tap.dropped += 1,
                    Err(mpsc::error::TrySendError::Closed(_)) => tap.left = 0,
                }
            }
        })
    }

    /// Closes those that have seen enough or that nobody reads any more. True if there were any: workers are to be told.
    pub(super) fn close(&mut self) -> bool {
        let before = self.open.len();
        let now = Instant::now();
        self.open.retain(|tap| tap.left > 0 && tap.until > now && !tap.lines.is_closed());
        if self.open.is_empty() {
            self.ring = None;
        }
        self.open.len() != before
    }
}

fn filter(asked: &TapAsked) -> Result<Option<(LogFilter, Needs)>> {
    let filter = asked.filter.as_ref().map(access_log::only_filter).transpose();
    filter.map_err(|(key, why)| anyhow!("tap: {key}: {why}"))
}

impl Tap {
    fn line(&mut self, record: &StreamRecord<'_>) -> Value {
        let text = |bytes: Option<&[u8]>| bytes.map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        let at = record.start.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let mut line = json!({
            "at_us": at.as_micros() as u64,
            "method": record.method,
            "authority": text(record.authority),
            "path": text(record.path),
            "headers": self.fields(record.request_fields),
        });
        let dropped = std::mem::take(&mut self.dropped);
        let Some(members) = line.as_object_mut().filter(|_| !self.asked.record) else { return line };
        members.insert("protocol".into(), record.protocol.map(|version| version.to_string()).into());
        members.insert("duration_us".into(), (record.duration.as_micros() as u64).into());
        members.insert("client".into(), record.downstream_remote.map(ToString::to_string).into());
        members.insert("route".into(), record.route_name.into());
        members.insert("cluster".into(), record.upstream_cluster.into());
        members.insert("host".into(), record.upstream_host.map(ToString::to_string).into());
        members.insert("attempts".into(), record.upstream_attempts.into());
        members.insert("bytes_received".into(), record.bytes_received.into());
        members.insert("bytes_sent".into(), record.bytes_sent.into());
        let response = json!({
            "code": record.response_code,
            "details": record.response_code_details,
            "flags": if record.flags.is_empty() { "-".to_owned() } else { record.flags.to_string() },
            "grpc_status": record.grpc_status,
            "headers": self.fields(record.response_fields),
        });
        members.insert("response".into(), response);
        if dropped > 0 {
            members.insert("left_out_before".into(), dropped.into());
        }
        line
    }

    /// Fields for others to see.
    fn fields(&self, fields: &[FieldPair]) -> Vec<[String; 2]> {
        let shown = |(name, value): &FieldPair| {
            let name = String::from_utf8_lossy(name).into_owned();
            let is_secret = self.secret.iter().any(|secret| name.eq_ignore_ascii_case(secret));
            let value = if is_secret { "[redacted]".into() } else { String::from_utf8_lossy(value).into_owned() };
            [name, value]
        };
        fields.iter().map(shown).collect()
    }
}
