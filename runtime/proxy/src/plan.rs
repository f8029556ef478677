//! What the control plane hands to workers: a snapshot with everything resolved that a worker must not do itself.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use ringway_api::{Address, Balancer};
use ringway_config::{Candidate, ChainMatcher, Filter, RouteTable};
use ringway_telemetry::{ClusterStats, FilterScope, HttpStats, ListenerStats, Scope, Sinks, TcpStats};
use ringway_upstream::{BreakerLimits, Grouping, HostParams, OriginalDestination, PassiveParams};

use crate::entry::Options;
use crate::forward::ForwardPolicy;
use crate::path::PathPolicy;
use crate::tracing::TracePlan;

/// One published configuration. Immutable; what did not change is the same `Arc` as in the plan before.
pub struct Plan {
    /// The snapshot's generation.
    pub generation: u64,
    /// The listeners.
    pub listeners: Vec<Arc<ListenerPlan>>,
    /// The clusters; routes name them by index.
    pub clusters: Arc<[Arc<ClusterPlan>]>,
}

/// A listener.
pub struct ListenerPlan {
    /// Its name.
    pub name: Arc<str>,
    /// The address it is bound to; what it is recognised by when the configuration changes.
    pub address: Address,
    /// Open connections per worker at most.
    pub max_connections: Option<u32>,
    /// Connections begin with a PROXY header.
    pub proxy_protocol: Option<ProxyHeader>,
    /// How long a connection may take to show what must be known before it is served.
    pub sniff_timeout: Duration,
    /// Connections were going elsewhere and are redirected to us: their local address is where they were going.
    pub original_dst: bool,
    /// Which chain a connection belongs to.
    pub matcher: Arc<ChainMatcher>,
    /// The chains, in the order of the matcher's.
    pub chains: Vec<Arc<ChainPlan>>,
    /// Its statistics.
    pub stats: Arc<Scope<ListenerStats>>,
}

/// Whether a PROXY header is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProxyHeader {
    /// It must be.
    Required,
    /// It may be.
    Optional,
}

/// A filter chain.
pub struct ChainPlan {
    /// Its name; what it is recognised by when the configuration changes.
    pub name: Arc<str>,
    /// How its connections are secured.
    pub tls: Option<TlsPlan>,
    /// What it does with connections.
    pub service: ServicePlan,
    /// How forwarded messages are marked.
    pub forward: Arc<ForwardPolicy>,
    /// How paths are made comparable.
    pub path: PathPolicy,
    /// Who is told of its streams.
    pub sinks: Arc<Sinks>,
    /// How its requests are traced.
    pub tracing: Option<Arc<TracePlan>>,
    /// Its HTTP statistics.
    pub http: Arc<Scope<HttpStats>>,
    /// Its TCP statistics.
    pub tcp: Arc<Scope<TcpStats>>,
}

/// How a chain's connections are secured.
#[derive(Clone)]
pub struct TlsPlan {
    /// What the engine makes of certificates and policy; only its own functions look into it.
    pub context: Options,
    /// How long a handshake may take.
    pub handshake_timeout: Duration,
    /// Connections that do not begin with TLS are served in plaintext.
    pub permissive: bool,
}

/// What a chain does with connections.
pub enum ServicePlan {
    /// A protocol with requests, each routed by itself.
    Streams {
        /// The protocols a connection may speak, best first.
        protocols: Arc<[Candidate]>,
        /// What looks at requests.
        filters: FilterPlans,
        /// The routes.
        routes: Arc<RouteTable>,
    },
    /// Bytes to one cluster.
    Raw {
        /// The cluster's index.
        cluster: usize,
        /// Close when nothing has moved for this long.
        idle_timeout: Option<Duration>,
    },
}

/// The filters of a chain's requests, each list in their order.
#[derive(Default)]
pub struct FilterPlans {
    /// Of requests whose route has none of its own.
    pub usual: Vec<FilterPlan>,
    /// Of the routes that have, in the order of [`RouteTable::filters`], with a name by which they are known again.
    pub by_route: Vec<(Arc<str>, Vec<FilterSlot>)>,
}

/// A filter of a route's list.
pub enum FilterSlot {
    /// The chain's own at this place.
    Usual(usize),
    /// One with options of its own.
    Own(FilterPlan),
}

/// A filter.
pub struct FilterPlan {
    /// The filter.
    pub filter: Filter,
    /// Its statistics, one scope for all of its name on the listener.
    pub stats: Arc<FilterScope>,
}

/// A cluster.
pub struct ClusterPlan {
    /// Its name; what it is recognised by when the configuration changes.
    pub name: Arc<str>,
    /// Its hosts, names resolved.
    pub hosts: Vec<HostParams>,
    /// Its load balancer.
    pub balancer: Balancer,
    /// How hosts are grouped before it picks one.
    pub grouping: Arc<Grouping>,
    /// The protocols its hosts may speak, best first; none for bytes.
    pub protocols: Arc<[Candidate]>,
    /// How connections are secured; only the engine looks into it.
    pub tls: Option<Options>,
    /// Connections begin with a PROXY header of this version.
    pub proxy_protocol: Option<u8>,
    /// How long a connection may take to come about.
    pub connect_timeout: Duration,
    /// How long a request waits for a connection.
    pub pending_timeout: Duration,
    /// Close connections that were idle for this long.
    pub idle_timeout: Option<Duration>,
    /// Close a connection after this many requests.
    pub max_requests_per_connection: Option<NonZeroU32>,
    /// Its limits, shared by all workers and kept across plans.
    pub limits: BreakerLimits,
    /// What is noted of requests for the health of hosts.
    pub passive: Option<PassiveParams>,
    /// Differs when protocol, options or transport security differ.
    pub transport: u64,
    /// Each downstream connection has an upstream connection of its own.
    pub bound: bool,
    /// It has no hosts of its own, but those where connections were going.
    pub original: Option<Arc<OriginalDestination>>,
    /// Its statistics.
    pub stats: Arc<Scope<ClusterStats>>,
}
