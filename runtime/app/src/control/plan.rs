//! From a snapshot to the plan that workers use.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use ringway_config::{Chain, Cluster, Filter, Listener, RouteFilters, RouteTable, Service, Snapshot, raw};
use ringway_io::tls::ServerTls;
use ringway_proxy::{
    CertDetail, ChainPlan, ClientCert, ClusterPlan, FilterPlan, FilterPlans, FilterSlot, ForwardPolicy, ListenerPlan,
    Options, PathPolicy, Plan, ProxyHeader, RequestId, ServerHeader, ServicePlan, TlsPlan,
};
use ringway_telemetry::{LogWriter, Registry, Sinks};
use ringway_upstream::OriginalDestination;
use tokio::sync::Notify;

use super::access_log::Logs;
use super::exporters::Exporters;
use super::grouping;
use super::health::{self, Health};
use super::hosts::{self, Resolved};
use super::limits::Limits;
use super::metrics::Meter;
use super::taps::Taps;
use super::tls::Contexts;
use super::tracing::Tracer;

/// How long the first health checks of new hosts are waited for at most.
const WARM_UP: Duration = Duration::from_secs(5);

/// What plans are made with, and what of them outlives each.
pub(crate) struct Planner {
    registry: Arc<Registry>,
    logs: LogWriter,
    workers: usize,
    access_logs: Logs,
    /// Requests that somebody looks on at.
    pub(crate) taps: Taps,
    /// The taps that the last plan knows.
    tapped: Vec<u64>,
    reports: Arc<Notify>,
    limits: Limits,
    contexts: Contexts,
    /// What is known of hosts.
    pub(crate) health: Health,
    /// Tracing.
    pub(crate) tracer: Tracer,
    meter: Meter,
    /// The plan in force, with the snapshot it was made of.
    last: Option<(Arc<Snapshot>, Arc<Plan>)>,
}

impl Planner {
    pub(crate) fn new(registry: Arc<Registry>, logs: LogWriter, workers: usize) -> Self {
        let reports = Arc::new(Notify::new());
        Self {
            health: Health::new(Arc::clone(&registry), workers),
            tracer: Tracer::new(Arc::clone(&registry), workers, Arc::clone(&reports)),
            taps: Taps::new(workers, Arc::clone(&reports)),
            tapped: Vec::new(),
            meter: Meter::new(Arc::clone(&registry), workers),
            access_logs: Logs::new(Arc::clone(&registry), workers, Arc::clone(&reports)),
            reports,
            registry,
            logs,
            workers,
            limits: Limits::default(),
            contexts: Contexts::default(),
            last: None,
        }
    }

    pub(crate) fn logs(&self) -> &LogWriter {
        &self.logs
    }

    pub(crate) fn into_logs(self) -> LogWriter {
        self.logs
    }

    /// Notified when workers have reported something: [`take_reports`](Self::take_reports).
    pub(crate) fn reports(&self) -> Arc<Notify> {
        Arc::clone(&self.reports)
    }

    /// Takes what workers have reported of streams to where it is wanted. True if there may be more.
    pub(crate) fn take_reports(&mut self, exporters: &Exporters) -> bool {
        let more = [self.tracer.round(exporters), self.access_logs.round(exporters), self.taps.round()];
        more.contains(&true)
    }

    /// The same at the end: all that there is.
    pub(crate) fn take_last_reports(&mut self, exporters: &Exporters) {
        self.tracer.finish(exporters);
        self.access_logs.finish(exporters);
    }

    pub(crate) fn last(&self) -> Option<&Arc<Plan>> {
        self.last.as_ref().map(|(_, plan)| plan)
    }

    /// Opens the log files a snapshot names that are not open yet.
    pub(crate) fn open_logs(&mut self, snapshot: &Snapshot) -> Result<()> {
        self.access_logs.open(snapshot, &self.logs)
    }

    /// Makes the TLS contexts of a snapshot. Nothing changes before they are [put in force](Self::use_contexts).
    pub(crate) fn prepare_contexts(&self, snapshot: &Snapshot) -> Result<Contexts> {
        Contexts::prepare(snapshot, &self.contexts)
    }

    /// The contexts in force.
    pub(crate) fn contexts(&self) -> &Contexts {
        &self.contexts
    }

    /// Uses these contexts in the plans to come.
    pub(crate) fn use_contexts(&mut self, contexts: Contexts) {
        self.contexts = contexts;
    }

    /// Begins the health checks of a snapshot that is about to be published; says for how long the first of them is
    /// worth waiting for.
    pub(crate) fn begin_checks(&mut self, snapshot: &Snapshot, resolved: &Resolved) -> Duration {
        let mut longest = Duration::ZERO;
        for cluster in &snapshot.clusters {
            if let Some(check) = &cluster.health_check {
                let mut hosts = hosts::of(cluster, &snapshot.raw.node, resolved);
                self.health.attach(cluster, &mut hosts);
                self.health.check(cluster, check, &hosts, &self.contexts);
                longest = longest.max(check.initial_jitter + check.timeout);
            }
        }
        longest.min(WARM_UP)
    }

