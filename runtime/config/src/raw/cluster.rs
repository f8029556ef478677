//! Where requests go.

use std::collections::BTreeMap;

use ringway_api::Millis;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Balancer, ClusterTls, HealthCheck, Locality, LocalityWeight, OutlierDetection, SlowStart, Subset, ZoneAware,
};

/// Where requests go.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// Its name; must be unique.
    pub name: String,
    /// The protocol its hosts speak: `http1`, `http2`, `auto` (with `tls`: what ALPN agrees on), or `tcp` for bytes.
    #[serde(default = "http1")]
    pub protocol: String,
    /// Options of the protocol; see its schema.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub options: serde_json::Value,
    /// Connections are secured, and hosts verified. Without it they are plaintext.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<ClusterTls>,
    /// For `tcp`: begin connections with a PROXY protocol header of this version (1 or 2), which tells the host the
    /// client's addresses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<u8>,
    /// The load balancer: `round_robin`, `least_request`, `peak_ewma`, `random`, `ring_hash` or `maglev`; or one with its
    /// options, `{ ring_hash: { minimum_ring_size: 2048 } }`.
    #[serde(default)]
    pub lb: Balancer,
    /// Its hosts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints: Option<Vec<Endpoint>>,
    /// A file that has its hosts under `endpoints`, in YAML or JSON. It is read again whenever it changes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoints_file: Option<String>,
    /// Instead of hosts of its own: requests go where their connection was going before it was redirected to us.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub original_dst: Option<OriginalDst>,
    /// A priority with a smaller share of healthy hosts, in percent, uses all of its hosts when the others cannot take its
    /// requests; `0` never.
    #[serde(default = "fifty")]
    pub healthy_panic_threshold: u32,
    /// A priority that would use all of its hosts for that reason fails its requests instead, so that few healthy hosts
    /// are not held up by the load of all, and nothing is sent to ill ones.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fail_traffic_on_panic: bool,
    /// A priority keeps all of its load as long as its share of healthy hosts, in percent, times this in hundredths is 100.
    #[serde(default = "one_forty")]
    pub overprovisioning_factor: u32,
    /// The shares of localities. Hosts of those that are not named have a locality of weight 1; without this, localities
    /// do not count.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub locality_weights: Vec<LocalityWeight>,
    /// Hosts that are new, or well again, get their share little by little.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slow_start: Option<SlowStart>,
    /// Requests stay in the zone of this process (`node.locality`), as far as its hosts can take them beside the requests
    /// of others (`node.local_cluster`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone_aware: Option<ZoneAware>,
    /// Hosts near this process (`node.locality`) come first: those of its sub-zone, then of its zone, of its region, then
    /// all others; each priority is divided so. Farther ones are used when nearer ones are not enough.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub locality_failover: bool,
    /// Routes choose hosts by metadata (`metadata_match`).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lb_subset: Option<Subset>,
    /// What the addresses of endpoints that are names stand for.
    #[serde(default)]
    pub dns: DnsDiscovery,
    /// Which addresses of endpoints that are names are used.
    #[serde(default)]
    pub dns_family: DnsFamily,
    /// How long a connection may take to come about.
    #[serde(default = "five_seconds")]
    pub connect_timeout: Millis,
    /// Close upstream connections that were idle for this long; `0` never.
    #[serde(default = "one_hour")]
    pub idle_timeout: Millis,
    /// Close an upstream connection after this many requests; `0` for no limit.
    #[serde(default)]
    pub max_requests_per_connection: u32,
    /// Who uses its connections.
    #[serde(default)]
    pub connection_pool: ConnectionPool,
    /// Limits of the whole process.
    #[serde(default)]
    pub limits: Limits,
    /// Eject hosts that fail requests, for a while. Off unless it is written; `{}` for the defaults.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outlier_detection: Option<OutlierDetection>,
    /// Ask hosts whether they are well. One check at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub health_checks: Vec<HealthCheck>,
    /// How many retries may be under way, by how many requests are. `limits.max_retries` takes its place.
    #[serde(default)]
    pub retry_budget: RetryBudget,
}

fn http1() -> String {
    "http1".into()
}

fn fifty() -> u32 {
    50
}

fn one_forty() -> u32 {
    140
}

fn five_seconds() -> Millis {
    Millis(5_000)
}

fn one_hour() -> Millis {
    Millis(3_600_000)
}

