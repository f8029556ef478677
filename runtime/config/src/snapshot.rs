//! A compiled configuration: immutable, shared by reference, swapped as a whole.

use std::any::Any;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use ringway_api::{Address, Balancer, FilterSpec, Metadata};

use crate::chain::ChainMatcher;
use crate::exporter::Exporter;
use crate::health_check::HealthCheck;
use crate::metrics::IstioMetrics;
use crate::raw;
use crate::route::RouteTable;
use crate::tracing::Tracing;

/// A protocol's compiled options. Only the protocol's own entry looks into them.
pub type Options = Arc<dyn Any + Send + Sync>;

/// A compiled configuration.
#[derive(Debug)]
pub struct Snapshot {
    /// The configuration it was compiled from, defaults filled in.
    pub raw: raw::Config,
    /// Worker threads, if the configuration says.
    pub workers: Option<NonZeroU32>,
    /// The admin API's address; `None` switches it off.
    pub admin: Option<SocketAddr>,
    /// Listeners. One that did not change is the same `Arc` as in the snapshot before.
    pub listeners: Vec<Arc<Listener>>,
    /// Clusters, likewise.
    pub clusters: Vec<Arc<Cluster>>,
    /// Exporters, likewise.
    pub exporters: Vec<Arc<Exporter>>,
    /// How requests are traced, likewise.
    pub tracing: Option<Arc<Tracing>>,
    /// Istio's metrics, likewise.
    pub istio: Option<Arc<IstioMetrics>>,
}

/// A listener.
#[derive(Debug)]
pub struct Listener {
    /// What it was compiled from.
    pub raw: raw::Listener,
    /// Its address.
    pub address: Address,
    /// What it does with connections; at least one.
    pub chains: Vec<Arc<Chain>>,
    /// Which of them a connection belongs to.
    pub matcher: Arc<ChainMatcher>,
}

/// A filter chain: what is done with some of a listener's connections.
#[derive(Debug)]
pub struct Chain {
    /// What it was compiled from. The name is empty for a listener's only one.
    pub raw: raw::FilterChain,
    /// The protocols it offers by ALPN, if it is secured.
    pub alpn: Vec<String>,
    /// What it does.
    pub service: Service,
}

/// What a chain does with connections.
pub enum Service {
    /// A protocol with requests.
    Streams {
        /// The protocols it may be, best first.
        protocols: Arc<[Candidate]>,
        /// What looks at requests, in order.
        filters: Arc<[Filter]>,
        /// The routes.
        routes: Arc<RouteTable>,
    },
    /// Bytes to a cluster.
    Raw {
        /// The cluster's index.
        cluster: usize,
        /// Close when nothing has moved for this long.
        idle_timeout: Option<Duration>,
    },
}

/// A protocol a connection may speak.
#[derive(Clone)]
pub struct Candidate {
    /// The protocol's name.
    pub protocol: &'static str,
    /// Its options.
    pub options: Options,
}

/// A compiled stream filter.
#[derive(Clone)]
pub struct Filter {
    /// What it is.
    pub spec: FilterSpec,
    /// Its options.
    pub options: Options,
}

/// A cluster.
pub struct Cluster {
    /// What it was compiled from.
    pub raw: raw::Cluster,
    /// The protocols its hosts may speak, best first; none for bytes.
    pub protocols: Arc<[Candidate]>,
    /// The protocols it offers by ALPN, if it is secured.
    pub alpn: Vec<String>,
    /// The load balancer.
    pub balancer: Balancer,
    /// The hosts.
    pub endpoints: Vec<Endpoint>,
    /// How they are asked whether they are well.
    pub health_check: Option<Arc<HealthCheck>>,
    /// Each downstream connection has a connection of its own.
    pub bound: bool,
}

/// A host of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// Where it is.
    pub target: Target,
    /// Its share, at least 1.
    pub weight: u32,
    /// Its priority.
    pub priority: u32,
    /// Where it is.
    pub locality: Option<raw::Locality>,
    /// What routes may choose it by.
    pub metadata: Option<Arc<Metadata>>,
}

/// Where a host is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// At an address.
    Address(Address),
    /// Where a name says.
    Name {
        /// The name.
        host: String,
        /// The port.
        port: u16,
    },
}

impl Cluster {
    /// Whether it carries bytes rather than requests.
    pub fn is_raw(&self) -> bool {
        self.protocols.is_empty()
    }
}

impl Snapshot {
    /// The clusters' indices by name.
    pub fn cluster_indices(&self) -> HashMap<&str, usize> {
        self.clusters.iter().enumerate().map(|(at, cluster)| (cluster.raw.name.as_str(), at)).collect()
    }

    /// Whether streams are traced and counted as `other` says.
    pub fn tells_as(&self, other: &Self) -> bool {
        self.tracing.as_ref().map(Arc::as_ptr) == other.tracing.as_ref().map(Arc::as_ptr)
            && self.istio.as_ref().map(Arc::as_ptr) == other.istio.as_ref().map(Arc::as_ptr)
    }

    /// How many routes its listeners have.
    pub fn route_count(&self) -> usize {
        let routes = |chain: &Arc<Chain>| match &chain.service {
            Service::Streams { routes, .. } => routes.len(),
            Service::Raw { .. } => 0,
        };
        self.listeners.iter().flat_map(|listener| &listener.chains).map(routes).sum()
    }
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Streams { protocols, routes, .. } => write!(f, "{protocols:?} with {} routes", routes.len()),
            Self::Raw { cluster, .. } => write!(f, "raw to cluster {cluster}"),
        }
    }
}

impl std::fmt::Debug for Candidate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.protocol)
    }
}

impl std::fmt::Debug for Filter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.spec.name)
    }
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster")
            .field("name", &self.raw.name)
            .field("endpoints", &self.endpoints)
            .finish_non_exhaustive()
    }
}
