//! Where requests are sent, and what is changed on the way.

use std::collections::BTreeMap;

use ringway_api::Millis;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FieldEdits, Retry};

/// Where requests are sent: exactly one of `cluster`, `weighted_clusters` and `cluster_header`.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Action {
    /// Send it to this cluster.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster: Option<String>,
    /// Send it to one of these clusters, in proportion to their weights.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub weighted_clusters: Vec<WeightedCluster>,
    /// Send it to the cluster that this header field names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_header: Option<String>,
    /// The status of the answer when the cluster is not there; 503 by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_not_found_response_code: Option<u16>,
    /// Where requests go when that cluster is down.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fallback_cluster: Option<FallbackCluster>,
    /// Only to hosts with this metadata.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata_match: BTreeMap<String, String>,
    /// Put this in the place of what the route's path matched.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub prefix_rewrite: Option<String>,
    /// Rewrite the path.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub regex_rewrite: Option<RegexRewrite>,
    /// Make the path of this template, whose variables are those of the route's `path_template`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_template_rewrite: Option<String>,
    /// Ask for this host.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_rewrite: Option<String>,
    /// Ask for the host that this header field names, where it does.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_rewrite_header: Option<String>,
    /// Ask for the name by which the chosen host was configured.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub auto_host_rewrite: bool,
    /// Changes to the query.
    #[serde(skip_serializing_if = "QueryEdits::is_empty")]
    pub query_parameters: QueryEdits,
    /// What decides which host a request goes to, for balancers that hash. All that a request has are combined.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hash_policy: Vec<HashPolicy>,
    /// How long the response may take, from the end of the request; `0` for ever; 15 s by default.
    ///
    /// gRPC calls are bound by their own `grpc-timeout` instead, which is cut to this where it is given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Millis>,
    /// Protocols that requests may upgrade to, such as `websocket`. Others are refused with 403.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub upgrades: Vec<String>,
    /// Close a tunnel (`CONNECT`, upgraded) in which nothing has moved for this long; `0` never; 1 h by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tunnel_idle_timeout: Option<Millis>,
    /// When a request is sent again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry: Option<Retry>,
    /// Send copies of requests to other clusters as well. Their answers are thrown away, and their failures harm nobody.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mirror: Vec<Mirror>,
    /// Do not tell hosts by `x-envoy-expected-rq-timeout-ms` how long the proxy waits for them. They are told where
    /// `timeout` is given.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub suppress_timeout_header: bool,
}

/// The cluster that stands in for another one. Looked at before a request is sent: one that has failed is not sent again.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct FallbackCluster {
    /// The cluster.
    pub name: String,
    /// When it is used.
    #[serde(default = "down")]
    pub on: Vec<FallbackOn>,
}

/// When the other cluster is used.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum FallbackOn {
    /// None of the cluster's hosts is healthy, whatever its panic threshold says; or it has none.
    NoHealthyUpstream,
    /// No connection came about to any of its hosts a moment ago.
    ConnectFailure,
    /// There is no cluster of that name.
    ClusterNotFound,
    /// As many requests are under way as `limits.max_requests` allows.
    Overflow,
}

fn down() -> Vec<FallbackOn> {
    vec![FallbackOn::NoHealthyUpstream, FallbackOn::ConnectFailure, FallbackOn::ClusterNotFound]
}

/// A cluster that gets copies of requests, with `-shadow` behind the host's name.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Mirror {
    /// The cluster.
    pub cluster: String,
    /// So many of a hundred requests, 0 to 100.
    #[serde(default = "all")]
    pub fraction: f64,
}

fn all() -> f64 {
    100.0
}

/// A cluster with its share.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct WeightedCluster {
    /// The cluster.
    pub name: String,
    /// Its share; `0` is never picked.
    pub weight: u32,
    /// Changes to the fields of requests sent to it, before those of the route.
    #[serde(default, skip_serializing_if = "FieldEdits::is_empty")]
    pub request_headers: FieldEdits,
    /// Changes to the fields of its responses, before those of the route.
    #[serde(default, skip_serializing_if = "FieldEdits::is_empty")]
    pub response_headers: FieldEdits,
    /// Only to hosts with this metadata, besides the route's.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata_match: BTreeMap<String, String>,
}

/// A regular expression and what is put in the place of each match.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct RegexRewrite {
    /// The regular expression.
    pub pattern: String,
    /// The text; `\1` is what the first group of the expression matched, `\0` all of the match.
    pub substitution: String,
}

/// Changes to a query.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct QueryEdits {
    /// Parameters that are set, percent-encoded where that is needed.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<String, String>,
    /// Parameters that are taken away.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
}

/// Something of a request that is hashed: exactly one of the first four.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct HashPolicy {
    /// A header field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
    /// A cookie, which is made when a request has none and this says how long it lives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cookie: Option<HashCookie>,
    /// The client's address.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub source_ip: bool,
    /// A query parameter.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub query_parameter: Option<String>,
    /// When the request has it, those behind it are not looked at.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub terminal: bool,
}

/// A cookie that keeps a client with a host.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct HashCookie {
    /// Its name.
    pub name: String,
    /// How long a cookie that is made here lives; `0` as long as the client's session. Without it none is made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Millis>,
    /// The path that it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
}

impl QueryEdits {
    pub(crate) fn is_empty(&self) -> bool {
        self.set.is_empty() && self.remove.is_empty()
    }
}
