//! From a snapshot to the plan that workers use.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use ringway_api::Address;
use ringway_config::{Cluster, Listener, Service, Snapshot, Target, raw};
use ringway_proxy::{
    ClusterPlan, ForwardPolicy, ListenerPlan, LogPlan, PathPolicy, Plan, RequestId, ServerHeader, ServicePlan,
};
use ringway_telemetry::{Format, LogFile, LogWriter, Registry};
use ringway_upstream::{BreakerLimits, HostParams};

/// What plans are made with, and what of them outlives each.
pub(crate) struct Planner {
    registry: Arc<Registry>,
    logs: LogWriter,
    workers: usize,
    files: HashMap<String, Arc<LogFile>>,
    limits: HashMap<String, BreakerLimits>,
    /// The plan in force, with the snapshot it was made of.
    last: Option<(Arc<Snapshot>, Arc<Plan>)>,
}

/// Addresses by name and port.
pub(crate) type Resolved = HashMap<(String, u16), Arc<[SocketAddr]>>;

impl Planner {
    pub(crate) fn new(registry: Arc<Registry>, logs: LogWriter, workers: usize) -> Self {
        Self { registry, logs, workers, files: HashMap::new(), limits: HashMap::new(), last: None }
    }

    pub(crate) fn logs(&self) -> &LogWriter {
        &self.logs
    }

    pub(crate) fn into_logs(self) -> LogWriter {
        self.logs
    }

    pub(crate) fn last(&self) -> Option<&Arc<Plan>> {
        self.last.as_ref().map(|(_, plan)| plan)
    }

    /// Opens the log files a snapshot names that are not open yet.
    pub(crate) fn open_logs(&mut self, snapshot: &Snapshot) -> Result<()> {
        for listener in &snapshot.listeners {
            let Some(log) = &listener.raw.access_log else { continue };
            if !self.files.contains_key(&log.path) {
                let file = self.logs.open(Path::new(&log.path));
                let file = file.with_context(|| format!("listener {}: cannot open {}", listener.raw.name, log.path))?;
                self.files.insert(log.path.clone(), file);
            }
        }
        Ok(())
    }

    /// The plan of a snapshot. What is as in the plan before is taken from it.
    pub(crate) fn plan(&mut self, generation: u64, snapshot: &Arc<Snapshot>, resolved: &Resolved) -> Arc<Plan> {
        let last = self.last.take();
        let before = last.as_ref().map(|(snapshot, plan)| (&**snapshot, &**plan));
        let clusters: Arc<[_]> =
            snapshot.clusters.iter().map(|cluster| self.cluster(cluster, before, resolved)).collect();
        let listeners = snapshot.listeners.iter().map(|listener| self.listener(listener, before)).collect();
        let plan = Arc::new(Plan { generation, listeners, clusters });
        self.limits.retain(|name, _| snapshot.clusters.iter().any(|cluster| cluster.raw.name == *name));
        self.files.retain(|path, _| {
            let log = |listener: &Arc<Listener>| listener.raw.access_log.as_ref().is_some_and(|log| log.path == *path);
            snapshot.listeners.iter().any(log)
        });
        self.last = Some((Arc::clone(snapshot), Arc::clone(&plan)));
        plan
    }

    fn cluster(
        &mut self,
        cluster: &Arc<Cluster>,
        before: Option<(&Snapshot, &Plan)>,
        resolved: &Resolved,
    ) -> Arc<ClusterPlan> {
        let hosts = hosts(cluster, resolved);
        let same = before.and_then(|(snapshot, plan)| {
            let at = snapshot.clusters.iter().position(|other| Arc::ptr_eq(other, cluster))?;
            plan.clusters.get(at).filter(|plan| plan.hosts == hosts)
        });
        if let Some(same) = same {
            return Arc::clone(same);
        }
        let raw = &cluster.raw;
        Arc::new(ClusterPlan {
            name: raw.name.as_str().into(),
            hosts,
            balancer: cluster.balancer,
            protocol: cluster.protocol,
            options: Arc::clone(&cluster.options),
            connect_timeout: raw.connect_timeout.duration(),
            idle_timeout: raw.idle_timeout.limit(),
            max_requests_per_connection: NonZeroU32::new(raw.max_requests_per_connection),
            limits: self.limits(raw),
            transport: transport(raw),
            stats: self.registry.cluster(&raw.name),
        })
    }

