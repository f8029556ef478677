//! From text to a snapshot: everything that can go wrong goes wrong here.

mod access_log;
mod action;
mod address;
mod balance;
mod chain;
mod cluster;
mod edits;
mod exporter;
mod filter;
mod health;
mod listener;
mod matcher;
mod metrics;
mod protocol;
mod retry;
mod routes;
mod tls;
mod tracing;

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::Arc;

use ringway_api::{BalancerSpec, FilterSpec, ProtocolSpec};

pub use self::matcher::header_matcher;
use crate::error::{ConfigError, Fault};
use crate::raw;
use crate::snapshot::{Cluster, Endpoint, Options, Snapshot};

/// What a configuration may name.
#[derive(Clone, Copy)]
pub struct Catalog {
    /// Protocols.
    pub protocols: &'static [ProtocolSpec],
    /// Stream filters.
    pub filters: &'static [FilterSpec],
    /// Load balancers.
    pub balancers: &'static [BalancerSpec],
    /// Says what is wrong with an access log: the key, and why.
    pub check_access_log: fn(&raw::AccessLog) -> Result<(), (String, String)>,
    /// Compiles a field's value that has operators; only who knows them looks into the result.
    pub compile_value: fn(&str) -> Result<Options, String>,
}

/// The name of the protocol without a codec.
pub(crate) const TCP: &str = "tcp";
/// Stands for whichever protocol ALPN or the first bytes say.
pub(crate) const AUTO: &str = "auto";

/// Reads and compiles a configuration. Parts equal to those of `old` are taken from it.
///
/// # Errors
/// The first error, with its place.
pub fn compile(
    origin: &str,
    text: &str,
    catalog: &Catalog,
    old: Option<&Snapshot>,
) -> Result<Snapshot, Box<ConfigError>> {
    let raw = parse(origin, text)?;
    build(raw, catalog, old).map_err(|fault| Box::new(ConfigError::at_path(origin, text, fault)))
}

/// Reads a configuration without compiling it.
///
/// # Errors
/// The first error of syntax or shape, with its place.
pub fn parse(origin: &str, text: &str) -> Result<raw::Config, Box<ConfigError>> {
    if text.trim().is_empty() {
        return Ok(raw::Config::default());
    }
    // What programs write is JSON, which is read ten times as fast as YAML. Anything else that begins so, and everything
    // that is wrong, is for the YAML reader: JSON is YAML too.
    if text.trim_start().starts_with('{')
        && let Ok(config) = serde_json::from_str(text)
    {
        return Ok(config);
    }
    // YAML 1.2: `on`, `off`, `yes` and `no` are texts.
    let options = serde_saphyr::options! { strict_booleans: true };
    serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| Box::new(ConfigError::of_yaml(origin, text, &error)))
}

/// Reads and compiles the content of an [`endpoints_file`](raw::Cluster::endpoints_file).
///
/// # Errors
/// The first error, with its place.
pub fn endpoints(origin: &str, text: &str) -> Result<Vec<Endpoint>, Box<ConfigError>> {
    let options = serde_saphyr::options! { strict_booleans: true };
    let file: raw::EndpointsFile = serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| Box::new(ConfigError::of_yaml(origin, text, &error)))?;
    let compiled = cluster::endpoints(&file.endpoints, "");
    compiled.map_err(|fault| Box::new(ConfigError::at_path(origin, text, fault)))
}

/// Clusters that care about where this process is need to know.
fn node(raw: &raw::Config, clusters: &[Arc<Cluster>]) -> Result<(), Fault> {
    if let Some(name) = &raw.node.local_cluster
        && !clusters.iter().any(|cluster| cluster.raw.name == *name)
    {
        return Err(Fault::new("node.local_cluster", format!("no cluster named `{name}`")));
    }
    for (at, cluster) in raw.clusters.iter().enumerate() {
        let wanting = match (&cluster.zone_aware, cluster.locality_failover) {
            (Some(_), _) if raw.node.locality.is_none() || raw.node.local_cluster.is_none() => {
                ("zone_aware", "needs `node.locality` and `node.local_cluster`")
            }
            (_, true) if raw.node.locality.is_none() => ("locality_failover", "needs `node.locality`"),
            _ => continue,
        };
        return Err(Fault::new(format!("clusters[{at}].{}", wanting.0), wanting.1));
    }
    Ok(())
}

fn build(raw: raw::Config, catalog: &Catalog, old: Option<&Snapshot>) -> Result<Snapshot, Fault> {
    let workers = match raw.workers {
        None => None,
        Some(count) => match NonZeroU32::new(count.into()).filter(|count| count.get() <= 1024) {
            Some(count) => Some(count),
            None => return Err(Fault::new("workers", "must be 1 to 1024")),
        },
    };
    let admin = match raw.admin.address.as_str() {
        "" => None,
        text => match text.parse() {
            Ok(address) => Some(address),
            Err(_) => return Err(Fault::new("admin.address", format!("`{text}` is not ip:port"))),
        },
    };
    let known: HashMap<&str, _> =
        old.iter().flat_map(|old| &old.clusters).map(|cluster| (cluster.raw.name.as_str(), cluster)).collect();
    let mut indices = HashMap::new();
    let mut clusters = Vec::with_capacity(raw.clusters.len());
    for (at, cluster) in raw.clusters.iter().enumerate() {
        let path = format!("clusters[{at}]");
        if indices.insert(cluster.name.as_str(), at).is_some() {
            return Err(Fault::new(format!("{path}.name"), format!("a second cluster named `{}`", cluster.name)));
        }
        clusters.push(match known.get(cluster.name.as_str()) {
            Some(before) if before.raw == *cluster => Arc::clone(before),
            _ => Arc::new(cluster::compile(cluster, catalog, &path)?),
        });
    }
    let same_indices = old.is_some_and(|old| old.cluster_indices() == indices);
    let listeners = listener::compile_all(&raw, catalog, &clusters, &indices, old.filter(|_| same_indices))?;
    drop(indices);
    node(&raw, &clusters)?;
    let exporters = exporter::compile_all(&raw.exporters, old.map_or(&[], |old| &old.exporters))?;
    access_log::check_all(&raw.listeners, &exporters)?;
    let tracing = tracing::compile(&raw, catalog, &exporters, old.and_then(|old| old.tracing.as_ref()))?;
    let istio = metrics::compile(&raw, old.and_then(|old| old.istio.as_ref()))?;
    Ok(Snapshot { raw, workers, admin, listeners, clusters, exporters, tracing, istio })
}
