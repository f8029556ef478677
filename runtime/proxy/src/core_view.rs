//! A plan as one worker uses it, built from the plan and the view before. Nothing here can fail.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::rc::Rc;
use std::sync::Arc;

use ringway_api::{Address, Blame, ConnError, ConnInfo, Connect, Env, Io};
use ringway_upstream::{Cluster, ClusterParams, Describe, Factory, Services};

use crate::entry::ProtocolEntry;
use crate::events::Counted;
use crate::log::AccessLog;
use crate::plan::{ClusterPlan, ListenerPlan, Plan, ServicePlan};
use crate::timers::TimerPool;
use crate::view::{ClusterView, ListenerHandle, ListenerView, Service};
use crate::worker::Worker;

/// What a worker lends to its views.
pub struct Toolbox<I: Io> {
    /// Time, timers, tasks.
    pub env: Rc<dyn Env>,
    /// Opens streams.
    pub connect: Rc<dyn Connect<I>>,
    /// Our end of a connected stream, for logs.
    pub local_address: fn(&I) -> Option<Address>,
    /// The protocols there are.
    pub protocols: &'static [ProtocolEntry<I>],
    /// The worker's number.
    pub number: usize,
    timers: Rc<TimerPool>,
    worker: Rc<Worker>,
}

/// A worker's view of one plan.
pub struct CoreView<I: Io> {
    plan: Arc<Plan>,
    clusters: Rc<[Rc<ClusterView<I>>]>,
    by_name: HashMap<Arc<str>, usize>,
    listeners: HashMap<Address, Rc<ListenerHandle<I>>>,
}

impl<I: Io> Toolbox<I> {
    /// The toolbox of a worker.
    pub fn new(
        worker: Rc<Worker>,
        env: Rc<dyn Env>,
        connect: Rc<dyn Connect<I>>,
        local_address: fn(&I) -> Option<Address>,
        protocols: &'static [ProtocolEntry<I>],
        number: usize,
    ) -> Self {
        let timers = TimerPool::new(Rc::clone(&env));
        Self { env, connect, local_address, protocols, number, timers, worker }
    }

    fn entry(&self, name: &str) -> Option<&'static ProtocolEntry<I>> {
        self.protocols.iter().find(|entry| entry.spec.name == name)
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
        let by_name: HashMap<_, _> =
            plan.clusters.iter().enumerate().map(|(at, cluster)| (Arc::clone(&cluster.name), at)).collect();
        for gone in old.iter().flat_map(|old| &*old.clusters).filter(|view| !by_name.contains_key(&*view.name)) {
            gone.cluster.drain();
        }
        let listeners = plan
            .listeners
            .iter()
            .map(|listener| {
                let view = Rc::new(build_listener(listener, &clusters, tools));
                let handle = match old.and_then(|old| old.listeners.get(&listener.address)) {
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

    /// Returns unused shares of process-wide limits; for the worker's tick.
    pub fn settle(&self) {
        self.clusters.iter().for_each(|view| view.cluster.settle());
    }
}

fn build_cluster<I: Io>(
    plan: &Arc<ClusterPlan>,
    old: Option<&Rc<ClusterView<I>>>,
    tools: &Toolbox<I>,
) -> Rc<ClusterView<I>> {
    let stats = plan.stats.worker(tools.number);
    let params = ClusterParams {
        hosts: plan.hosts.clone(),
        balancer: plan.balancer,
        connect_timeout: plan.connect_timeout,
        idle_timeout: plan.idle_timeout,
        max_requests_per_connection: plan.max_requests_per_connection,
        expected_slots: NonZeroU32::MIN,
        limits: plan.limits.clone(),
        transport: plan.transport,
    };
    let (worker, local_address) = (Rc::clone(&tools.worker), tools.local_address);
    let describe: Describe<I> = Rc::new(move |io, peer| {
        let local = local_address(io).unwrap_or_else(|| peer.clone());
        ConnInfo::new(worker.next_id(), local, peer.clone())
    });
    let entry = plan.protocol.and_then(|name| tools.entry(name));
    let options = Arc::clone(&plan.options);
    let factory: Factory<I> = Rc::new(move |io, conn| match entry {
        Some(entry) => (entry.connect)(Arc::clone(&options), io, conn),
        // The configuration does not route requests to clusters of bytes.
        None => Box::pin(std::future::ready(Err(ConnError::new(Blame::Local, "cluster_carries_no_requests")))),
    });
    let services = Services {
        env: Rc::clone(&tools.env),
        connect: Rc::clone(&tools.connect),
        describe,
        factory,
        events: Rc::new(Counted(stats.clone())),
    };
    let cluster = Cluster::rebuild(old.map(|old| &old.cluster), params, services);
    Rc::new(ClusterView { name: Rc::from(&*plan.name), cluster, stats })
}

fn build_listener<I: Io>(
    plan: &ListenerPlan,
    clusters: &Rc<[Rc<ClusterView<I>>]>,
    tools: &Toolbox<I>,
) -> ListenerView<I> {
    let (service, routes) = match &plan.service {
        ServicePlan::Streams { protocol, options, routes } => match tools.entry(protocol) {
            Some(entry) => {
                let service = Service::Streams { serve: entry.serve, options: Arc::clone(options) };
                (service, Some(Arc::clone(routes)))
            }
            None => {
                debug_assert!(false, "the catalogue the plan was made with has no {protocol}");
                (Service::Raw { cluster: usize::MAX, idle_timeout: None }, None)
            }
        },
        ServicePlan::Raw { cluster, idle_timeout } => {
            (Service::Raw { cluster: *cluster, idle_timeout: *idle_timeout }, None)
        }
    };
    let log = plan
        .log
        .as_ref()
        .and_then(|log| log.file.lane(tools.number).map(|lane| AccessLog::new(Arc::clone(&log.format), lane)));
    ListenerView {
        service,
        max_connections: plan.max_connections,
        listener: plan.stats.worker(tools.number),
        routes,
        clusters: Rc::clone(clusters),
        forward: Arc::clone(&plan.forward),
        path: plan.path,
        http: plan.http.worker(tools.number),
        tcp: plan.tcp.worker(tools.number),
        log,
        timers: Rc::clone(&tools.timers),
    }
}
