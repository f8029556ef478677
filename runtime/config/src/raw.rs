//! The configuration as people write it. Unknown keys are errors everywhere.

use std::collections::BTreeMap;

use ringway_api::{ByteSize, Millis};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A whole configuration.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// Worker threads; by default one per CPU that this process may use.
    pub workers: Option<u16>,
    /// The admin API.
    pub admin: Admin,
    /// Where connections are taken.
    pub listeners: Vec<Listener>,
    /// Route tables that several listeners share, by name.
    pub routes: BTreeMap<String, Routes>,
    /// Where requests go.
    pub clusters: Vec<Cluster>,
    /// How the process ends.
    pub drain: Drain,
    /// Memory limits.
    pub memory: Memory,
}

/// The admin API.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Admin {
    /// `ip:port`; empty switches it off. Anybody who reaches it controls the proxy: keep it on loopback.
    pub address: String,
}

impl Default for Admin {
    fn default() -> Self {
        Self { address: "127.0.0.1:9901".into() }
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
}

impl Default for Memory {
    fn default() -> Self {
        Self { per_connection: ByteSize(256 << 10), receive_pool: ByteSize(32 << 20) }
    }
}

/// Where connections are taken.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// Its name; must be unique.
    pub name: String,
    /// `ip:port`, `[v6]:port` or `unix:/path`.
    pub address: String,
    /// The protocol: `http1`, or `tcp` for bytes.
    pub protocol: String,
    /// Options of the protocol; see its schema.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub options: serde_json::Value,
    /// For protocols with requests: how they are routed, inline or the name of an entry of the top-level `routes`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub routes: Option<RoutesRef>,
    /// For `tcp`: the cluster that takes the bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// For `tcp`: close a connection on which nothing has moved for this long; `0` never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<Millis>,
    /// Open connections per worker at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_connections: Option<u32>,
    /// How connections are spread over workers.
    #[serde(default)]
    pub connection_balance: ConnectionBalance,
    /// Where finished requests or connections are logged; nowhere by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_log: Option<AccessLog>,
    /// How forwarded messages are marked.
    #[serde(default)]
    pub headers: HeaderPolicy,
    /// How paths are made comparable before they are routed.
    #[serde(default)]
    pub path: PathPolicy,
}

/// How connections are spread over workers.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum ConnectionBalance {
    /// The kernel does, by a hash.
    #[default]
    ReusePort,
    /// The accepting worker hands each connection to the least busy one: for few, long connections.
    Balanced,
}

/// An access log.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct AccessLog {
    /// The file; `/dev/stdout` works.
    pub path: String,
    /// `text`, `json`, a line with operators such as `%REQ(:PATH)%`, or a map of names to operators for JSON.
    #[serde(default)]
    pub format: LogFormat,
}

/// An access log's format.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(untagged)]
pub enum LogFormat {
    /// `text`, `json`, or a line with operators.
    Line(String),
    /// JSON members.
    Json(BTreeMap<String, String>),
}

impl Default for LogFormat {
    fn default() -> Self {
        Self::Line("text".into())
    }
}

/// How forwarded messages are marked.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct HeaderPolicy {
    /// What `Server` says in responses.
    pub server_name: String,
    /// Whether it does.
    pub server: ServerPolicy,
    /// The pseudonym added to `Via`; none by default.
    pub via: Option<String>,
    /// Append the peer's address to `X-Forwarded-For`.
    pub x_forwarded_for: bool,
    /// Set `X-Forwarded-Proto` where it is missing.
    pub x_forwarded_proto: bool,
    /// What to do about `x-request-id`.
    pub x_request_id: RequestIdPolicy,
}

impl Default for HeaderPolicy {
    fn default() -> Self {
        Self {
            server_name: "ringway".into(),
            server: ServerPolicy::default(),
            via: None,
            x_forwarded_for: true,
            x_forwarded_proto: true,
            x_request_id: RequestIdPolicy::default(),
        }
    }
}

/// What to do about `Server`.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum ServerPolicy {
    /// Replace it.
    #[default]
    Overwrite,
    /// Add it where it is missing.
    AppendIfAbsent,
    /// Leave it alone.
    PassThrough,
}

/// What to do about `x-request-id`.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum RequestIdPolicy {
    /// Make one where it is missing.
    #[default]
    Generate,
    /// Always make one: what clients send is not trusted.
    Replace,
    /// Leave it alone.
    Keep,
}