    /// The cluster's limits: the same counters as before, with the new numbers.
    fn limits(&mut self, cluster: &raw::Cluster) -> BreakerLimits {
        let raw::Limits { max_connections, max_pending_requests, max_requests } = cluster.limits;
        match self.limits.get(&cluster.name) {
            Some(limits) => {
                limits.connections.resize(max_connections);
                limits.pending.resize(max_pending_requests);
                limits.requests.resize(max_requests);
                limits.clone()
            }
            None => {
                let limits = BreakerLimits::new(max_connections, max_pending_requests, max_requests, self.workers);
                self.limits.insert(cluster.name.clone(), limits.clone());
                limits
            }
        }
    }

    fn listener(&self, listener: &Arc<Listener>, before: Option<(&Snapshot, &Plan)>) -> Arc<ListenerPlan> {
        let same = before.and_then(|(snapshot, plan)| {
            let at = snapshot.listeners.iter().position(|other| Arc::ptr_eq(other, listener))?;
            plan.listeners.get(at)
        });
        if let Some(same) = same {
            return Arc::clone(same);
        }
        let raw = &listener.raw;
        let service = match &listener.service {
            Service::Streams { protocol, options, routes } => {
                ServicePlan::Streams { protocol, options: Arc::clone(options), routes: Arc::clone(routes) }
            }
            Service::Raw { cluster, idle_timeout } => {
                ServicePlan::Raw { cluster: *cluster, idle_timeout: *idle_timeout }
            }
        };
        let log = raw.access_log.as_ref().and_then(|log| {
            let file = Arc::clone(self.files.get(&log.path)?);
            // Checked when the snapshot was compiled.
            let format = Arc::new(format(&log.format).ok()?);
            Some(LogPlan { format, file })
        });
        Arc::new(ListenerPlan {
            name: raw.name.as_str().into(),
            address: listener.address.clone(),
            service,
            forward: Arc::new(forward(&raw.headers)),
            path: PathPolicy { normalize: raw.path.normalize, merge_slashes: raw.path.merge_slashes },
            max_connections: raw.max_connections,
            log,
            stats: self.registry.listener(&listener.address.to_string()),
            http: self.registry.http(&raw.name),
            tcp: self.registry.tcp(&raw.name),
        })
    }
}

/// The format that a configuration asks for.
///
/// # Errors
/// What is wrong with it, with the position.
pub(crate) fn format(raw: &raw::LogFormat) -> Result<Format> {
    match raw {
        raw::LogFormat::Line(line) if line == "text" => Ok(Format::default_text()),
        raw::LogFormat::Line(line) if line == "json" => Ok(Format::default_json()),
        raw::LogFormat::Line(line) => Format::parse(line).map_err(|error| anyhow!("{error}")),
        raw::LogFormat::Json(members) => {
            let members: Vec<_> = members.iter().collect();
            Format::json(&members).map_err(|error| anyhow!("{error}"))
        }
    }
}

fn forward(raw: &raw::HeaderPolicy) -> ForwardPolicy {
    let name = || raw.server_name.as_str().into();
    ForwardPolicy {
        forwarded_for: raw.x_forwarded_for,
        forwarded_proto: raw.x_forwarded_proto,
        request_id: match raw.x_request_id {
            raw::RequestIdPolicy::Generate => RequestId::Generate,
            raw::RequestIdPolicy::Replace => RequestId::Replace,
            raw::RequestIdPolicy::Keep => RequestId::Keep,
        },
        via: raw.via.as_deref().map(Into::into),
        server: match raw.server {
            raw::ServerPolicy::Overwrite => ServerHeader::Overwrite(name()),
            raw::ServerPolicy::AppendIfAbsent => ServerHeader::AppendIfAbsent(name()),
            raw::ServerPolicy::PassThrough => ServerHeader::PassThrough,
        },
    }
}

/// A cluster's hosts: every address of a name is a host of its own.
fn hosts(cluster: &Cluster, resolved: &Resolved) -> Vec<HostParams> {
    let mut hosts = Vec::new();
    for endpoint in &cluster.endpoints {
        let host = |address: Address| HostParams { address, alternates: Vec::new(), weight: endpoint.weight };
        match &endpoint.target {
            Target::Address(address) => hosts.push(host(address.clone())),
            Target::Name { host: name, port } => {
                let addresses = resolved.get(&(name.clone(), *port));
                hosts.extend(addresses.into_iter().flat_map(|found| found.iter()).map(|ip| host(Address::Ip(*ip))));
            }
        }
    }
    hosts
}

/// A number that changes with what connections are made of.
fn transport(raw: &raw::Cluster) -> u64 {
    let mut hasher = DefaultHasher::new();
    (&raw.protocol, raw.options.to_string()).hash(&mut hasher);
    hasher.finish()
}
