//! The configuration as people write it. Unknown keys are errors everywhere.

mod access_log;
mod action;
mod answers;
mod balance;
mod cluster;
mod edits;
mod exporter;
mod health;
mod listener;
mod marks;
mod matches;
mod metrics;
mod protocol;
mod retry;
mod routes;
mod tls;
mod tracing;

use std::collections::BTreeMap;

use ringway_api::{ByteSize, Millis};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use access_log::{AccessLog, AccessLogOptions, AccessLogs, Comparison, LogFilter, LogFormat, LogRotation};
pub use action::{
    Action, FallbackCluster, FallbackOn, HashCookie, HashPolicy, Mirror, QueryEdits, RegexRewrite, WeightedCluster,
};
pub use answers::{BodyFile, DirectBody, DirectResponse, Redirect};
pub use balance::{Balancer, Fallback, Locality, LocalityWeight, SlowStart, Subset, ZoneAware};
pub use cluster::{
    Cluster, ConnectionPool, DnsDiscovery, DnsFamily, Endpoint, EndpointsFile, HostLimits, Limits, OriginalDst,
    RetryBudget, WeightedEndpoint,
};
pub use edits::{AddedField, Append, FieldEdits};
pub use exporter::{AccessLogService, Batch, Collector, Exporter, Otlp, OtlpProtocol, Secret, Statsd};
pub use health::{GrpcHealthCheck, HealthCheck, HttpHealthCheck, OutlierDetection, RpcHealthCheck, TcpHealthCheck};
pub use listener::{
    ChainMatch, ConnectionBalance, FilterChain, FilterEntry, Listener, ProxyProtocol, SourceType, Transport,
};
pub use marks::{ClientCertDetail, ClientCertForwarding, HeaderPolicy, PathPolicy, RequestIdPolicy, ServerPolicy};
pub use matches::{FieldMatch, IntegerRange, Match};
pub use metrics::{IstioMetrics, MeshService, Metrics, Reporter, Workload};
pub use protocol::ProtocolNames;
pub use retry::{BackOff, HostSelection, RateLimitedBackOff, ResetFormat, ResetHeader, Retry, RetryOn};
pub use routes::{Route, Routes, RoutesRef, VirtualHost};
pub use tls::{Certificate, ClusterTls, ListenerTls, SanMatch, SanType, TlsVersion};
pub use tracing::{
    ListenerTracing, OwnTracing, ParentTrace, TraceFormat, TraceSampling, TraceStore, TraceTail, Tracing, TracingSwitch,
};

/// A whole configuration.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Worker threads; by default one per CPU that this process may use.
    pub workers: Option<u16>,
    /// The admin API.
    pub admin: Admin,
    /// Where this process is.
    #[serde(skip_serializing_if = "Node::is_unknown")]
    pub node: Node,
    /// Where connections are taken.
    pub listeners: Vec<Listener>,
    /// Route tables that several listeners share, by name.
    pub routes: BTreeMap<String, Routes>,
    /// Where requests go.
    pub clusters: Vec<Cluster>,
    /// Where spans, access logs and statistics go.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exporters: Vec<Exporter>,
    /// How requests are traced; not at all by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tracing: Option<Tracing>,
    /// Metrics besides the statistics that are always there.
    #[serde(skip_serializing_if = "Metrics::is_none")]
    pub metrics: Metrics,
    /// How the process ends.
    pub drain: Drain,
    /// Memory limits.
    pub memory: Memory,
}

/// Where this process is, for clusters that care.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct Node {
    /// Its locality.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locality: Option<Locality>,
    /// The cluster that this process and others like it are the hosts of: how they are spread over zones decides how much
    /// of their requests can stay in each (`zone_aware` of a cluster).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub local_cluster: Option<String>,
}

impl Node {
    fn is_unknown(&self) -> bool {
        *self == Self::default()
    }
}

/// The admin API.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// `ip:port`; empty switches it off. Anybody who reaches it controls the proxy: keep it on loopback.
    pub address: String,
    /// Names that it is asked by, besides IP addresses and `localhost`. Others are refused: the page of a stranger could
    /// make a name of its own lead here.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// A file that says who has changed what: a JSON object for each change of the configuration and each admin request
    /// that does something. The last of them are at `/audit` in any case.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audit_log: Option<String>,
    /// Fields whose values taps and recordings do not show, besides `authorization`, `proxy-authorization`, `cookie` and
    /// `set-cookie`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub redact: Vec<String>,
}

impl Default for Admin {
    fn default() -> Self {
        Self { address: "127.0.0.1:9901".into(), hosts: Vec::new(), audit_log: None, redact: Vec::new() }
    }
}

/// How the process ends.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Drain {
    /// How long requests under way may take after SIGTERM.
    pub timeout: Millis,
}

impl Default for Drain {
    fn default() -> Self {
        Self { timeout: Millis(30_000) }
    }
}

/// Memory limits. They take effect at start.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Memory {
    /// Bytes that may wait to be sent on one connection.
    pub per_connection: ByteSize,
    /// Bytes of receive buffers per worker.
    pub receive_pool: ByteSize,
    /// Bytes of request contents kept for their repetition, over all workers, each of which has its part. A request
    /// that finds no room is sent once.
    pub replay: ByteSize,
}

impl Default for Memory {
    fn default() -> Self {
        Self { per_connection: ByteSize(256 << 10), receive_pool: ByteSize(32 << 20), replay: ByteSize(64 << 20) }
    }
}