/// How paths are made comparable before they are routed (RFC 3986, section 6.2.2).
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct PathPolicy {
    /// Decode what need not be encoded, resolve `.` and `..`.
    pub normalize: bool,
    /// Make one slash of several.
    pub merge_slashes: bool,
}

/// Routes, or where they are.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(untagged)]
pub enum RoutesRef {
    /// The name of an entry of the top-level `routes`.
    Name(String),
    /// The routes themselves.
    Inline(Routes),
}

/// A route table.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Routes {
    /// Virtual hosts.
    pub virtual_hosts: Vec<VirtualHost>,
}

/// The routes of some domains.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct VirtualHost {
    /// A name for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// `www.example.com`, `*.example.com`, `www.*` or `*`; without a port they match every port.
    pub domains: Vec<String>,
    /// Routes; the first that matches is taken.
    pub routes: Vec<Route>,
}

/// A route.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// A name for logs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What it matches.
    #[serde(rename = "match")]
    pub matches: Match,
    /// What is done.
    pub route: Action,
}

/// What a route matches: all of what is given. Exactly one of the path matches must be.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Match {
    /// The path begins with this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// The path is this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The path is this, or begins with this and a slash.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_separated_prefix: Option<String>,
    /// The whole path matches this regular expression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub safe_regex: Option<String>,
    /// Whether the path's case matters; it does by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub case_sensitive: Option<bool>,
    /// One of these methods.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// All of these header conditions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<FieldMatch>,
    /// All of these query parameter conditions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub query_parameters: Vec<FieldMatch>,
}

/// A condition on a header field or query parameter: at most one of the kinds; none asks for presence.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct FieldMatch {
    /// Its name.
    pub name: String,
    /// The value is this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exact: Option<String>,
    /// The value begins with this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// The value ends with this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suffix: Option<String>,
    /// The value contains this.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub contains: Option<String>,
    /// The whole value matches this regular expression.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub safe_regex: Option<String>,
    /// It is there (`true`) or is not (`false`).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub present: Option<bool>,
    /// Turn the result around.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub invert: bool,
}

/// What is done with a request: exactly one of `cluster` and `weighted_clusters`.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Action {
    /// Send it to this cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// Send it to one of these clusters, in proportion to their weights.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub weighted_clusters: Vec<WeightedCluster>,
    /// How long the response may take, from the end of the request; `0` for ever; 15 s by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Millis>,
}

/// A cluster with its share.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct WeightedCluster {
    /// The cluster.
    pub name: String,
    /// Its share; `0` is never picked.
    pub weight: u32,
}

/// Where requests go.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// Its name; must be unique.
    pub name: String,
    /// The protocol its hosts speak: `http1`, or `tcp` for bytes.
    #[serde(default = "http1")]
    pub protocol: String,
    /// Options of the protocol; see its schema.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub options: serde_json::Value,
    /// The load balancer: `round_robin`, `least_request` or `random`.
    #[serde(default = "round_robin")]
    pub lb: String,
    /// Its hosts.
    pub endpoints: Vec<Endpoint>,
    /// How long a connection may take to come about.
    #[serde(default = "five_seconds")]
    pub connect_timeout: Millis,
    /// Close upstream connections that were idle for this long; `0` never.
    #[serde(default = "one_hour")]
    pub idle_timeout: Millis,
    /// Close an upstream connection after this many requests; `0` for no limit.
    #[serde(default)]
    pub max_requests_per_connection: u32,
    /// Limits of the whole process.
    #[serde(default)]
    pub limits: Limits,
}

fn http1() -> String {
    "http1".into()
}

fn round_robin() -> String {
    "round_robin".into()
}

fn five_seconds() -> Millis {
    Millis(5_000)
}

fn one_hour() -> Millis {
    Millis(3_600_000)
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
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_connections: 1024, max_pending_requests: 1024, max_requests: 1024 }
    }
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
}

fn one() -> u32 {
    1
}

impl Endpoint {
    /// Address and weight.
    pub fn parts(&self) -> (&str, u32) {
        match self {
            Self::Address(address) => (address, 1),
            Self::Weighted(endpoint) => (&endpoint.address, endpoint.weight),
        }
    }
}
