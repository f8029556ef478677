//! The control plane: one thread that reads, compiles, prepares and publishes.

mod access_log;
mod audit;
mod changes;
mod endpoints;
mod exporters;
mod health;
mod hosts;
mod limits;
mod metrics;
mod plan;
mod publish;
mod taps;
mod tls;
mod traces;
mod tracing;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail};
use ringway_api::Address;
use ringway_config::{Catalog, Published, Snapshot, Store, compile};
use ringway_proxy::Plan;
use ringway_telemetry::{Format, Registry};
use serde_json::json;
use tokio::sync::mpsc;

use crate::catalog::{BALANCERS, FILTERS, PROTOCOL_SPECS};
use crate::names::Names;
use crate::watched::Watched;
use crate::workers::{Command, Workers};

pub(crate) use audit::{Actor, Audit};
pub(crate) use endpoints::EndpointFiles;
use endpoints::WatchedEndpoints;
use exporters::Exporters;
pub(crate) use hosts::{Addresses, Resolved};
pub(crate) use plan::Planner;
pub(crate) use taps::{TapAsked, WAITING as TAP_WAITING};
pub(crate) use traces::Kind as TraceKind;

/// What configurations may name.
pub(crate) const CATALOG: Catalog = Catalog {
    protocols: PROTOCOL_SPECS,
    compile_value: |text| match Format::value(text) {
        Ok(format) => Ok(Arc::new(format)),
        Err(error) => Err(error.to_string()),
    },
    filters: FILTERS,
    balancers: BALANCERS,
    check_access_log: access_log::check,
};

/// Makes what a snapshot needs of files, to see whether it can be made.
///
/// # Errors
/// What is wrong with the files.
pub(crate) fn check_files(snapshot: &Snapshot) -> Result<()> {
    EndpointFiles::read(snapshot)?;
    tls::Contexts::prepare(snapshot, &tls::Contexts::default()).map(drop)
}

/// Where the process is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Serving.
    Live,
    /// Ending: no new connections, those under way finish.
    Draining,
}

/// Everything the control plane knows.
pub(crate) struct Control {
    pub(crate) store: Store,
    pub(crate) registry: Arc<Registry>,
    pub(crate) workers: Workers,
    pub(crate) planner: Planner,
    pub(crate) phase: Phase,
    pub(crate) started: SystemTime,
    pub(crate) resolved: Resolved,
    /// Bound addresses, whether their connections are balanced.
    bound: HashMap<Address, bool>,
    /// Plans that workers may still use: freed here, never there.
    retired: Vec<Arc<Plan>>,
    /// The files of certificates and keys.
    pub(crate) watched: Watched,
    /// The files of endpoints.
    pub(crate) endpoints: WatchedEndpoints,
    /// What takes telemetry away.
    pub(crate) exporters: Exporters,
    /// Who has changed what.
    pub(crate) audit: Audit,
}

impl Control {
    pub(crate) fn new(workers: Workers, registry: Arc<Registry>, planner: Planner) -> Self {
        Self {
            store: Store::new(),
            registry,
            workers,
            planner,
            phase: Phase::Live,
            started: SystemTime::now(),
            resolved: Resolved::default(),
            endpoints: WatchedEndpoints::default(),
            bound: HashMap::new(),
            retired: Vec::new(),
            watched: Watched::default(),
            exporters: Exporters::default(),
            audit: Audit::default(),
        }
    }

    /// Compiles a configuration, resolves its names and publishes it.
    ///
    /// # Errors
    /// What is wrong with it; nothing has changed then.
    pub(crate) async fn apply(&mut self, origin: &str, text: Arc<str>, names: &mut Names) -> Result<Arc<Published>> {
        let began = tokio::time::Instant::now();
        let cells = self.registry.config.control();
        cells.update_attempt.inc();
        let old = self.store.current();
        let outcome = match compile(origin, &text, &CATALOG, old.as_ref().map(|old| &*old.snapshot)) {
            Ok(snapshot) => self.find_and_publish(origin, text, Arc::new(snapshot), names).await,
            Err(error) => Err(anyhow::Error::msg(error.to_string())),
        };
        match &outcome {
            Ok(_) => {
                cells.update_success.inc();
                cells.update_duration.record(began.elapsed());
            }
            Err(_) => cells.update_rejected.inc(),
        }
        self.note_change("apply", origin, old.as_deref(), &outcome);
        outcome
    }

    fn note_change(
        &mut self,
        action: &str,
        origin: &str,
        before: Option<&Published>,
        outcome: &Result<Arc<Published>>,
    ) {
        let details = match outcome {
            Ok(published) => json!({
                "origin": origin,
                "generation": published.generation,
                "changed": audit::changes(before.map(|before| &*before.snapshot), &published.snapshot),
            }),
            Err(_) => json!({ "origin": origin }),
        };
        self.audit.note(action, details, outcome.as_ref().map(drop).map_err(|error| format!("{error:#}")));
    }

