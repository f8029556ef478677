//! What the admin pages say.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::SystemTime;

use axum::http::StatusCode;
use ringway_config::Published;
use ringway_upstream::{HealthFlags, HostReport};
use serde_json::{Value, json};

use super::Answer;
use crate::control::{Control, Phase, unix_seconds};

pub(super) const INDEX: &str = "\
Ringway admin

GET  /ui/                        the live view, for browsers
GET  /ready                      LIVE, or 503 while draining
GET  /server_info                version, state, uptime
GET  /stats                      statistics (?filter=text, ?usedonly, ?format=json|prometheus)
GET  /stats/prometheus           statistics for Prometheus
GET  /clusters                   hosts and connections (?format=json)
GET  /listeners                  listeners (?format=json)
GET  /config_dump                the configuration in force, defaults filled in
GET  /snapshots                  the last configurations
GET  /snapshots/N                the text of one
GET  /snapshots/N/diff           what it changed (?from=M)
GET  /audit                      who has changed what
GET  /traces                     traced requests (?kind=recent|slow|failed, ?limit=N)
GET  /traces/ID                  the spans of a trace
POST /tap                        requests as they end (docs/tap.md)
POST /explain                    what would become of a request, and why (docs/explain.md)
POST /snapshots/N/rollback       put it in force again
POST /config                     put the configuration in the body in force
POST /reload                     read the configuration file again
POST /drain                      stop listening, end connections in order
POST /quitquitquit               drain and end the process
POST /reopen_logs                open access log files again
";

/// Brings statistics that are kept elsewhere up to date.
pub(super) async fn sample(control: &Control) {
    control.workers.sample().await;
    let server = control.registry.server.control();
    server.live.set(u64::from(control.phase == Phase::Live));
    server.state.set(u64::from(control.phase == Phase::Draining));
    server.uptime.set(uptime(control));
    server.concurrency.set(control.workers.count() as u64);
    server.total_connections.set(control.workers.shared().open() as u64);
    server.memory_allocated.set(resident_bytes());
}

fn uptime(control: &Control) -> u64 {
    SystemTime::now().duration_since(control.started).unwrap_or_default().as_secs()
}

/// Resident bytes, from `/proc/self/statm`.
fn resident_bytes() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: u64 = statm.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * rustix::param::page_size() as u64
}

pub(super) fn server_info(control: &Control) -> Value {
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "state": match control.phase { Phase::Live => "LIVE", Phase::Draining => "DRAINING" },
        "uptime_seconds": uptime(control),
        "pid": std::process::id(),
        "workers": control.workers.count(),
        "generation": control.store.current().map(|current| current.generation),
        "open_connections": control.workers.shared().open(),
    })
}

pub(super) fn config_dump(current: &Published) -> Value {
    json!({
        "generation": current.generation,
        "origin": current.origin,
        "published_at": unix_seconds(current.at),
        "config": current.snapshot.raw,
    })
}

pub(super) fn snapshots(control: &Control) -> Value {
    let current = control.store.current().map(|current| current.generation);
    let history: Vec<Value> = control
        .store
        .history()
        .map(|published| {
            json!({
                "generation": published.generation,
                "origin": published.origin,
                "published_at": unix_seconds(published.at),
                "bytes": published.text.len(),
                "listeners": published.snapshot.listeners.len(),
                "routes": published.snapshot.route_count(),
                "clusters": published.snapshot.clusters.len(),
                "in_force": Some(published.generation) == current,
            })
        })
        .collect();
    let workers: Vec<_> = (0..control.workers.count())
        .filter_map(|number| control.workers.shared().worker(number))
        .map(|shown| shown.generation.load(std::sync::atomic::Ordering::Acquire))
        .collect();
    json!({ "snapshots": history, "worker_generations": workers, "retired_in_use": control.store.retired() })
}

pub(super) fn listeners(control: &Control, as_json: bool) -> Answer {
    let Some(current) = control.store.current() else { return Answer::text(StatusCode::OK, "") };
    let listeners = &current.snapshot.listeners;
    if as_json {
        let all: Vec<_> = listeners
            .iter()
            .map(|l| json!({ "name": l.raw.name, "address": l.address.to_string(), "protocol": l.raw.protocol.to_string() }))
            .collect();
        return Answer::json(&json!({ "listener_statuses": all }));
    }
    let lines: Vec<_> = listeners.iter().map(|l| format!("{}::{}", l.raw.name, l.address)).collect();
    Answer::text(StatusCode::OK, lines.join("\n"))
}

