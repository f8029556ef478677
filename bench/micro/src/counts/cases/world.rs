//! A worker and hosts in memory: what is between them is the product's.

use std::num::NonZeroU32;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use ringway_api::{Address, BalancerSpec, Blame, ConnError, FilterSpec, ProtocolSpec};
use ringway_config::{Catalog, Cluster, Filter, Listener, Service, Snapshot, Target, compile};
use ringway_filters::{Cors, Fault, HeaderMutation, IpAccess, LocalRateLimit};
use ringway_http1::Http1;
use ringway_proxy::{
    ChainPlan, ClusterPlan, CoreView, FilterPlan, FilterPlans, ForwardPolicy, Handshake, ListenerPlan, PathPolicy,
    Plan, ProtocolEntry, Security, ServicePlan, Toolbox, Worker,
};
use ringway_telemetry::Registry;
use ringway_testkit::{MemoryIo, MemoryNet, PairOptions, Sim, pair};
use ringway_upstream::balance::RoundRobin;
use ringway_upstream::{BreakerLimits, Grouping, HostParams, RetryAllowance};

const PROTOCOLS: &[ProtocolEntry<MemoryIo>] = &[ProtocolEntry::of::<Http1>()];

/// What a configuration of a case may name.
pub(super) const CATALOG: Catalog = Catalog {
    protocols: &[ProtocolSpec::of::<Http1>()],
    filters: &[
        FilterSpec::of::<Cors>(),
        FilterSpec::of::<HeaderMutation>(),
        FilterSpec::of::<LocalRateLimit>(),
        FilterSpec::of::<IpAccess>(),
        FilterSpec::of::<Fault>(),
    ],
    balancers: &[BalancerSpec::of::<RoundRobin>()],
    check_access_log: |_| Ok(()),
    compile_value: |_| Err("no operators here".to_owned()),
};

const LISTENER: &str = "10.0.0.1:80";
const CLIENT: &str = "10.0.3.1:1000";
const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nServer: app\r\nContent-Length: 5\r\n\r\nhello";

/// A worker with this configuration; its clusters' hosts answer at once.
pub(super) struct World {
    sim: Sim,
    worker: Rc<Worker>,
    view: CoreView<MemoryIo>,
}

impl World {
    pub(super) fn new(config: &str) -> Result<Self> {
        let snapshot = compile("case", config, &CATALOG, None).map_err(|error| anyhow::anyhow!("{error}"))?;
        let sim = Sim::new(1);
        let net = Rc::new(MemoryNet::new(sim.env(), PairOptions::default()));
        let worker = Worker::new(sim.env(), 0, Box::new(|_| {}));
        let security = Security { accept: |_, _| no_tls(), connect: |_, _, _| no_tls() };
        let connect = Rc::clone(&net) as Rc<dyn ringway_api::Connect<MemoryIo>>;
        let tools = Toolbox::new(Rc::clone(&worker), sim.env(), connect, |_| None, security, PROTOCOLS, (0, 1));
        let view = CoreView::build(Arc::new(plan(&snapshot)?), None, &tools);
        let hosts = sim.clone();
        sim.spawn(async move {
            loop {
                let (_, io) = net.accept().await;
                hosts.spawn(answer(io));
            }
        });
        Ok(Self { sim, worker, view })
    }

    /// Has a client ask this again and again on one connection; each time must end with a 200.
    pub(super) fn asks(&self, request: &str) -> Result<impl FnMut() -> usize> {
        let (mut client, far) = pair(PairOptions::default());
        let (listener, peer) = (Address::Ip(LISTENER.parse()?), Address::Ip(CLIENT.parse()?));
        let handle = self.view.listener(&listener).context("no listener")?;
        self.worker.serve(handle, far, (listener, peer), None);
        let (sim, request) = (self.sim.clone(), request.to_owned());
        let mut received = Vec::new();
        let mut ask = move || {
            received.clear();
            sim.block_on(async {
                let sent = client.send(&request).await;
                while sent.is_ok()
                    && !received.ends_with(b"hello")
                    && let Ok(Some(chunk)) = client.recv().await
                {
                    received.extend_from_slice(&chunk);
                }
            });
            if received.starts_with(b"HTTP/1.1 200 ") { received.len() } else { 0 }
        };
        ensure!(ask() > 0, "no 200");
        Ok(ask)
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.sim.stop();
    }
}

