//! What a cluster is built of.

use std::num::NonZeroU32;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ringway_api::{
    Address, Balancer, ConnCx, ConnError, ConnInfo, Connect, Env, LocalBoxFuture, Metadata, Secured, UpstreamConn,
};

use crate::grouping::{Grouping, Locality};
use crate::{ClusterEvents, HostHealth, OriginalDestination, PassiveParams, RetryAllowance, RetryLimit, SharedLimit};

/// Makes a connection that carries requests of a connected stream.
pub type Factory<I> = Rc<dyn Fn(I, Rc<ConnCx>) -> LocalBoxFuture<'static, Result<Rc<dyn UpstreamConn>, ConnError>>>;

/// Secures a stream that is connected to a host (TLS).
pub type Secure<I> = Rc<dyn Fn(I, &Reach) -> LocalBoxFuture<'static, Result<Secured<I>, ConnError>>>;

/// The facts of a connected stream: a new id, its own end, and the host's address that it reached.
pub type Describe<I> = Rc<dyn Fn(&I, &Address) -> ConnInfo>;

/// The settings of a cluster, already checked.
#[derive(Clone)]
pub struct ClusterParams {
    /// The hosts. Entries with the same address are one host with the sum of their weights.
    pub hosts: Vec<HostParams>,
    /// The load balancer.
    pub balancer: Balancer,
    /// How hosts are grouped before it picks one.
    pub grouping: Arc<Grouping>,
    /// How long a connection, its protocol's handshake included, may take to come about.
    pub connect_timeout: Duration,
    /// How long a request waits for a connection.
    pub pending_timeout: Duration,
    /// Close connections that were idle for this long; `None` keeps them.
    pub idle_timeout: Option<Duration>,
    /// Close a connection after this many requests; `None` for no limit.
    pub max_requests_per_connection: Option<NonZeroU32>,
    /// How many requests a new connection is expected to carry at once: 1 without multiplexing. Decides how many
    /// connections are opened for requests that wait; what a connection really takes is its own affair.
    pub expected_slots: NonZeroU32,
    /// The limits.
    pub limits: BreakerLimits,
    /// Stands for protocol and transport security: when it differs from before, kept hosts use no old connection.
    pub transport: u64,
    /// What becomes of requests is noted in the hosts' [`HostParams::health`]; `None` costs nothing.
    pub passive: Option<PassiveParams>,
    /// The number of the worker whose cluster this is.
    pub worker: usize,
    /// Each downstream connection has a connection of its own: the cluster's name then, `None` where they are shared.
    pub bound: Option<Arc<str>>,
    /// It has no hosts of its own, but those where connections were going; `None` where it has.
    pub original: Option<Arc<OriginalDestination>>,
}

/// A host of a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostParams {
    /// Its address; also what it is recognised by when the hosts change.
    pub address: Address,
    /// Further addresses of the same host, raced against the first.
    pub alternates: Vec<Address>,
    /// Where it is reached, if not at these: a host that is known by one address and moves. Its connections stay.
    pub reached_at: Box<[Address]>,
    /// The weight, at least 1.
    pub weight: u32,
    /// The name it was configured by; what TLS verifies when nothing else is said.
    pub name: Option<Arc<str>>,
    /// Hosts with a higher number are used when those with a lower one are not enough.
    pub priority: u32,
    /// Where it is.
    pub locality: Option<Arc<Locality>>,
    /// What else is known of it.
    pub metadata: Option<Arc<Metadata>>,
    /// Its health, where anything decides about that. Without it, the host may always be picked.
    pub health: Option<Arc<HostHealth>>,
    /// Its limits, within those of the cluster.
    pub limits: HostLimits,
}

/// The limits of one host, shared by all workers; `None` leaves only the cluster's.
///
/// Equal when they are the same objects.
#[derive(Clone, Debug, Default)]
pub struct HostLimits {
    /// Open connections. A worker that has none to the host opens one nevertheless, as [`BreakerLimits`] says.
    pub connections: Option<SharedLimit>,
    /// Requests that hold a connection.
    pub requests: Option<SharedLimit>,
}

impl PartialEq for HostLimits {
    fn eq(&self, other: &Self) -> bool {
        let same = |one: &Option<SharedLimit>, other: &Option<SharedLimit>| match (one, other) {
            (Some(one), Some(other)) => one.is(other),
            (None, None) => true,
            _ => false,
        };
        same(&self.connections, &other.connections) && same(&self.requests, &other.requests)
    }
}

impl Eq for HostLimits {}

/// How a host is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reach {
    /// Its addresses, the one it is recognised by first.
    pub addresses: Box<[Address]>,
    /// The name it was configured by.
    pub name: Option<Arc<str>>,
}

/// The limits of a cluster, shared by all workers.
///
/// As in Envoy, a host that was picked and has no connection at all gets one for requests even past the limit on
/// connections: it could not make progress otherwise. Raw connections have no such exception.
#[derive(Clone, Debug)]
pub struct BreakerLimits {
    /// Open connections.
    pub connections: SharedLimit,
    /// Requests that wait for a connection.
    pub pending: SharedLimit,
    /// Requests that hold a connection.
    pub requests: SharedLimit,
    /// Retries; a budget of 20 %, and 3 at least, by default.
    pub retries: RetryLimit,
}

/// What a cluster uses of its worker and of its protocol.
pub struct Services<I> {
    /// Time, timers, tasks.
    pub env: Rc<dyn Env>,
    /// Opens streams.
    pub connect: Rc<dyn Connect<I>>,
    /// The facts of a connected stream.
    pub describe: Describe<I>,
    /// Secures connections for requests, before their protocol begins; `None` leaves them in plaintext.
    pub secure: Option<Secure<I>>,
    /// Makes connections for requests; not used for raw connections.
    pub factory: Factory<I>,
    /// Is told what happens. Views of one cluster that follow each other must count into the same place: what was
    /// opened under one may be closed under the next.
    pub events: Rc<dyn ClusterEvents>,
}

impl Reach {
    pub(crate) fn of(host: &HostParams) -> Self {
        let addresses = match &*host.reached_at {
            [] => std::iter::once(&host.address).chain(&host.alternates).cloned().collect(),
            moved => moved.into(),
        };
        Self { addresses, name: host.name.clone() }
    }
}

impl HostParams {
    /// A host of weight 1 with one address.
    pub fn new(address: impl Into<Address>) -> Self {
        Self {
            address: address.into(),
            alternates: Vec::new(),
            reached_at: Box::default(),
            weight: 1,
            name: None,
            priority: 0,
            locality: None,
            metadata: None,
            health: None,
            limits: HostLimits::default(),
        }
    }

    /// Whether it has all of this metadata.
    pub fn has(&self, wanted: &Metadata) -> bool {
        let known = |key: &str| self.metadata.as_ref()?.get(key);
        wanted.iter().all(|(key, value)| known(key) == Some(value))
    }
}

impl BreakerLimits {
    /// Limits of these many units among `cores` workers.
    pub fn new(connections: u32, pending: u32, requests: u32, cores: usize) -> Self {
        let limit = |units| SharedLimit::new(units, cores);
        let retries = RetryLimit::new(RetryAllowance::default());
        Self { connections: limit(connections), pending: limit(pending), requests: limit(requests), retries }
    }
}

impl<I> Clone for Services<I> {
    fn clone(&self) -> Self {
        Self {
            env: Rc::clone(&self.env),
            connect: Rc::clone(&self.connect),
            describe: Rc::clone(&self.describe),
            secure: self.secure.clone(),
            factory: Rc::clone(&self.factory),
            events: Rc::clone(&self.events),
        }
    }
}
