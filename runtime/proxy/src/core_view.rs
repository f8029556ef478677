//! A plan as one worker uses it, built from the plan and the view before. Nothing here can fail.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::rc::Rc;
use std::sync::Arc;

use ringway_api::{Address, Blame, ConnError, ConnInfo, Connect, Env, Io};
use ringway_config::Candidate;
use ringway_upstream::{Cluster, ClusterParams, Describe, Factory, Secure, Services};

use crate::attempt::ReplayMemory;
use crate::entry::{Options, ProtocolEntry, Security};
use crate::events::Counted;
use crate::filter_sets::{Builder, FilterSets};
use crate::listener::{ListenerHandle, ListenerView};
use crate::plan::{ChainPlan, ClusterPlan, ListenerPlan, Plan, ServicePlan};
use crate::sinks::ChainSinks;
use crate::timers::TimerPool;
use crate::tracing::Tracing;
use crate::view::{ChainHandle, ChainView, ClusterView, RawTransport, Service, Shares, Spoken};
use crate::worker::Worker;

/// Bytes of requests' contents that all workers together keep for their repetition, if nothing is said.
const REPLAY: usize = 64 << 20;

/// What a worker lends to its views.
pub struct Toolbox<I: Io> {
    /// Time, timers, tasks.
    pub env: Rc<dyn Env>,
    /// Opens streams.
    pub connect: Rc<dyn Connect<I>>,
    /// Our end of a connected stream, for logs.
    pub local_address: fn(&I) -> Option<Address>,
    /// Secures streams.
    pub security: Security<I>,
    /// The protocols there are.
    pub protocols: &'static [ProtocolEntry<I>],
    /// The worker's number.
    pub number: usize,
    /// How many workers there are.
    pub workers: usize,
    timers: Rc<TimerPool>,
    shares: Rc<Shares>,
    replay: Rc<ReplayMemory>,
    worker: Rc<Worker>,
}

/// A worker's view of one plan.
pub struct CoreView<I: Io> {
    plan: Arc<Plan>,
    clusters: Rc<[Rc<ClusterView<I>>]>,
    by_name: Rc<HashMap<Arc<str>, usize>>,
    listeners: HashMap<Address, Rc<ListenerHandle<I>>>,
}

impl<I: Io> Toolbox<I> {
    /// The toolbox of a worker.
    pub fn new(
        worker: Rc<Worker>,
        env: Rc<dyn Env>,
        connect: Rc<dyn Connect<I>>,
        local_address: fn(&I) -> Option<Address>,
        security: Security<I>,
        protocols: &'static [ProtocolEntry<I>],
        (number, workers): (usize, usize),
    ) -> Self {
        let timers = TimerPool::new(Rc::clone(&env));
        let shares = Rc::new(Shares::new(env.random()));
        let replay = ReplayMemory::new(REPLAY / workers.max(1));
        Self { env, connect, local_address, security, protocols, number, workers, timers, shares, replay, worker }
    }

    /// The same, keeping up to so many bytes of requests' contents for their repetition, on all workers together;
    /// 64 MiB otherwise.
    #[must_use]
    pub fn with_replay_memory(mut self, bytes: usize) -> Self {
        self.replay = ReplayMemory::new(bytes / self.workers.max(1));
        self
    }

    /// The protocols of a chain or cluster, with their options.
    fn spoken(&self, candidates: &[Candidate]) -> Rc<[Spoken<I>]> {
        let find = |candidate: &Candidate| {
            let entry = self.protocols.iter().find(|entry| entry.spec.name == candidate.protocol);
            // Plans are made with the catalogue that this is of.
            debug_assert!(entry.is_some(), "no protocol {}", candidate.protocol);
            Some(Spoken { entry: entry?, options: Arc::clone(&candidate.options) })
        };
        candidates.iter().filter_map(find).collect()
    }
}