    /// Publishes a snapshot of the history again.
    ///
    /// # Errors
    /// When it is not in the history, or cannot be prepared any more.
    pub(crate) async fn rollback(&mut self, generation: u64, names: &mut Names) -> Result<Arc<Published>> {
        let Some(wanted) = self.store.find(generation).cloned() else {
            bail!("generation {generation} is not among the last {}", ringway_config::HISTORY);
        };
        let origin = format!("rollback to generation {generation} ({})", wanted.origin);
        let (text, snapshot) = (Arc::clone(&wanted.text), Arc::clone(&wanted.snapshot));
        let before = self.store.current();
        let outcome = self.find_and_publish(&origin, text, snapshot, names).await;
        self.note_change("rollback", &origin, before.as_deref(), &outcome);
        let published = outcome?;
        self.registry.config.control().rollback.inc();
        Ok(published)
    }

    /// Reads the endpoints that stand in files, resolves names, publishes.
    async fn find_and_publish(
        &mut self,
        origin: &str,
        text: Arc<str>,
        snapshot: Arc<Snapshot>,
        names: &mut Names,
    ) -> Result<Arc<Published>> {
        let files = EndpointFiles::read(&snapshot)?;
        self.resolved.set_names(names.resolve(&snapshot, &files).await);
        let before = std::mem::replace(&mut self.resolved.files, files);
        let outcome = self.publish(origin, text, snapshot).await;
        match &outcome {
            Ok(_) => self.endpoints.set(&self.resolved.files),
            Err(_) => self.resolved.files = before,
        }
        outcome
    }

    /// Reads the files of endpoints again, and puts in force what has changed.
    pub(crate) async fn reload_endpoints(&mut self, names: &mut Names) {
        let Some(current) = self.store.current() else { return };
        if self.resolved.files.reload(&current.snapshot, &self.registry) {
            self.resolved.set_names(names.resolve(&current.snapshot, &self.resolved.files).await);
            self.refresh().await;
        }
    }

    /// Prepares everything that may fail, then puts the snapshot in force.
    async fn publish(&mut self, origin: &str, text: Arc<str>, snapshot: Arc<Snapshot>) -> Result<Arc<Published>> {
        if self.phase == Phase::Draining {
            bail!("the process is draining");
        }
        let contexts = self.planner.prepare_contexts(&snapshot)?;
        let sockets = publish::bind_new(&snapshot, &self.bound, self.workers.count()).await;
        let sockets =
            sockets.inspect_err(|_| self.registry.listener_manager.control().listener_create_failure.inc())?;
        self.planner.open_logs(&snapshot)?;
        let audit_file = self.audit.prepare(&snapshot)?;
        self.audit.follow(&snapshot, audit_file);
        self.planner.use_contexts(contexts);
        self.watch_files();
        self.warm_up(&snapshot).await;
        self.exporters.follow(&snapshot, self.planner.contexts(), &self.registry);
        changes::count(&self.registry, self.store.current().as_deref().map(|old| &*old.snapshot), &snapshot);
        let published = self.store.publish(origin, SystemTime::now(), text, Arc::clone(&snapshot));
        self.bound = publish::addresses(&snapshot);
        self.send_plan(published.generation, &snapshot, sockets).await;
        self.reap();
        let cells = self.registry.config.control();
        cells.generation.set(published.generation);
        cells.update_time.set(unix_seconds(published.at));
        Ok(published)
    }

    /// Begins the health checks of a snapshot, and waits for the first of each host that is new. Bounded: a host that
    /// has not answered by then is out until it does.
    async fn warm_up(&mut self, snapshot: &Snapshot) {
        let wake = self.planner.health.wake();
        let until = tokio::time::Instant::now() + self.planner.begin_checks(snapshot, &self.resolved);
        while self.planner.health.is_pending() {
            if tokio::time::timeout_at(until, wake.notified()).await.is_err() {
                break;
            }
            self.health_round().await;
        }
    }

    /// Takes what workers have reported of streams. True if there may be more.
    pub(crate) fn reports_round(&mut self) -> bool {
        self.planner.take_reports(&self.exporters)
    }

    /// Opens a tap: what it sees goes to `lines`.
    ///
    /// # Errors
    /// What is wrong with the question, or that there are too many.
    pub(crate) async fn open_tap(&mut self, asked: TapAsked, lines: mpsc::Sender<String>) -> Result<()> {
        let current = self.store.current().context("no configuration is in force")?;
        self.planner.taps.open(asked, &current.snapshot.raw.admin.redact, lines)?;
        self.audit.note("tap", json!({}), Ok(()));
        self.refresh().await;
        Ok(())
    }

