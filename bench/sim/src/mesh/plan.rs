//! From a configuration to what workers are handed, as the control plane does it.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use ringway_api::{BalancerSpec, ProtocolSpec};
use ringway_config::{Catalog, Cluster, Listener, Service, Snapshot, Target};
use ringway_http1::Http1;
use ringway_proxy::{
    ChainPlan, ClusterPlan, FilterPlans, ForwardPolicy, ListenerPlan, PathPolicy, Plan, ProtocolEntry, ServicePlan,
};
use ringway_telemetry::Registry;
use ringway_testkit::MemoryIo;
use ringway_upstream::balance::{LeastRequest, Maglev, PeakEwma, Random, RingHash, RoundRobin};
use ringway_upstream::{BreakerLimits, Grouping, HostParams, RetryAllowance};

use super::control::Control;

pub(super) const PROTOCOLS: &[ProtocolEntry<MemoryIo>] = &[ProtocolEntry::of::<Http1>()];

/// What a configuration may name.
pub(crate) const CATALOG: Catalog = Catalog {
    protocols: &[ProtocolSpec::of::<Http1>()],
    filters: &[],
    balancers: &[
        BalancerSpec::of::<RoundRobin>(),
        BalancerSpec::of::<LeastRequest>(),
        BalancerSpec::of::<PeakEwma>(),
        BalancerSpec::of::<Random>(),
        BalancerSpec::of::<RingHash>(),
        BalancerSpec::of::<Maglev>(),
    ],
    check_access_log: |_| Ok(()),
    compile_value: |_| Err("no operators here".to_owned()),
};

/// Where clients connect to.
pub(super) const LISTENER: &str = "10.255.0.1:80";

/// What outlives a plan.
#[derive(Default)]
pub(super) struct Kept {
    pub(super) limits: BTreeMap<String, BreakerLimits>,
    generation: u64,
}

impl Kept {
    pub(super) fn plan(
        &mut self,
        snapshot: &Snapshot,
        registry: &Registry,
        workers: usize,
        control: &mut Control,
    ) -> Result<Plan> {
        self.generation += 1;
        let clusters = snapshot.clusters.iter().map(|cluster| self.cluster(cluster, registry, workers, control));
        let clusters = clusters.collect::<Result<_>>()?;
        let listeners = snapshot.listeners.iter().map(|listener| plan_listener(listener, registry));
        Ok(Plan { generation: self.generation, listeners: listeners.collect::<Result<_>>()?, clusters })
    }

    fn cluster(
        &mut self,
        cluster: &Cluster,
        registry: &Registry,
        workers: usize,
        control: &mut Control,
    ) -> Result<Arc<ClusterPlan>> {
        let raw = &cluster.raw;
        let host = |target: &Target| match target {
            Target::Address(address) => Ok(HostParams::new(address.clone())),
            Target::Name { .. } => bail!("addresses only"),
        };
        let mut hosts = cluster.endpoints.iter().map(|endpoint| host(&endpoint.target)).collect::<Result<Vec<_>>>()?;
        control.attach(&raw.name, &mut hosts, workers);
        let limits = self.limits.entry(raw.name.clone()).or_insert_with(|| {
            let of = &raw.limits;
            BreakerLimits::new(of.max_connections, of.max_pending_requests, of.max_requests, workers)
        });
        let budget = raw.retry_budget;
        let budget = RetryAllowance::Budget { percent: budget.percent, min: budget.min_concurrency };
        limits.retries.resize(raw.limits.max_retries.map_or(budget, RetryAllowance::Absolute));
        Ok(Arc::new(ClusterPlan {
            name: raw.name.as_str().into(),
            hosts,
            balancer: cluster.balancer.clone(),
            grouping: Arc::new(Grouping::default()),
            protocols: Arc::clone(&cluster.protocols),
            tls: None,
            proxy_protocol: None,
            connect_timeout: raw.connect_timeout.duration(),
            pending_timeout: raw.limits.pending_timeout.unwrap_or(raw.connect_timeout).duration(),
            idle_timeout: raw.idle_timeout.limit(),
            max_requests_per_connection: NonZeroU32::new(raw.max_requests_per_connection),
            limits: limits.clone(),
            transport: 0,
            passive: control.passive(),
            original: None,
            bound: cluster.bound,
            stats: registry.cluster(&raw.name),
        }))
    }
}

fn plan_listener(listener: &Listener, registry: &Registry) -> Result<Arc<ListenerPlan>> {
    let chain = listener.chains.first().context("no filter chain")?;
    let Service::Streams { protocols, routes, .. } = &chain.service else { bail!("streams only") };
    Ok(Arc::new(ListenerPlan {
        name: "mesh".into(),
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
                filters: FilterPlans::default(),
                routes: Arc::clone(routes),
            },
            forward: Arc::new(ForwardPolicy::default()),
            path: PathPolicy { normalize: true, merge_slashes: false },
            sinks: Arc::default(),
            tracing: None,
            http: registry.http("mesh"),
            tcp: registry.tcp("mesh"),
        })],
        stats: registry.listener("mesh"),
    }))
}