/// One host over all workers.
#[derive(Default)]
struct Sum {
    usable: bool,
    health: HealthFlags,
    /// Of what it answered, and of what this side tried; of clusters with outlier detection.
    success_rates: Option<[Option<f64>; 2]>,
    weight: u32,
    active: u64,
    connections: u64,
    idle: u64,
    total: u64,
    requests: u64,
    failures: u64,
}

impl Sum {
    fn add(&mut self, report: &HostReport) {
        self.usable |= report.usable;
        self.health = report.health;
        self.weight = report.weight;
        self.active += report.requests_active;
        self.connections += report.connections_active;
        self.idle += report.connections_idle;
        self.total += report.connections_total;
        self.requests += report.requests_total;
        self.failures += report.connect_failures;
    }

    /// `healthy`, or why not, as Envoy shows it.
    fn health_flags(&self) -> String {
        self.health.to_string()
    }

    /// In percent; -1 if there were too few requests in the last interval.
    fn rates(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let named = |rates: [Option<f64>; 2]| ["success_rate", "local_origin_success_rate"].into_iter().zip(rates);
        self.success_rates.into_iter().flat_map(named).map(|(name, rate)| (name, rate.unwrap_or(-1.0)))
    }

    fn rows(&self) -> [(&'static str, u64); 7] {
        [
            ("weight", self.weight.into()),
            ("rq_active", self.active),
            ("rq_total", self.requests),
            ("cx_active", self.connections),
            ("cx_idle", self.idle),
            ("cx_total", self.total),
            ("cx_connect_fail", self.failures),
        ]
    }
}

/// The hosts of the clusters as workers have them: address, weight, health.
pub(super) async fn hosts(control: &Control) -> BTreeMap<String, Vec<(String, u32, String)>> {
    let mut all: BTreeMap<String, BTreeMap<String, Sum>> = BTreeMap::new();
    for (name, hosts) in control.workers.clusters().await.into_iter().flatten() {
        let cluster = all.entry(name).or_default();
        hosts.iter().for_each(|host| cluster.entry(host.address.to_string()).or_default().add(host));
    }
    let host = |(address, sum): (String, Sum)| (address, sum.weight, sum.health_flags());
    all.into_iter().map(|(name, hosts)| (name, hosts.into_iter().map(host).collect())).collect()
}

pub(super) async fn clusters(control: &Control, as_json: bool) -> Answer {
    let mut all: BTreeMap<String, BTreeMap<String, Sum>> = BTreeMap::new();
    if let Some(current) = control.store.current() {
        all.extend(current.snapshot.clusters.iter().map(|cluster| (cluster.raw.name.clone(), BTreeMap::new())));
    }
    for (name, hosts) in control.workers.clusters().await.into_iter().flatten() {
        let cluster = all.entry(name.clone()).or_default();
        for host in &hosts {
            let sum = cluster.entry(host.address.to_string()).or_default();
            sum.add(host);
            sum.success_rates = control.planner.health.success_rates(&name, &host.address);
        }
    }
    if as_json {
        let host = |(address, sum): (&String, &Sum)| {
            let mut value = json!({ "address": address, "healthy": sum.usable, "health_flags": sum.health_flags() });
            if let Some(object) = value.as_object_mut() {
                object.extend(sum.rows().map(|(name, number)| (name.into(), number.into())));
                object.extend(sum.rates().map(|(name, rate)| (name.into(), rate.into())));
            }
            value
        };
        let clusters: Vec<_> = all
            .iter()
            .map(|(name, hosts)| json!({ "name": name, "host_statuses": hosts.iter().map(host).collect::<Vec<_>>() }))
            .collect();
        return Answer::json(&json!({ "cluster_statuses": clusters }));
    }
    let mut text = String::new();
    for (name, hosts) in &all {
        for (address, sum) in hosts {
            let mut line =
                |key: &str, value: &dyn std::fmt::Display| writeln!(text, "{name}::{address}::{key}::{value}");
            let written = line("health_flags", &sum.health_flags())
                .and_then(|()| sum.rows().into_iter().try_for_each(|(key, value)| line(key, &value)))
                .and_then(|()| sum.rates().try_for_each(|(key, value)| line(key, &value)));
            debug_assert!(written.is_ok(), "a string takes everything");
        }
    }
    Answer::text(StatusCode::OK, text)
}