/// Original destinations as hosts.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct OriginalDst {
    /// A request's field that names another destination, as `ip:port` (Envoy's is `x-envoy-original-dst-host`). Whoever can
    /// send it chooses where the request goes: none by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// This port instead of the destination's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// A host is forgotten when it was not used for this long.
    pub cleanup_interval: Millis,
    /// Hosts that each worker knows at most. The one that was not used for longest makes room for another.
    pub max_hosts: u32,
}

impl Default for OriginalDst {
    fn default() -> Self {
        Self { header: None, port: None, cleanup_interval: five_seconds(), max_hosts: 1024 }
    }
}

/// Limits of a cluster, over all workers.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Open connections.
    pub max_connections: u32,
    /// Requests that wait for a connection.
    pub max_pending_requests: u32,
    /// Requests under way.
    pub max_requests: u32,
    /// Retries under way, those that wait for their turn included; instead of the `retry_budget`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_retries: Option<u32>,
    /// How long a request waits for a connection; the `connect_timeout` by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending_timeout: Option<Millis>,
    /// Limits of each host, within those of the cluster.
    #[serde(skip_serializing_if = "HostLimits::is_empty")]
    pub per_host: HostLimits,
}

/// Limits of each host of a cluster, over all workers.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct HostLimits {
    /// Open connections. A worker that has none to the host opens one nevertheless.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<u32>,
    /// Requests under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_requests: Option<u32>,
}

impl HostLimits {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_connections: 1024,
            max_pending_requests: 1024,
            max_requests: 1024,
            max_retries: None,
            pending_timeout: None,
            per_host: HostLimits::default(),
        }
    }
}

/// How many retries of a cluster may be under way over all workers, those that wait for their turn included.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct RetryBudget {
    /// So many of a hundred requests that are under way or wait for a connection, 0 to 100.
    pub percent: f64,
    /// So many are allowed in any case.
    pub min_concurrency: u32,
}

impl Default for RetryBudget {
    fn default() -> Self {
        Self { percent: 20.0, min_concurrency: 3 }
    }
}

/// Who uses upstream connections.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum ConnectionPool {
    /// All downstream connections share them. Protocols whose connections have a state are bound nevertheless.
    #[default]
    Shared,
    /// Each downstream connection has one of its own, with the host that its first request was given; both end together.
    Bound,
}

/// What the addresses of a name stand for.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum DnsDiscovery {
    /// Each is a host, as long as the name has it.
    #[default]
    Strict,
    /// All of them are one host, whose new connections go to the first that answers. Connections stay when the answer
    /// changes: for names that stand for many machines and change all the time.
    Logical,
}

/// The content of an [`endpoints_file`](Cluster::endpoints_file).
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct EndpointsFile {
    /// The hosts.
    pub endpoints: Vec<Endpoint>,
}

/// Which addresses of a name are used, and what is one host.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum DnsFamily {
    /// Every IPv6 address is a host, with the name's IPv4 addresses tried where it does not answer at once (RFC 8305);
    /// of names without IPv6 addresses, every IPv4 address.
    #[default]
    Auto,
    /// IPv4 only, every address a host.
    V4,
    /// IPv6 only, every address a host.
    V6,
    /// Every address is a host, of either family.
    All,
}

/// A host: its address, or its address with a weight.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(untagged)]
pub enum Endpoint {
    /// `ip:port`, `name:port` or `unix:/path`.
    Address(String),
    /// With a weight.
    Weighted(WeightedEndpoint),
}

/// A host with a weight.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct WeightedEndpoint {
    /// `ip:port`, `name:port` or `unix:/path`.
    pub address: String,
    /// Its share of the requests, at least 1.
    #[serde(default = "one")]
    pub weight: u32,
    /// Hosts of a higher number are used when those of a lower one are not enough; up to 31.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub priority: u32,
    /// Where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub locality: Option<Locality>,
    /// What routes may choose it by.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

fn one() -> u32 {
    1
}

fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Endpoint {
    /// What it says besides its address.
    pub fn more(&self) -> Option<&WeightedEndpoint> {
        match self {
            Self::Address(_) => None,
            Self::Weighted(endpoint) => Some(endpoint),
        }
    }

    /// Address and weight.
    pub fn parts(&self) -> (&str, u32) {
        match self {
            Self::Address(address) => (address, 1),
            Self::Weighted(endpoint) => (&endpoint.address, endpoint.weight),
        }
    }
}