impl<I: Io> CoreView<I> {
    /// The view of `plan`. What stays keeps its pools, counts and connections; clusters that left are drained. The
    /// handles of listeners that stay serve the new view from now on.
    pub fn build(plan: Arc<Plan>, old: Option<&Self>, tools: &Toolbox<I>) -> Self {
        let known = |name: &str| old.and_then(|old| Some((old, *old.by_name.get(name)?)));
        let clusters: Rc<[_]> = plan
            .clusters
            .iter()
            .map(|cluster| match known(&cluster.name) {
                Some((old, at)) => {
                    let same = old.plan.clusters.get(at).is_some_and(|before| Arc::ptr_eq(before, cluster));
                    match old.clusters.get(at) {
                        Some(view) if same => Rc::clone(view),
                        view => build_cluster(cluster, view, tools),
                    }
                }
                None => build_cluster(cluster, None, tools),
            })
            .collect();
        let by_name = plan.clusters.iter().enumerate().map(|(at, cluster)| (Arc::clone(&cluster.name), at));
        let by_name: Rc<HashMap<_, _>> = Rc::new(by_name.collect());
        for gone in old.iter().flat_map(|old| &*old.clusters).filter(|view| !by_name.contains_key(&*view.name)) {
            gone.cluster.drain();
        }
        let listeners = plan
            .listeners
            .iter()
            .map(|listener| {
                let before = old.and_then(|old| old.listeners.get(&listener.address));
                let old_view = before.map(|handle| handle.view());
                let view = Rc::new(build_listener(listener, (&clusters, &by_name), old_view.as_deref(), tools));
                let handle = match before {
                    Some(handle) => {
                        handle.replace(view);
                        Rc::clone(handle)
                    }
                    None => ListenerHandle::new(view),
                };
                (listener.address.clone(), handle)
            })
            .collect();
        Self { plan, clusters, by_name, listeners }
    }

    /// The plan it is of.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// The handle of the listener at an address.
    pub fn listener(&self, address: &Address) -> Option<&Rc<ListenerHandle<I>>> {
        self.listeners.get(address)
    }

    /// The clusters by name.
    pub fn clusters(&self) -> impl Iterator<Item = (&str, &Rc<Cluster<I>>)> {
        self.clusters.iter().map(|view| (&*view.name, &view.cluster))
    }

    /// Lets the hosts of a cluster be picked or not, as their health says now.
    pub fn sync_health(&self, cluster: &str) {
        if let Some(view) = self.by_name.get(cluster).and_then(|at| self.clusters.get(*at)) {
            view.cluster.sync_health();
        }
    }

    /// Returns unused shares of process-wide limits; for the worker's tick.
    pub fn settle(&self) {
        self.clusters.iter().for_each(|view| view.cluster.settle());
        let views = self.listeners.values().map(|listener| listener.view());
        views.for_each(|view| view.chains.iter().for_each(|chain| chain.view().filters.settle()));
    }
}

fn build_cluster<I: Io>(
    plan: &Arc<ClusterPlan>,
    old: Option<&Rc<ClusterView<I>>>,
    tools: &Toolbox<I>,
) -> Rc<ClusterView<I>> {
    let stats = plan.stats.worker(tools.number);
    let (worker, local_address) = (Rc::clone(&tools.worker), tools.local_address);
    let describe: Describe<I> = Rc::new(move |io, peer| {
        let local = local_address(io).unwrap_or_else(|| peer.clone());
        ConnInfo::new(worker.next_id(), local, peer.clone())
    });
    let spoken = tools.spoken(&plan.protocols);
    let streams = spoken.iter().map(|spoken| spoken.entry.spec.streams).min().unwrap_or(NonZeroU32::MIN);
    let factory: Factory<I> = Rc::new(move |io, conn| {
        let agreed = conn.info.tls.as_ref().and_then(|tls| tls.alpn.as_deref());
        let chosen = match (&*spoken, agreed) {
            ([only], _) => Some(only),
            (several, Some(name)) => several.iter().find(|spoken| spoken.entry.spec.alpn.contains(&name)),
            // RFC 9113, section 3.2: who does not speak ALPN speaks no HTTP/2.
            (several, None) => several.iter().find(|spoken| spoken.entry.spec.streams == NonZeroU32::MIN),
        };
        match chosen {
            Some(spoken) => (spoken.entry.connect)(Arc::clone(&spoken.options), io, conn),
            None => Box::pin(std::future::ready(Err(ConnError::new(Blame::Upstream, "no_protocol_agreed")))),
        }
    });
    let params = ClusterParams {
        hosts: plan.hosts.clone(),
        balancer: plan.balancer.clone(),
        grouping: Arc::clone(&plan.grouping),
        connect_timeout: plan.connect_timeout,
        pending_timeout: plan.pending_timeout,
        idle_timeout: plan.idle_timeout,
        max_requests_per_connection: plan.max_requests_per_connection,
        expected_slots: streams,
        limits: plan.limits.clone(),
        transport: plan.transport,
        passive: plan.passive,
        worker: tools.number,
        bound: plan.bound.then(|| Arc::clone(&plan.name)),
        original: plan.original.clone(),
    };
    let secure = plan.tls.as_ref().map(|context| secure(Arc::clone(context), tools.security));
    let services = Services {
        env: Rc::clone(&tools.env),
        connect: Rc::clone(&tools.connect),
        describe,
        secure,
        factory,
        events: Rc::new(Counted(stats.clone())),
    };
    let cluster = Cluster::rebuild(old.map(|old| &old.cluster), params, services);
    let raw = plan.protocols.is_empty().then(|| RawTransport {
        secure: plan.tls.as_ref().map(|context| self::secure(Arc::clone(context), tools.security)),
        proxy_protocol: plan.proxy_protocol,
        timeout: plan.connect_timeout,
    });
    Rc::new(ClusterView {
        name: Rc::from(&*plan.name),
        cluster,
        raw,
        stats,
        retries: plan.limits.retries.clone(),
        scope: Arc::clone(&plan.stats),
        replay: Rc::clone(&tools.replay),
    })
}

