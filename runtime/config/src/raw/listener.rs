//! Where connections are taken.

use std::collections::BTreeMap;

use ringway_api::Millis;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    AccessLogOptions, AccessLogs, HeaderPolicy, ListenerTls, ListenerTracing, PathPolicy, ProtocolNames, RoutesRef,
};

/// Where connections are taken.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Listener {
    /// Its name; must be unique.
    pub name: String,
    /// `ip:port`, `[v6]:port` or `unix:/path`.
    pub address: String,
    /// The protocol: `http1`, `http2`, `auto` (whichever of them ALPN or the first bytes say), `dubbo`, `bolt` and the
    /// like, or `tcp` for bytes. A list: whichever of them ALPN or the first bytes say, the first that fits.
    #[serde(default)]
    pub protocol: ProtocolNames,
    /// Options of the protocol; see its schema. For `auto` and for lists, options of each by its name.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub options: serde_json::Value,
    /// Connections are secured. Without it they are plaintext.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<ListenerTls>,
    /// For protocols with requests: what looks at, changes or answers requests, in this order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<FilterEntry>,
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
    #[serde(default, skip_serializing_if = "AccessLogs::is_none")]
    pub access_log: AccessLogs,
    /// For `tcp`: what is logged of connections besides their ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub access_log_options: Option<AccessLogOptions>,
    /// How its requests are traced: `off`, or with `sampling` of its own; as all by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tracing: Option<ListenerTracing>,
    /// How forwarded messages are marked.
    #[serde(default)]
    pub headers: HeaderPolicy,
    /// How paths are made comparable before they are routed.
    #[serde(default)]
    pub path: PathPolicy,
    /// Instead of `protocol`, `tls`, `routes` and so on for all connections: what is done with those that match. The
    /// most specific match is taken; connections that none matches are closed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filter_chains: Vec<FilterChain>,
    /// Connections begin with a PROXY protocol header (version 1 or 2) that tells their original addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub proxy_protocol: Option<ProxyProtocol>,
    /// Connections are redirected to this listener by a firewall (`REDIRECT`): where they were going is their destination,
    /// for `filter_chains`, logs and clusters with `original_dst`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub original_dst: bool,
    /// How long a connection may take to send what must be known before it is served: a PROXY header, a TLS
    /// ClientHello, the first bytes for `auto`.
    #[serde(default = "fifteen_seconds")]
    pub sniff_timeout: Millis,
}

/// Envoy's `listener_filters_timeout`.
fn fifteen_seconds() -> Millis {
    Millis(15_000)
}

/// What is done with the connections that match. The keys are those of the listener.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct FilterChain {
    /// Its name, unique in the listener: what it is recognised by when the configuration changes.
    pub name: String,
    /// What it matches; everything by default.
    #[serde(rename = "match", default)]
    pub matches: ChainMatch,
    /// The protocol, or a list of them.
    #[serde(default)]
    pub protocol: ProtocolNames,
    /// Options of the protocol.
    #[serde(default, skip_serializing_if = "serde_json::Value::is_null")]
    pub options: serde_json::Value,
    /// Connections are secured. A chain of `protocol: tcp` that matches TLS without this passes it through unopened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<ListenerTls>,
    /// What looks at, changes or answers requests.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<FilterEntry>,
    /// How requests are routed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub routes: Option<RoutesRef>,
    /// For `tcp`: the cluster that takes the bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// For `tcp`: close a connection on which nothing has moved for this long; `0` never.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_timeout: Option<Millis>,
    /// How forwarded messages are marked.
    #[serde(default)]
    pub headers: HeaderPolicy,
    /// How paths are made comparable before they are routed.
    #[serde(default)]
    pub path: PathPolicy,
}

/// What a connection must be for a filter chain: all of what is given. When several chains match, conditions are
/// compared in the order they have here, the more specific wins.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct ChainMatch {
    /// The port it was made to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination_port: Option<u16>,
    /// The address it was made to is in one of these networks; the longest prefix wins.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub prefix_ranges: Vec<String>,
    /// The server name the client asks for (TLS SNI) is one of these: `www.example.com`, or `*.example.com` for all
    /// names below. Exact names win, then longer suffixes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub server_names: Vec<String>,
    /// Whether it begins with a TLS ClientHello.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transport_protocol: Option<Transport>,
    /// The client offers one of these application protocols (TLS ALPN), such as `h2`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub application_protocols: Vec<String>,
    /// Whether it comes from this host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source_type: Option<SourceType>,
    /// The address it comes from is in one of these networks; the longest prefix wins.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub source_prefix_ranges: Vec<String>,
    /// The port it comes from is one of these.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub source_ports: Vec<u16>,
}

/// How a connection begins.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Transport {
    /// With a TLS ClientHello.
    Tls,
    /// With anything else.
    RawBuffer,
}

/// Where a connection comes from.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum SourceType {
    /// From the address it was made to, or a loopback address.
    SameIpOrLoopback,
    /// From elsewhere.
    External,
}

/// The PROXY protocol on incoming connections. Whoever can reach the listener is believed.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct ProxyProtocol {
    /// Take connections without a header too. Only where every client is trusted: any of them can then tell any
    /// address.
    pub allow_requests_without: bool,
}

/// A filter: its name with its options, `{ grpc_web: {} }`.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(transparent)]
pub struct FilterEntry(pub BTreeMap<String, serde_json::Value>);

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