async fn answer(mut io: MemoryIo) {
    let mut head = Vec::new();
    while let Ok(Some(chunk)) = io.recv().await {
        head.extend_from_slice(&chunk);
        if head.ends_with(b"\r\n\r\n") {
            head.clear();
            if io.send(ANSWER).await.is_err() {
                return;
            }
        }
    }
}

fn no_tls() -> Handshake<MemoryIo> {
    Box::pin(std::future::ready(Err(ConnError::new(Blame::Local, "no_tls"))))
}

fn plan(snapshot: &Snapshot) -> Result<Plan> {
    let registry = Arc::new(Registry::new(1));
    let clusters = snapshot.clusters.iter().map(|cluster| plan_cluster(cluster, &registry));
    let listeners = snapshot.listeners.iter().map(|listener| plan_listener(listener, &registry));
    Ok(Plan { generation: 1, listeners: listeners.collect::<Result<_>>()?, clusters: clusters.collect::<Result<_>>()? })
}

fn plan_cluster(cluster: &Cluster, registry: &Registry) -> Result<Arc<ClusterPlan>> {
    let raw = &cluster.raw;
    let hosts = cluster.endpoints.iter().map(|endpoint| match &endpoint.target {
        Target::Address(address) => Ok(HostParams::new(address.clone())),
        Target::Name { .. } => bail!("addresses only"),
    });
    let of = &raw.limits;
    let limits = BreakerLimits::new(of.max_connections, of.max_pending_requests, of.max_requests, 1);
    limits
        .retries
        .resize(RetryAllowance::Budget { percent: raw.retry_budget.percent, min: raw.retry_budget.min_concurrency });
    Ok(Arc::new(ClusterPlan {
        name: raw.name.as_str().into(),
        hosts: hosts.collect::<Result<_>>()?,
        balancer: cluster.balancer.clone(),
        grouping: Arc::new(Grouping::default()),
        protocols: Arc::clone(&cluster.protocols),
        tls: None,
        proxy_protocol: None,
        connect_timeout: raw.connect_timeout.duration(),
        pending_timeout: of.pending_timeout.unwrap_or(raw.connect_timeout).duration(),
        idle_timeout: raw.idle_timeout.limit(),
        max_requests_per_connection: NonZeroU32::new(raw.max_requests_per_connection),
        bound: cluster.bound,
        original: None,
        limits,
        transport: 0,
        passive: None,
        stats: registry.cluster(&raw.name),
    }))
}

fn plan_listener(listener: &Listener, registry: &Arc<Registry>) -> Result<Arc<ListenerPlan>> {
    let chain = listener.chains.first().context("no filter chain")?;
    let Service::Streams { protocols, routes, filters, .. } = &chain.service else { bail!("streams only") };
    let filter = |filter: &Filter| FilterPlan {
        filter: filter.clone(),
        stats: registry.filter(&listener.raw.name, filter.spec.name, filter.spec.stats),
    };
    Ok(Arc::new(ListenerPlan {
        name: "web".into(),
        address: listener.address.clone(),
        max_connections: None,
        proxy_protocol: None,
        original_dst: false,
        sniff_timeout: Duration::from_secs(1),
        matcher: Arc::clone(&listener.matcher),
        chains: vec![Arc::new(ChainPlan {
            name: "".into(),
            tls: None,
            service: ServicePlan::Streams {
                protocols: Arc::clone(protocols),
                filters: FilterPlans { usual: filters.iter().map(filter).collect(), by_route: Vec::new() },
                routes: Arc::clone(routes),
            },
            forward: Arc::new(ForwardPolicy::default()),
            path: PathPolicy { normalize: true, merge_slashes: false },
            sinks: Arc::default(),
            tracing: None,
            http: registry.http("web"),
            tcp: registry.tcp("web"),
        })],
        stats: registry.listener("web"),
    }))
}
