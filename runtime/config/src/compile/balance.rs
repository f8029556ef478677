//! How a cluster chooses among its hosts.

use ringway_api::Balancer;

use super::Catalog;
use crate::error::Fault;
use crate::raw;

/// The load balancer.
pub(super) fn balancer(raw: &raw::Balancer, catalog: &Catalog, path: &str) -> Result<Balancer, Fault> {
    let (name, options) = match raw {
        raw::Balancer::Name(name) => (name, serde_json::Value::Null),
        raw::Balancer::With(one) => match one.iter().collect::<Vec<_>>().as_slice() {
            [(name, options)] => (*name, (*options).clone()),
            _ => return Err(Fault::new(path, "one balancer with its options, such as `{ maglev: {} }`")),
        },
    };
    let Some(spec) = catalog.balancers.iter().find(|spec| spec.name == name) else {
        let known = || catalog.balancers.iter().map(|spec| spec.name);
        let list = known().collect::<Vec<_>>().join(", ");
        let fault = Fault::new(path, format!("no load balancer `{name}`; there are: {list}"));
        return Err(fault.near(name, known()));
    };
    let options = (spec.compile)(options).map_err(|error| Fault::new(format!("{path}.{name}"), error))?;
    Ok(Balancer { spec: *spec, options })
}

/// Checks what is said of groups of hosts.
pub(super) fn groups(raw: &raw::Cluster, path: &str) -> Result<(), Fault> {
    let fault = |key: &str, message: &str| Err(Fault::new(format!("{path}.{key}"), message));
    if raw.healthy_panic_threshold > 100 {
        return fault("healthy_panic_threshold", "at most 100 percent");
    }
    if raw.fail_traffic_on_panic && raw.healthy_panic_threshold == 0 {
        return fault("fail_traffic_on_panic", "there is no panic with a `healthy_panic_threshold` of 0");
    }
    if raw.overprovisioning_factor < 100 {
        return fault("overprovisioning_factor", "at least 100, which is none");
    }
    if !raw.locality_weights.is_empty() && raw.locality_weights.iter().all(|locality| locality.weight == 0) {
        return fault("locality_weights", "at least one weight must be more than 0");
    }
    if let Some(slow_start) = &raw.slow_start {
        if slow_start.window.0 == 0 {
            return fault("slow_start.window", "must be more than 0");
        }
        if !(slow_start.aggression > 0.0 && slow_start.aggression.is_finite()) {
            return fault("slow_start.aggression", "must be more than 0");
        }
        if !(0.0..=100.0).contains(&slow_start.min_weight_percent) {
            return fault("slow_start.min_weight_percent", "must be from 0 to 100");
        }
    }
    if let Some(zones) = &raw.zone_aware {
        if !(0.0..=100.0).contains(&zones.routing_enabled) {
            return fault("zone_aware.routing_enabled", "must be from 0 to 100");
        }
        if !raw.locality_weights.is_empty() {
            return fault("zone_aware", "excludes `locality_weights`: either decides how much a zone gets");
        }
    }
    if let Some(subset) = &raw.lb_subset {
        if subset.selectors.is_empty() || subset.selectors.iter().any(Vec::is_empty) {
            return fault("lb_subset.selectors", "at least one set with at least one key is needed");
        }
        let default = subset.fallback == raw::Fallback::DefaultSubset;
        if default == subset.default_subset.is_empty() {
            return fault("lb_subset.default_subset", "goes with `fallback: default_subset`, and that with it");
        }
    }
    Ok(())
}