    /// The plan of a snapshot. What is as in the plan before is taken from it.
    pub(crate) fn plan(&mut self, generation: u64, snapshot: &Arc<Snapshot>, resolved: &Resolved) -> Arc<Plan> {
        let last = self.last.take();
        self.tracer.follow(snapshot);
        self.meter.follow(snapshot);
        let before = last.as_ref().map(|(snapshot, plan)| (&**snapshot, &**plan));
        let clusters: Arc<[_]> =
            snapshot.clusters.iter().map(|cluster| self.cluster(snapshot, cluster, before, resolved)).collect();
        // What is traced or counted otherwise is planned anew, and so it is where others look on.
        let tapped = std::mem::replace(&mut self.tapped, self.taps.version());
        let as_before = |(old, _): &(&Snapshot, &Plan)| tapped == self.tapped && old.tells_as(snapshot);
        let told_as_before = before.filter(as_before);
        let listeners = snapshot.listeners.iter().map(|listener| self.listener(listener, told_as_before)).collect();
        let plan = Arc::new(Plan { generation, listeners, clusters });
        self.health.settle(snapshot, &plan, &self.contexts);
        self.limits.retain(snapshot);
        self.access_logs.settle(snapshot, &self.logs);
        self.last = Some((Arc::clone(snapshot), Arc::clone(&plan)));
        plan
    }

    fn cluster(
        &mut self,
        snapshot: &Snapshot,
        cluster: &Arc<Cluster>,
        before: Option<(&Snapshot, &Plan)>,
        resolved: &Resolved,
    ) -> Arc<ClusterPlan> {
        let mut hosts = hosts::of(cluster, &snapshot.raw.node, resolved);
        let grouping = grouping::of(snapshot, cluster, resolved);
        self.health.attach(cluster, &mut hosts);
        self.limits.attach(&cluster.raw, self.workers, &mut hosts);
        let same = before.and_then(|(snapshot, plan)| {
            let at = snapshot.clusters.iter().position(|other| Arc::ptr_eq(other, cluster))?;
            let context = self.contexts.client(&cluster.raw.name).map(Arc::as_ptr);
            let same_context = |plan: &ClusterPlan| match (&plan.tls, context) {
                (Some(before), Some(now)) => std::ptr::addr_eq(Arc::as_ptr(before), now),
                (None, None) => true,
                _ => false,
            };
            let same =
                |plan: &&Arc<ClusterPlan>| plan.hosts == hosts && *plan.grouping == grouping && same_context(plan);
            plan.clusters.get(at).filter(same)
        });
        if let Some(same) = same {
            return Arc::clone(same);
        }
        let raw = &cluster.raw;
        let stats = self.registry.cluster(&raw.name);
        let known = before.and_then(|(_, plan)| plan.clusters.iter().find(|other| *other.name == *raw.name));
        if known.is_none_or(|known| known.hosts != hosts) {
            stats.control().membership_change.inc();
        }
        let keys: Vec<_> = hosts.iter().map(|host| (host.weight, ringway_upstream::key(&host.address))).collect();
        cluster.balancer.prepare(&keys);
        Arc::new(ClusterPlan {
            name: raw.name.as_str().into(),
            hosts,
            balancer: cluster.balancer.clone(),
            grouping: Arc::new(grouping),
            protocols: Arc::clone(&cluster.protocols),
            tls: self.contexts.client(&raw.name).map(|context| -> Options { Arc::clone(context) as Options }),
            proxy_protocol: raw.proxy_protocol,
            connect_timeout: raw.connect_timeout.duration(),
            pending_timeout: raw.limits.pending_timeout.unwrap_or(raw.connect_timeout).duration(),
            idle_timeout: raw.idle_timeout.limit(),
            max_requests_per_connection: NonZeroU32::new(raw.max_requests_per_connection),
            bound: cluster.bound,
            original: raw.original_dst.as_ref().map(|raw| Arc::new(original_dst(raw))),
            limits: self.limits.of(raw, self.workers),
            passive: health::passive(cluster),
            transport: transport(raw),
            stats,
        })
    }

    fn listener(&self, listener: &Arc<Listener>, before: Option<(&Snapshot, &Plan)>) -> Arc<ListenerPlan> {
        let same = before.and_then(|(snapshot, plan)| {
            let at = snapshot.listeners.iter().position(|other| Arc::ptr_eq(other, listener))?;
            plan.listeners.get(at)
        });
        if let Some(same) = same
            && same.chains.iter().all(|chain| self.has_its_context(listener, chain))
        {
            return Arc::clone(same);
        }
        let raw = &listener.raw;
        Arc::new(ListenerPlan {
            name: raw.name.as_str().into(),
            address: listener.address.clone(),
            max_connections: raw.max_connections,
            proxy_protocol: raw.proxy_protocol.map(|proxy| match proxy.allow_requests_without {
                true => ProxyHeader::Optional,
                false => ProxyHeader::Required,
            }),
            original_dst: raw.original_dst,
            sniff_timeout: raw.sniff_timeout.duration(),
            matcher: Arc::clone(&listener.matcher),
            chains: listener.chains.iter().map(|chain| Arc::new(self.chain(raw, chain))).collect(),
            stats: self.registry.listener(&listener.address.to_string()),
        })
    }

