//! Who has changed what: every change of the configuration and every admin request that does something.

use std::collections::{BTreeMap, VecDeque};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::SystemTime;

use anyhow::{Context, Result};
use ringway_config::Snapshot;
use ringway_telemetry::{Format, StreamRecord};
use serde_json::{Map, Value, json};

/// Records that are kept in memory.
const KEPT: usize = 256;
/// Records that may wait for the disk.
const WAITING: usize = 1024;
/// Names of each kind that a record has at most.
const NAMES: usize = 50;

/// Who asks.
#[derive(Clone, Debug)]
pub(crate) struct Actor {
    pub(crate) peer: SocketAddr,
    /// What the client says it is.
    pub(crate) agent: Option<String>,
}

/// The records, in memory and in a file.
#[derive(Default)]
pub(crate) struct Audit {
    recent: VecDeque<Value>,
    file: Option<AuditFile>,
    /// Who asks for what is being done; nobody for signals and files.
    pub(crate) actor: Option<Actor>,
    lost: Arc<AtomicU64>,
}

/// A file of records, written by a thread of its own.
pub(crate) struct AuditFile {
    path: String,
    lines: SyncSender<String>,
    writer: JoinHandle<()>,
}

impl AuditFile {
    fn open(path: &str, lost: &Arc<AtomicU64>) -> Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        let file = file.with_context(|| format!("admin.audit_log: cannot open {path}"))?;
        let (lines, waiting) = sync_channel(WAITING);
        let lost = Arc::clone(lost);
        let writer = thread::Builder::new().name("audit".into()).spawn(move || write(file, &waiting, &lost))?;
        Ok(Self { path: path.to_owned(), lines, writer })
    }
}

fn write(mut file: File, lines: &Receiver<String>, lost: &AtomicU64) {
    for line in lines {
        // One write for each: a line is whole, whoever else appends.
        if let Err(error) = file.write_all(line.as_bytes()).and_then(|()| file.flush()) {
            lost.fetch_add(1, Ordering::Relaxed);
            eprintln!("ringway: the audit log cannot be written: {error}: {}", line.trim_end());
        }
    }
}

impl Audit {
    /// The file of a configuration that is about to be published, if it is not open yet.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub(super) fn prepare(&self, snapshot: &Snapshot) -> Result<Option<AuditFile>> {
        let wanted = snapshot.raw.admin.audit_log.as_deref();
        let is_open = |path: &&str| self.file.as_ref().is_some_and(|file| file.path == *path);
        wanted.filter(|path| !is_open(path)).map(|path| AuditFile::open(path, &self.lost)).transpose()
    }

    /// Uses the file that was prepared, or none if the configuration has none.
    pub(super) fn follow(&mut self, snapshot: &Snapshot, prepared: Option<AuditFile>) {
        match prepared {
            None if snapshot.raw.admin.audit_log.is_some() => {}
            prepared => self.file = prepared,
        }
    }

    /// Opens the file again, by its name.
    ///
    /// # Errors
    /// When it cannot be opened; the old one stays in use.
    pub(crate) fn reopen(&mut self) -> Result<()> {
        if let Some(file) = &self.file {
            self.file = Some(AuditFile::open(&file.path, &self.lost)?);
        }
        Ok(())
    }

    /// Notes what was done, or refused.
    pub(crate) fn note(&mut self, action: &str, details: Value, outcome: Result<(), String>) {
        let mut at = Vec::new();
        if let Ok(format) = Format::value("%START_TIME%") {
            format.render(&StreamRecord::new(SystemTime::now()), &mut at);
        }
        let mut record = Map::new();
        record.insert("at".into(), String::from_utf8_lossy(&at).into());
        record.insert("action".into(), action.into());
        let by = self.actor.as_ref().map(|actor| json!({ "peer": actor.peer.to_string(), "agent": actor.agent }));
        record.insert("by".into(), by.unwrap_or_else(|| "the process".into()));
        record.insert("result".into(), if outcome.is_ok() { "done" } else { "refused" }.into());
        if let Err(error) = outcome {
            record.insert("error".into(), error.into());
        }
        if let Value::Object(details) = details {
            record.extend(details);
        }
        let record = Value::Object(record);
        if let Some(file) = &self.file
            && file.lines.try_send(format!("{record}\n")).is_err()
        {
            self.lost.fetch_add(1, Ordering::Relaxed);
            eprintln!("ringway: the audit log is behind: {record}");
        }
        self.recent.push_back(record);
        if self.recent.len() > KEPT {
            self.recent.pop_front();
        }
    }

    /// Writes what waits, at the end of the process.
    pub(super) fn finish(&mut self) {
        if let Some(AuditFile { lines, writer, .. }) = self.file.take() {
            drop(lines);
            if writer.join().is_err() {
                eprintln!("ringway: the thread of the audit log has failed");
            }
        }
    }

    /// What is kept in memory, the newest first.
    pub(crate) fn recent(&self) -> Value {
        let lost = self.lost.load(Ordering::Relaxed);
        json!({ "audit": self.recent.iter().rev().collect::<Vec<_>>(), "not_written": lost })
    }
}

/// What differs between two configurations, by name.
pub(super) fn changes(before: Option<&Snapshot>, now: &Snapshot) -> Value {
    let listeners = |of: &Snapshot| -> BTreeMap<String, usize> {
        of.listeners.iter().map(|one| (one.raw.name.clone(), Arc::as_ptr(one) as usize)).collect()
    };
    let clusters = |of: &Snapshot| -> BTreeMap<String, usize> {
        of.clusters.iter().map(|one| (one.raw.name.clone(), Arc::as_ptr(one) as usize)).collect()
    };
    let known = |parts: &dyn Fn(&Snapshot) -> BTreeMap<String, usize>| before.map(parts).unwrap_or_default();
    json!({
        "listeners": between(&known(&listeners), &listeners(now)),
        "clusters": between(&known(&clusters), &clusters(now)),
    })
}

/// Parts are known by their names, and the same as before when they are the same object.
fn between(before: &BTreeMap<String, usize>, now: &BTreeMap<String, usize>) -> Value {
    let names = |names: Vec<&String>| -> Value {
        let more = names.len().saturating_sub(NAMES);
        let mut shown: Vec<String> = names.into_iter().take(NAMES).cloned().collect();
        if more > 0 {
            shown.push(format!("and {more} more"));
        }
        shown.into()
    };
    json!({
        "added": names(now.keys().filter(|name| !before.contains_key(*name)).collect()),
        "modified": names(now.iter().filter(|(name, is)| before.get(*name).is_some_and(|was| was != *is)).map(|(name, _)| name).collect()),
        "removed": names(before.keys().filter(|name| !now.contains_key(*name)).collect()),
    })
}
