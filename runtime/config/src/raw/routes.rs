//! How requests are routed.

use ringway_api::Millis;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::FilterEntry;

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
    /// Filters for the requests of these routes, as at a [route](Route::filters).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<FilterEntry>,
    /// Filters that leave the requests of these routes alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disable_filters: Vec<String>,
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
    /// Filters for the requests of this route. One that the listener or the virtual host has as well takes its place,
    /// with these options; others look at requests after the listener's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub filters: Vec<FilterEntry>,
    /// Filters of the listener or the virtual host that leave the requests of this route alone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub disable_filters: Vec<String>,
}

/// What a route matches: all of what is given. Exactly one of the path matches must be, or a call's service or method.
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
    /// It is a call of this service: gRPC, Dubbo, bolt and the like. `com.example.*` is every service that begins so,
    /// `*` every one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service: Option<String>,
    /// It is a call of this method of a service; every one by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<String>,
    /// The version of the service that is called, where the protocol has such.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// The group of the service that is called, where the protocol has such.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Whether the path's case matters; it does by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub case_sensitive: Option<bool>,
    /// One of these methods.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub methods: Vec<String>,
    /// It is a `CONNECT` request (instead of a path match). Other routes never match one.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub connect: bool,
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
    /// Turn the result around. A header field that is not there still meets no condition on its value.
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
