//! How the hosts of clusters are grouped before one is picked.

use std::sync::Arc;

use ringway_config::{Cluster, Snapshot, raw};
use ringway_upstream::{Fallback, Grouping, SlowStart, Subsets, ZoneAware};

use super::hosts::{self, Resolved};

/// How a cluster's hosts are grouped.
pub(super) fn of(snapshot: &Snapshot, cluster: &Cluster, resolved: &Resolved) -> Grouping {
    let raw = &cluster.raw;
    let text = |text: &String| -> Box<str> { text.as_str().into() };
    let zone_aware = raw.zone_aware.and_then(|zones| {
        // Both are there: it was compiled.
        let node = &snapshot.raw.node;
        let name = node.local_cluster.as_ref()?;
        let senders = snapshot.clusters.iter().find(|cluster| cluster.raw.name == *name)?;
        Some(ZoneAware {
            local: hosts::locality(node.locality.as_ref()?),
            senders: hosts::by_locality(senders, resolved),
            min_hosts: zones.min_cluster_size as usize,
            share: zones.routing_enabled / 100.0,
        })
    });
    Grouping {
        panic_percent: raw.healthy_panic_threshold,
        fail_on_panic: raw.fail_traffic_on_panic,
        overprovisioning: raw.overprovisioning_factor,
        locality_weights: raw.locality_weights.iter().map(|one| (hosts::locality(&one.locality), one.weight)).collect(),
        zone_aware,
        slow_start: raw.slow_start.map(|raw| SlowStart {
            window: raw.window.duration(),
            aggression: raw.aggression,
            least: raw.min_weight_percent / 100.0,
        }),
        subsets: raw.lb_subset.as_ref().map(|raw| Subsets {
            selectors: raw.selectors.iter().map(|keys| keys.iter().map(text).collect()).collect(),
            fallback: match raw.fallback {
                raw::Fallback::NoEndpoint => Fallback::None,
                raw::Fallback::AnyEndpoint => Fallback::Any,
                raw::Fallback::DefaultSubset => {
                    let pairs = raw.default_subset.iter();
                    Fallback::Default(Arc::new(pairs.map(|(key, value)| (text(key), text(value))).collect()))
                }
            },
        }),
    }
}