/// Secures connections to hosts.
fn secure<I: Io>(context: Options, security: Security<I>) -> Secure<I> {
    Rc::new(move |io, reach| {
        let name = match (&reach.name, reach.addresses.first()) {
            (Some(name), _) => Arc::clone(name),
            (None, Some(Address::Ip(ip))) => ip.ip().to_string().into(),
            (None, _) => Arc::default(),
        };
        (security.connect)(Arc::clone(&context), name, io)
    })
}

/// The clusters of a view, and their places by name.
type Clusters<'a, I> = (&'a Rc<[Rc<ClusterView<I>>]>, &'a Rc<HashMap<Arc<str>, usize>>);

fn build_listener<I: Io>(
    plan: &ListenerPlan,
    clusters: Clusters<'_, I>,
    old: Option<&ListenerView<I>>,
    tools: &Toolbox<I>,
) -> ListenerView<I> {
    let mut known: Vec<_> = old.iter().flat_map(|old| &old.chains).map(|handle| (handle, handle.view())).collect();
    let chains = plan.chains.iter().map(|chain| {
        let before = known.iter().position(|(_, view)| view.name == chain.name).map(|at| known.swap_remove(at));
        let view = Rc::new(build_chain(chain, clusters, before.as_ref().map(|(_, view)| &**view), tools));
        match before {
            Some((handle, _)) => {
                handle.replace(view);
                Rc::clone(handle)
            }
            None => ChainHandle::new(view),
        }
    });
    ListenerView {
        max_connections: plan.max_connections,
        proxy_protocol: plan.proxy_protocol,
        original_dst: plan.original_dst,
        sniff_timeout: plan.sniff_timeout,
        matcher: Arc::clone(&plan.matcher),
        chains: chains.collect(),
        security: tools.security,
        stats: plan.stats.worker(tools.number),
    }
}

fn build_chain<I: Io>(
    plan: &ChainPlan,
    (clusters, names): Clusters<'_, I>,
    old: Option<&ChainView<I>>,
    tools: &Toolbox<I>,
) -> ChainView<I> {
    let (service, filters, routes) = match &plan.service {
        ServicePlan::Streams { protocols, filters, routes } => {
            let with = Builder { env: &tools.env, worker: tools.number, workers: tools.workers };
            let filters = FilterSets::build(filters, old.map(|old| &old.filters), &with);
            (Service::Streams(tools.spoken(protocols)), filters, Some(Arc::clone(routes)))
        }
        ServicePlan::Raw { cluster, idle_timeout } => {
            (Service::Raw { cluster: *cluster, idle_timeout: *idle_timeout }, FilterSets::default(), None)
        }
    };
    let tracing = plan.tracing.as_ref().map(|plan| {
        let old = old.and_then(|old| old.tracing.as_ref());
        Tracing::new(plan, old, (tools.number, tools.workers), tools.env.now())
    });
    ChainView {
        name: Arc::clone(&plan.name),
        tls: plan.tls.clone(),
        service,
        routes,
        filters,
        clusters: Rc::clone(clusters),
        names: Rc::clone(names),
        shares: Rc::clone(&tools.shares),
        forward: Arc::clone(&plan.forward),
        path: plan.path,
        http: plan.http.worker(tools.number),
        tcp: plan.tcp.worker(tools.number),
        sinks: ChainSinks::new(&plan.sinks, tools.number),
        tracing,
        timers: Rc::clone(&tools.timers),
    }
}
