//! A compiled configuration: immutable, shared by reference, swapped as a whole.

use std::any::Any;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use ringway_api::{Address, BalancerSpec};

use crate::raw;
use crate::route::RouteTable;

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
}

/// A listener.
#[derive(Debug)]
pub struct Listener {
    /// What it was compiled from.
    pub raw: raw::Listener,
    /// Its address.
    pub address: Address,
    /// What it does with connections.
    pub service: Service,
}

/// What a listener does with connections.
pub enum Service {
    /// A protocol with requests.
    Streams {
        /// The protocol's name.
        protocol: &'static str,
        /// Its options.
        options: Options,
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

/// A cluster.
pub struct Cluster {
    /// What it was compiled from.
    pub raw: raw::Cluster,
    /// The protocol's name; `None` for bytes.
    pub protocol: Option<&'static str>,
    /// The protocol's options.
    pub options: Options,
    /// The load balancer.
    pub balancer: BalancerSpec,
    /// The hosts.
    pub endpoints: Vec<Endpoint>,
}

/// A host of a cluster.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Where it is.
    pub target: Target,
    /// Its share, at least 1.
    pub weight: u32,
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

impl Snapshot {
    /// The clusters' indices by name.
    pub fn cluster_indices(&self) -> HashMap<&str, usize> {
        self.clusters.iter().enumerate().map(|(at, cluster)| (cluster.raw.name.as_str(), at)).collect()
    }

    /// How many routes its listeners have.
    pub fn route_count(&self) -> usize {
        let routes = |listener: &Arc<Listener>| match &listener.service {
            Service::Streams { routes, .. } => routes.len(),
            Service::Raw { .. } => 0,
        };
        self.listeners.iter().map(routes).sum()
    }
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Streams { protocol, routes, .. } => write!(f, "{protocol} with {} routes", routes.len()),
            Self::Raw { cluster, .. } => write!(f, "raw to cluster {cluster}"),
        }
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
