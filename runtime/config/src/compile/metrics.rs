//! Metrics besides the statistics that are always there.

use std::sync::Arc;

use crate::error::Fault;
use crate::metrics::IstioMetrics;
use crate::raw;

/// Sets of labels at most: some 100 MB for each worker.
const SERIES: u32 = 100_000;
/// Bytes of a label's value at most.
const LABEL: usize = 1024;

/// Compiles Istio's metrics; what is as before is the same `Arc`.
pub(super) fn compile(
    config: &raw::Config,
    old: Option<&Arc<IstioMetrics>>,
) -> Result<Option<Arc<IstioMetrics>>, Fault> {
    let Some(raw) = &config.metrics.istio else { return Ok(None) };
    for name in raw.listeners.keys() {
        if !config.listeners.iter().any(|listener| listener.name == *name) {
            return Err(Fault::new(format!("metrics.istio.listeners.{name}"), format!("no listener named `{name}`")));
        }
    }
    for (name, service) in &raw.services {
        let path = format!("metrics.istio.services.{name}");
        if !config.clusters.iter().any(|cluster| cluster.name == *name) {
            return Err(Fault::new(path, format!("no cluster named `{name}`")));
        }
        if service.host.is_empty() {
            return Err(Fault::new(format!("{path}.host"), "must not be empty"));
        }
        for (key, value) in [("host", &service.host), ("name", &service.name), ("namespace", &service.namespace)] {
            label(value, || format!("{path}.{key}"))?;
        }
        workload(&service.workload, &format!("{path}.workload"))?;
    }
    workload(&raw.workload, "metrics.istio.workload")?;
    if !(1..=SERIES).contains(&raw.max_series) {
        return Err(Fault::new("metrics.istio.max_series", format!("must be 1 to {SERIES}")));
    }
    if let Some(old) = old.filter(|old| old.raw == *raw) {
        return Ok(Some(Arc::clone(old)));
    }
    Ok(Some(Arc::new(IstioMetrics { raw: raw.clone() })))
}

fn workload(raw: &raw::Workload, path: &str) -> Result<(), Fault> {
    for (key, value) in [
        ("name", &raw.name),
        ("namespace", &raw.namespace),
        ("canonical_service", &raw.canonical_service),
        ("canonical_revision", &raw.canonical_revision),
        ("app", &raw.app),
        ("version", &raw.version),
        ("principal", &raw.principal),
        ("cluster", &raw.cluster),
    ] {
        label(value, || format!("{path}.{key}"))?;
    }
    Ok(())
}

fn label(value: &str, path: impl Fn() -> String) -> Result<(), Fault> {
    match value.len() > LABEL {
        true => Err(Fault::new(path(), format!("must be {LABEL} bytes at most"))),
        false => Ok(()),
    }
}
