//! Limits that outlive plans: what is under way stays counted when numbers change.

use std::collections::HashMap;

use ringway_api::Address;
use ringway_config::{Snapshot, raw};
use ringway_upstream::{BreakerLimits, HostLimits, HostParams, RetryAllowance, SharedLimit};

/// The limits of all clusters, and of their hosts.
#[derive(Default)]
pub(super) struct Limits {
    clusters: HashMap<String, BreakerLimits>,
    hosts: HashMap<String, HashMap<Address, HostLimits>>,
}

impl Limits {
    /// A cluster's limits: the same counters as before, with the new numbers.
    pub(super) fn of(&mut self, cluster: &raw::Cluster, workers: usize) -> BreakerLimits {
        let raw::Limits { max_connections, max_pending_requests, max_requests, max_retries, .. } = cluster.limits;
        let limits = match self.clusters.get(&cluster.name) {
            Some(limits) => {
                limits.connections.resize(max_connections);
                limits.pending.resize(max_pending_requests);
                limits.requests.resize(max_requests);
                limits.clone()
            }
            None => {
                let limits = BreakerLimits::new(max_connections, max_pending_requests, max_requests, workers);
                self.clusters.insert(cluster.name.clone(), limits.clone());
                limits
            }
        };
        let raw::RetryBudget { percent, min_concurrency } = cluster.retry_budget;
        let budget = RetryAllowance::Budget { percent, min: min_concurrency };
        limits.retries.resize(max_retries.map_or(budget, RetryAllowance::Absolute));
        limits
    }

    /// Gives hosts the limits that the cluster sets to each, those that they have had if they have.
    pub(super) fn attach(&mut self, cluster: &raw::Cluster, workers: usize, hosts: &mut [HostParams]) {
        let raw::HostLimits { max_connections, max_requests } = cluster.limits.per_host;
        if max_connections.is_none() && max_requests.is_none() {
            self.hosts.remove(&cluster.name);
            return;
        }
        let mut before = self.hosts.remove(&cluster.name).unwrap_or_default();
        let mut known: HashMap<Address, HostLimits> = HashMap::with_capacity(hosts.len());
        for host in hosts {
            let limits = known.entry(host.address.clone()).or_insert_with(|| {
                let before = before.remove(&host.address).unwrap_or_default();
                HostLimits {
                    connections: resized(before.connections, max_connections, workers),
                    requests: resized(before.requests, max_requests, workers),
                }
            });
            host.limits = limits.clone();
        }
        self.hosts.insert(cluster.name.clone(), known);
    }

    /// Forgets clusters that are gone.
    pub(super) fn retain(&mut self, snapshot: &Snapshot) {
        let stays = |name: &String| snapshot.clusters.iter().any(|cluster| cluster.raw.name == *name);
        self.clusters.retain(|name, _| stays(name));
        self.hosts.retain(|name, _| stays(name));
    }
}

fn resized(before: Option<SharedLimit>, now: Option<u32>, workers: usize) -> Option<SharedLimit> {
    let limit = before.unwrap_or_else(|| SharedLimit::new(now.unwrap_or(0), workers));
    limit.resize(now?);
    Some(limit)
}