    /// Closes the taps that have seen enough.
    pub(crate) async fn close_taps(&mut self) {
        if self.planner.taps.close() {
            self.refresh().await;
        }
    }

    /// Decides about the health of hosts, and tells workers what has changed.
    pub(crate) async fn health_round(&mut self) {
        let changed: Arc<[String]> = self.planner.health.round().into_iter().collect();
        if !changed.is_empty() {
            for number in 0..self.workers.count() {
                self.workers.tell(number, Command::Health(Arc::clone(&changed))).await;
            }
        }
    }

    /// Reads certificates and keys again, for new handshakes; connections are left alone. False when they are as
    /// before.
    ///
    /// # Errors
    /// What is wrong with the files; the old ones stay in use.
    pub(crate) async fn reload_certificates(&mut self) -> Result<bool> {
        let Some(current) = self.store.current() else { return Ok(false) };
        let cells = self.registry.config.control();
        match self.planner.prepare_contexts(&current.snapshot) {
            Ok(contexts) if contexts.are_those_of(self.planner.contexts()) => Ok(false),
            Ok(contexts) => {
                cells.update_attempt.inc();
                cells.update_success.inc();
                self.planner.use_contexts(contexts);
                self.exporters.follow(&current.snapshot, self.planner.contexts(), &self.registry);
                self.watch_files();
                self.refresh().await;
                Ok(true)
            }
            Err(error) => {
                cells.update_attempt.inc();
                cells.update_rejected.inc();
                Err(error)
            }
        }
    }

    fn watch_files(&mut self) {
        let files = self.planner.contexts().files();
        self.watched.set(files);
    }

    /// Makes the plan of the snapshot in force again, with what names resolve to now.
    pub(crate) async fn refresh(&mut self) {
        if let Some(current) = self.store.current() {
            self.send_plan(current.generation, &current.snapshot, Vec::new()).await;
        }
    }

    async fn send_plan(&mut self, generation: u64, snapshot: &Arc<Snapshot>, sockets: Vec<publish::PerWorker>) {
        let old = self.planner.last().cloned();
        let plan = self.planner.plan(generation, snapshot, &self.resolved);
        self.retired.extend(old);
        let mut sockets = sockets.into_iter();
        for number in 0..self.workers.count() {
            let sockets = sockets.next().unwrap_or_default();
            self.workers.tell(number, Command::Publish { plan: Arc::clone(&plan), sockets }).await;
        }
    }

    /// Frees plans and snapshots that no worker uses any more.
    pub(crate) fn reap(&mut self) {
        self.retired.retain(|plan| Arc::strong_count(plan) > 1);
        self.store.reap();
    }

    /// Whether there is anything that [`reap`](Self::reap) may free sooner or later.
    pub(crate) fn has_retired(&self) -> bool {
        !self.retired.is_empty() || self.store.retired() > 0
    }

    /// Opens the files of logs again, by their names.
    pub(crate) fn reopen_logs(&mut self) {
        self.planner.logs().reopen();
        let outcome = self.audit.reopen().map_err(|error| format!("{error:#}"));
        if let Err(error) = &outcome {
            eprintln!("ringway: the old audit log stays in use: {error}");
        }
        self.audit.note("reopen_logs", json!({}), outcome);
    }

    /// Tells workers to stop listening and to end their connections in order.
    pub(crate) async fn drain(&mut self) {
        if self.phase == Phase::Live {
            self.phase = Phase::Draining;
            self.audit.note("drain", json!({}), Ok(()));
            crate::notify::stopping();
            for number in 0..self.workers.count() {
                self.workers.tell(number, Command::Drain).await;
            }
        }
    }

    pub(crate) fn drain_timeout(&self) -> Duration {
        self.store.current().map_or(Duration::ZERO, |current| current.snapshot.raw.drain.timeout.duration())
    }

    /// Ends the workers and flushes the logs.
    ///
    /// # Errors
    /// When a worker ended with an error.
    pub(crate) async fn shut_down(mut self) -> Result<()> {
        let stopped = self.workers.stop().await.context("a worker failed");
        self.planner.take_last_reports(&self.exporters);
        self.exporters.flush().await;
        self.audit.finish();
        let flushed = self.planner.into_logs().shutdown(Duration::from_secs(2));
        if !flushed {
            eprintln!("ringway: access logs could not be flushed in time");
        }
        stopped
    }
}

/// Seconds since 1970.
pub(crate) fn unix_seconds(at: SystemTime) -> u64 {
    at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}