    /// Whether a chain's TLS context is still the one it would get.
    fn has_its_context(&self, listener: &Listener, chain: &ChainPlan) -> bool {
        let now = self.contexts.server(&listener.raw.name, &chain.name);
        match (&chain.tls, now) {
            (Some(tls), Some(now)) => std::ptr::addr_eq(Arc::as_ptr(&tls.context), Arc::as_ptr(now)),
            (None, None) => true,
            _ => false,
        }
    }

    /// The filters of a chain's requests: the chain's, and for each route that says something of filters its own list.
    fn filters(&self, listener: &str, chain: &[Filter], routes: &RouteTable) -> FilterPlans {
        let plan = |filter: &Filter| FilterPlan {
            filter: filter.clone(),
            stats: self.registry.filter(listener, filter.spec.name, filter.spec.stats),
        };
        let of_route = |route: &RouteFilters| {
            let slots = route.over(chain).map(|(at, filter)| match at {
                Some(at) => FilterSlot::Usual(at),
                None => FilterSlot::Own(plan(filter)),
            });
            (Arc::clone(&route.name), slots.collect())
        };
        FilterPlans { usual: chain.iter().map(plan).collect(), by_route: routes.filters.iter().map(of_route).collect() }
    }

    fn chain(&self, listener: &raw::Listener, chain: &Chain) -> ChainPlan {
        let service = match &chain.service {
            Service::Streams { protocols, filters, routes } => ServicePlan::Streams {
                protocols: Arc::clone(protocols),
                filters: self.filters(&listener.name, filters, routes),
                routes: Arc::clone(routes),
            },
            Service::Raw { cluster, idle_timeout } => {
                ServicePlan::Raw { cluster: *cluster, idle_timeout: *idle_timeout }
            }
        };
        let mut sinks = Sinks::default();
        self.access_logs.add(listener, &mut sinks);
        self.taps.add(&mut sinks);
        self.meter.add(&listener.name, &mut sinks);
        let tracing = match &chain.service {
            Service::Streams { .. } => self.tracer.of(&listener.name, &mut sinks),
            Service::Raw { .. } => None,
        };
        let raw = &chain.raw;
        let tls = raw.tls.as_ref().and_then(|tls| {
            let context: Arc<ServerTls> = Arc::clone(self.contexts.server(&listener.name, &raw.name)?);
            Some(TlsPlan { context, handshake_timeout: tls.handshake_timeout.duration(), permissive: tls.permissive })
        });
        ChainPlan {
            name: raw.name.as_str().into(),
            tls,
            service,
            forward: Arc::new(forward(&raw.headers)),
            path: PathPolicy { normalize: raw.path.normalize, merge_slashes: raw.path.merge_slashes },
            sinks: Arc::new(sinks),
            tracing,
            http: self.registry.http(&listener.name),
            tcp: self.registry.tcp(&listener.name),
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
        client_cert: client_cert(raw),
    }
}

fn client_cert(raw: &raw::HeaderPolicy) -> ClientCert {
    let details = || {
        let detail = |detail: &raw::ClientCertDetail| match detail {
            raw::ClientCertDetail::Subject => CertDetail::Subject,
            raw::ClientCertDetail::Uri => CertDetail::Uri,
            raw::ClientCertDetail::Dns => CertDetail::Dns,
            raw::ClientCertDetail::Cert => CertDetail::Cert,
            raw::ClientCertDetail::Chain => CertDetail::Chain,
        };
        raw.client_cert_details.iter().map(detail).collect()
    };
    match raw.x_forwarded_client_cert {
        raw::ClientCertForwarding::Sanitize => ClientCert::Sanitize,
        raw::ClientCertForwarding::ForwardOnly => ClientCert::ForwardOnly,
        raw::ClientCertForwarding::AppendForward => ClientCert::AppendForward(details()),
        raw::ClientCertForwarding::SanitizeSet => ClientCert::SanitizeSet(details()),
        raw::ClientCertForwarding::AlwaysForwardOnly => ClientCert::AlwaysForwardOnly,
    }
}

fn original_dst(raw: &raw::OriginalDst) -> OriginalDestination {
    OriginalDestination {
        header: raw.header.as_deref().map(Into::into),
        port: raw.port,
        keep: raw.cleanup_interval.duration(),
        max_hosts: raw.max_hosts as usize,
    }
}

/// A number that changes with what connections are made of.
fn transport(raw: &raw::Cluster) -> u64 {
    let mut hasher = DefaultHasher::new();
    // A certificate that was renewed in its file is for new connections; those that are open stay.
    (&raw.protocol, raw.options.to_string(), format!("{:?}", raw.tls)).hash(&mut hasher);
    hasher.finish()
}
