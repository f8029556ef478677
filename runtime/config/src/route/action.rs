//! What is done with a request once its route is found.

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use regex::bytes::Regex;
use ringway_api::Metadata;

use crate::retry::RetryPolicy;
use crate::snapshot::Options;

/// What a route does.
#[derive(Debug)]
pub enum RouteAction {
    /// Sends requests to a cluster.
    Forward(Forward),
    /// Sends clients somewhere else.
    Redirect(Redirect),
    /// Answers them.
    Direct(DirectResponse),
}

/// How requests are sent to a cluster.
#[derive(Debug)]
pub struct Forward {
    pub(crate) clusters: Clusters,
    /// The status of the answer when there is no such cluster.
    pub cluster_not_found: StatusCode,
    /// The cluster that stands in for one that is down.
    pub fallback: Option<FallbackCluster>,
    /// How long the response may take, from the end of the request.
    pub timeout: Option<Duration>,
    /// The most a gRPC call's own deadline may be.
    pub call_timeout: Option<Duration>,
    /// Protocols that requests may upgrade to, in lower case.
    pub upgrades: Box<[Box<str>]>,
    /// Close a tunnel in which nothing has moved for this long.
    pub tunnel_idle_timeout: Option<Duration>,
    /// What becomes of the path, the host and the query.
    pub rewrite: Option<Box<Rewrite>>,
    /// What is hashed for the balancer.
    pub hash_policy: Box<[HashPolicy]>,
    /// The name of the chosen host becomes the request's.
    pub auto_host_rewrite: bool,
    /// When requests are sent again.
    pub retry: Option<Box<RetryPolicy>>,
    /// Where copies of requests go.
    pub mirrors: Box<[Mirror]>,
    /// Tell hosts how long their response is waited for.
    pub tell_timeout: bool,
}

/// The cluster that stands in for another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FallbackCluster {
    /// The cluster, by index into the snapshot's.
    pub cluster: u32,
    /// None of the other's hosts is healthy.
    pub no_healthy_upstream: bool,
    /// None of its hosts could be connected to a moment ago.
    pub connect_failure: bool,
    /// It is not there.
    pub cluster_not_found: bool,
    /// It has as many requests under way as it may.
    pub overflow: bool,
}

/// Where copies of some requests go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mirror {
    /// The cluster, by index into the snapshot's.
    pub cluster: u32,
    /// Of 2^32 requests.
    pub share: u64,
}

/// The cluster or clusters of a route, by index into the snapshot's.
#[derive(Debug)]
pub(crate) enum Clusters {
    One(u32),
    /// Upper ends of each cluster's share, and the clusters; the last end is the sum.
    Weighted(Box<[Weighted]>),
    /// The cluster that this field names.
    Header(Box<str>),
}

/// One of several clusters.
#[derive(Debug)]
pub(crate) struct Weighted {
    pub(crate) end: u64,
    pub(crate) cluster: u32,
    pub(crate) edits: Option<Arc<Edits>>,
    pub(crate) metadata: Option<Arc<Metadata>>,
}

/// What becomes of the target of a request.
#[derive(Debug, Default)]
pub struct Rewrite {
    /// What becomes of the path.
    pub path: Option<PathRewrite>,
    /// What becomes of the host.
    pub host: Option<HostRewrite>,
    /// Parameters that are set, percent-encoded.
    pub set_query: Box<[(Box<str>, Box<str>)]>,
    /// Parameters that are taken away.
    pub remove_query: Box<[Box<str>]>,
}

/// What becomes of a path.
#[derive(Debug)]
pub enum PathRewrite {
    /// So many bytes of its beginning give way to this text.
    Prefix(usize, Box<str>),
    /// All of it gives way to this text.
    Whole(Box<str>),
    /// Each match gives way to this text, which names groups as the `regex` crate does.
    Regex(Regex, Box<str>),
    /// What the groups of this expression matched is put into this text.
    Template(Regex, Box<str>),
}

/// Where a request's new host is found.
#[derive(Debug)]
pub enum HostRewrite {
    /// Here.
    Literal(Box<str>),
    /// In this field.
    Header(Box<str>),
}

/// Something that is hashed.
#[derive(Debug)]
pub struct HashPolicy {
    /// What it is.
    pub key: HashKey,
    /// Nothing behind it counts when it is there.
    pub terminal: bool,
}

/// What is hashed.
#[derive(Debug)]
pub enum HashKey {
    /// A header field.
    Header(Box<str>),
    /// A cookie; made with these attributes when it is not there and there are some.
    Cookie(Box<str>, Option<Box<str>>),
    /// The client's address.
    SourceIp,
    /// A query parameter.
    Query(Box<str>),
}

/// Where clients are sent.
#[derive(Debug)]
pub struct Redirect {
    /// The scheme.
    pub scheme: Option<Box<str>>,
    /// The host, which may have a port.
    pub host: Option<Box<str>>,
    /// The port.
    pub port: Option<u16>,
    /// The path.
    pub path: Option<PathRewrite>,
    /// A redirect status.
    pub status: StatusCode,
    /// The query is left out.
    pub strip_query: bool,
}

/// A response that is written down.
#[derive(Debug)]
pub struct DirectResponse {
    /// Its status.
    pub status: StatusCode,
    /// Its content.
    pub body: Box<[u8]>,
}

/// Changes to the fields of requests and responses.
#[derive(Debug, Default)]
pub struct Edits {
    /// To requests, in order.
    pub request: Box<[Edit]>,
    /// To responses, in order.
    pub response: Box<[Edit]>,
}

/// A change to the fields of a message.
#[derive(Debug)]
pub enum Edit {
    /// Fields of this name are taken away.
    Remove(Box<str>),
    /// A field is added.
    Add {
        /// Its name.
        name: Box<str>,
        /// Its value.
        value: Value,
        /// What happens when there is one of its name.
        append: crate::raw::Append,
        /// It is added even when its value is empty.
        keep_empty: bool,
    },
}

/// The value of a field that is added.
#[derive(Debug)]
pub enum Value {
    /// It is always this.
    Literal(Box<str>),
    /// It is made of the request; only [`Catalog::compile_value`](crate::Catalog)'s maker looks into it.
    Template(Template),
}

/// A compiled text with operators.
pub struct Template(pub Options);

impl std::fmt::Debug for Template {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Template")
    }
}
