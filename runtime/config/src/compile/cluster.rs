//! Clusters.

use std::sync::Arc;

use http::HeaderName;

use super::{AUTO, Catalog, TCP, action, address, balance, health, protocol, tls};
use crate::error::Fault;
use crate::raw;
use crate::snapshot::{Cluster, Endpoint};

pub(super) fn compile(raw: &raw::Cluster, catalog: &Catalog, path: &str) -> Result<Cluster, Fault> {
    if raw.name.is_empty() {
        return Err(Fault::new(format!("{path}.name"), "must not be empty"));
    }
    let (protocols, usual) = if raw.protocol == TCP {
        if !raw.options.is_null() {
            return Err(Fault::new(format!("{path}.options"), "`tcp` takes no options"));
        }
        (Arc::default(), Vec::new())
    } else {
        protocol::one(&raw.protocol, &raw.options, catalog, path)?
    };
    let alpn = match &raw.tls {
        Some(tls) => tls::cluster(tls, usual, &format!("{path}.tls"))?,
        None if raw.protocol == AUTO => {
            let message = "`auto` needs `tls`, by which both sides agree on a protocol; name the protocol instead";
            return Err(Fault::new(format!("{path}.protocol"), message));
        }
        None => Vec::new(),
    };
    match raw.proxy_protocol {
        None => {}
        Some(1 | 2) if raw.protocol == TCP => {}
        Some(1 | 2) => {
            let message = "only for `tcp`: connections that carry requests are shared by clients";
            return Err(Fault::new(format!("{path}.proxy_protocol"), message));
        }
        Some(_) => return Err(Fault::new(format!("{path}.proxy_protocol"), "must be 1 or 2")),
    }
    let balancer = balance::balancer(&raw.lb, catalog, &format!("{path}.lb"))?;
    balance::groups(raw, path)?;
    if raw.connect_timeout.0 == 0 {
        return Err(Fault::new(format!("{path}.connect_timeout"), "must be more than 0"));
    }
    if raw.limits.pending_timeout.is_some_and(|timeout| timeout.0 == 0) {
        return Err(Fault::new(format!("{path}.limits.pending_timeout"), "must be more than 0"));
    }
    if !(0.0..=100.0).contains(&raw.retry_budget.percent) {
        return Err(Fault::new(format!("{path}.retry_budget.percent"), "must be from 0 to 100"));
    }
    let endpoints = match (&raw.endpoints, &raw.endpoints_file, &raw.original_dst) {
        (Some(list), None, None) => endpoints(list, path)?,
        // They are read with the other files.
        (None, Some(file), None) if !file.is_empty() => Vec::new(),
        (None, None, Some(original)) => {
            original_dst(raw, original, path)?;
            Vec::new()
        }
        (None, Some(_), None) => return Err(Fault::new(format!("{path}.endpoints_file"), "must not be empty")),
        _ => return Err(Fault::new(path, "exactly one of `endpoints`, `endpoints_file` and `original_dst` is needed")),
    };
    if let Some(raw) = &raw.outlier_detection {
        health::outliers(raw, path)?;
    }
    let health_check = health::check(raw, path)?.map(Arc::new);
    let needs = |name: &str| catalog.protocols.iter().any(|spec| spec.name == name && spec.bound);
    let bound = raw.connection_pool == raw::ConnectionPool::Bound || protocols.iter().any(|one| needs(one.protocol));
    if bound && protocols.is_empty() {
        let message = "`tcp` connections are bound anyway: leave it out";
        return Err(Fault::new(format!("{path}.connection_pool"), message));
    }
    Ok(Cluster { raw: raw.clone(), protocols, alpn, balancer, endpoints, health_check, bound })
}

fn original_dst(cluster: &raw::Cluster, raw: &raw::OriginalDst, path: &str) -> Result<(), Fault> {
    let fault = |key: &str, message: &str| Err(Fault::new(format!("{path}.{key}"), message));
    if raw.header.as_ref().is_some_and(|name| HeaderName::from_bytes(name.as_bytes()).is_err()) {
        return fault("original_dst.header", "is no header's name");
    }
    for (key, value) in [
        ("port", raw.port.map(u64::from)),
        ("cleanup_interval", Some(raw.cleanup_interval.0)),
        ("max_hosts", Some(raw.max_hosts.into())),
    ] {
        if value == Some(0) {
            return fault(&format!("original_dst.{key}"), "must be more than 0");
        }
    }
    // Nothing is chosen among hosts, and nothing is known of them beforehand.
    for (key, is_set) in [
        ("lb", cluster.lb != raw::Balancer::default()),
        ("health_checks", !cluster.health_checks.is_empty()),
        ("outlier_detection", cluster.outlier_detection.is_some()),
        ("locality_weights", !cluster.locality_weights.is_empty()),
        ("slow_start", cluster.slow_start.is_some()),
        ("zone_aware", cluster.zone_aware.is_some()),
        ("locality_failover", cluster.locality_failover),
        ("lb_subset", cluster.lb_subset.is_some()),
    ] {
        if is_set {
            return fault(key, "not with `original_dst`: the destination is the host");
        }
    }
    Ok(())
}

/// The hosts of a list that stands at this path.
pub(super) fn endpoints(list: &[raw::Endpoint], path: &str) -> Result<Vec<Endpoint>, Fault> {
    let dot = if path.is_empty() { "" } else { "." };
    let mut endpoints = Vec::with_capacity(list.len());
    for (at, endpoint) in list.iter().enumerate() {
        let (text, weight) = endpoint.parts();
        let path = format!("{path}{dot}endpoints[{at}]");
        let target = address::endpoint(text).map_err(|error| Fault::new(path.clone(), error))?;
        if weight == 0 {
            return Err(Fault::new(path, "the weight must be at least 1; leave the endpoint out to send it nothing"));
        }
        let more = endpoint.more();
        let priority = more.map_or(0, |more| more.priority);
        if priority > 31 {
            return Err(Fault::new(format!("{path}.priority"), "at most 31"));
        }
        let locality = more.and_then(|more| more.locality.clone());
        let metadata = more.and_then(|more| action::metadata([&more.metadata]));
        endpoints.push(Endpoint { target, weight, priority, locality, metadata });
    }
    Ok(endpoints)
}
