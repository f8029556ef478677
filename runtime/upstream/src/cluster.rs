//! A cluster as one worker sees it.

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use ringway_api::{Address, ConnCx, ConnectError, Env, Metadata, PickCx};

use crate::dial::Dialer;
use crate::host::{Active, Settings, count};
use crate::host_set::{HostSet, merge};
use crate::original::Known;
use crate::pool::bound;
use crate::{
    AcquireError, Breaker, CloseCause, ClusterEvents, ClusterParams, Host, HostParams, HostReport, Lease, Limit,
    Outcome, Permit, Reuse, Services, SharedLimit,
};

/// The hosts of a cluster with their connections, on one worker. Immutable: a change makes a new one of the old one
/// ([`rebuild`](Self::rebuild)); requests that began with the old one finish with it.
pub struct Cluster<I> {
    params: ClusterParams,
    services: Services<I>,
    settings: Rc<Settings>,
    hosts: Rc<HostSet>,
    /// Hosts that nobody configured, where there are such.
    known: Rc<Known>,
}

/// What the choice of a host depends on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Want<'a> {
    /// What the request hashes to, by the policy of its route.
    pub hash: Option<u64>,
    /// Hosts that the request has been sent to before: another one is taken if the balancer gives it within
    /// `redraws` further draws.
    pub tried: &'a [Rc<Host>],
    /// How often a host that has been tried is drawn again.
    pub redraws: u32,
    /// Of so many of the tried hosts the priorities are avoided, if others can take anything.
    pub avoid_priorities: usize,
    /// What hosts must have.
    pub metadata: Option<&'a Metadata>,
    /// The downstream connection it comes from, where the choice is that connection's.
    pub owner: Option<&'a ConnCx>,
    /// Where it goes in a cluster of [original destinations](crate::OriginalDestination).
    pub destination: Option<&'a Address>,
}

/// How often another host is drawn for one to which no connection came about a moment ago. It has nothing under way, so
/// that balancers like it.
const COOLING_REDRAWS: u32 = 8;

/// Keeps a raw connection counted; drop it with the stream.
#[must_use = "dropping it says that the connection is closed"]
pub struct RawLease {
    active: Active,
    events: Rc<dyn ClusterEvents>,
    _permit: Permit,
}

// === impl Cluster ===

impl<I: 'static> Cluster<I> {
    /// The cluster with these parameters, as the successor of `old`.
    ///
    /// A host that stays (same address) keeps its connections, what is under way, its usability and its counts; if
    /// [`ClusterParams::transport`] has changed, its connections are closed as if it had left. A host that leaves
    /// closes its idle connections now and the others when they come back. The shared limits of `old` go on when
    /// they are the same objects.
    pub fn rebuild(old: Option<&Rc<Self>>, params: ClusterParams, services: Services<I>) -> Rc<Self> {
        let carried = old.map(|old| &*old.settings);
        let settings = Rc::new(Settings {
            env: Rc::clone(&services.env),
            events: Rc::clone(&services.events),
            dial: Rc::new(Dialer(services.clone())),
            connections: part(&params.limits.connections, carried.map(|old| &old.connections)),
            pending: part(&params.limits.pending, carried.map(|old| &old.pending)),
            requests: part(&params.limits.requests, carried.map(|old| &old.requests)),
            connect_timeout: params.connect_timeout,
            pending_timeout: params.pending_timeout,
            idle_timeout: params.idle_timeout,
            max_requests_per_connection: params.max_requests_per_connection,
            expected_slots: params.expected_slots,
        });
        let wanted = merge(&params.hosts);
        let hosts = match old {
            Some(old) if old.hosts.is_of(&wanted, &params, &old.params) => Rc::clone(&old.hosts),
            _ => Rc::new(HostSet::build(old.map(|old| &*old.hosts), wanted, &params, &settings)),
        };
        let renewed = old.is_some_and(|old| old.params.transport != params.transport);
        for host in &hosts.hosts {
            host.configure(Rc::clone(&settings));
            host.sync_health();
            if renewed {
                host.renew();
            }
        }
        let known = match old.filter(|old| old.params.original.is_some()) {
            Some(old) if params.original.is_some() => Rc::clone(&old.known),
            old => {
                old.inspect(|old| old.known.retire());
                Rc::default()
            }
        };
        known.move_on(&settings, renewed);
        let cluster = Rc::new(Self { params, services, settings, hosts, known });
        cluster.tell_membership();
        cluster
    }

    /// The same cluster with these hosts: what a change of endpoints makes of it.
    pub fn with_hosts(self: &Rc<Self>, hosts: Vec<HostParams>) -> Rc<Self> {
        Self::rebuild(Some(self), ClusterParams { hosts, ..self.params.clone() }, self.services.clone())
    }

    /// Picks a host for a request or connection.
    ///
    /// # Errors
    /// [`AcquireError::NoHealthyHost`] when none may be picked.
    pub fn pick(&self, want: Want<'_>) -> Result<Rc<Host>, AcquireError> {
        if let (Some(name), Some(owner)) = (&self.params.bound, want.owner)
            && let Some(host) = bound::host(owner, name)
        {
            return Ok(host);
        }
        if let Some(original) = &self.params.original {
            let host = want.destination.and_then(|to| self.known.host(to, original, &self.settings));
            return host.ok_or_else(|| {
                self.settings.events.no_healthy_host();
                AcquireError::NoHealthyHost
            });
        }
        let draw = |attempt: u64| {
            // Another host for the same hash, and the same one each time.
            let hash = want.hash.map(|hash| hash.wrapping_add(attempt.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
            let env = &self.settings.env;
            let cx = PickCx { random: env.random(), hash, now: env.now() };
            self.hosts.hosts.get(self.hosts.pick(&want, &self.settings, cx)?)
        };
        let Some(mut host) = draw(0) else {
            self.settings.events.no_healthy_host();
            return Err(AcquireError::NoHealthyHost);
        };
        let now = self.settings.env.now();
        let is_tried = |host: &Rc<Host>| want.tried.iter().any(|tried| Rc::ptr_eq(tried, host));
        for attempt in 1..=want.redraws.max(COOLING_REDRAWS) {
            let avoided = host.is_cooling(now) || (attempt <= want.redraws && is_tried(host));
            if !avoided {
                break;
            }
            host = draw(attempt.into()).unwrap_or(host);
        }
        Ok(Rc::clone(host))
    }

    /// Whether any host is healthy, whatever the panic threshold says.
    pub fn has_healthy_host(&self) -> bool {
        self.params.original.is_some() || self.hosts.states.iter().any(|state| state.usable.get())
    }

    /// Whether there are healthy hosts, and no connection came about to any of them a moment ago.
    pub fn is_unreachable(&self) -> bool {
        let now = self.settings.env.now();
        let mut healthy = self.hosts.hosts.iter().filter(|host| host.is_usable()).peekable();
        healthy.peek().is_some() && healthy.all(|host| host.is_cooling(now))
    }

    /// Whether another request would be beyond the cluster's limit. Takes a unit and gives it back: a step in this worker's
    /// lease mostly, an atomic operation for small limits.
    pub fn is_full(&self) -> bool {
        Permit::of(&self.settings.requests).is_none()
    }

    /// A connection to a host for one request: at once when one has room; otherwise the request waits in line, for
    /// at most the pending timeout. Dropping the future gives the place up and wastes no connection.
    ///
    /// # Errors
    /// All of [`AcquireError`] but `NoHealthyHost`.
    ///
    /// Where connections are [bound](ClusterParams::bound), it is the one of `owner`: the host must be the one picked for
    /// it. A request without an owner (a copy, say) takes part in a shared pool there too.
    pub async fn acquire(
        &self,
        host: &Rc<Host>,
        reuse: Reuse,
        owner: Option<&Rc<ConnCx>>,
    ) -> Result<Lease, AcquireError> {
        match (&self.params.bound, owner) {
            (Some(name), Some(owner)) => bound::acquire(host, name, owner).await,
            _ => host.acquire(reuse).await,
        }
    }

    /// A connection of its own to a host, for bytes. Dropping the future abandons the attempt.
    ///
    /// # Errors
    /// [`AcquireError::Overflow`] at the limit on connections, [`AcquireError::Connect`] when none comes about.
    pub async fn connect_raw(&self, host: &Rc<Host>) -> Result<(I, RawLease), AcquireError> {
        let settings = host.settings();
        let Some(permit) = host.permit_connection() else {
            settings.events.connection_overflow();
            return Err(AcquireError::Overflow(Breaker::Connections));
        };
        let active = Active::begin(host);
        let began = settings.env.now();
        match self.services.connect.connect(&host.reach().addresses, settings.connect_timeout).await {
            Ok(io) => {
                settings.events.connection_opened(settings.env.now().since(began));
                host.connected();
                count(&host.counts.raw_active);
                Ok((io, RawLease { active, events: Rc::clone(&settings.events), _permit: permit }))
            }
            Err(cause) => {
                host.connect_failed();
                match cause {
                    ConnectError::Timeout => settings.events.connect_timed_out(),
                    ConnectError::Failed(_) => settings.events.connect_failed(),
                }
                Err(AcquireError::Connect { host: host.address().clone(), cause })
            }
        }
    }

    /// Lets hosts be picked or not, as their health says: the control plane has changed it.
    pub fn sync_health(&self) {
        self.hosts.hosts.iter().for_each(|host| host.sync_health());
        self.tell_membership();
    }

    /// Whether the balancer wants to know how long hosts take to answer.
    #[inline]
    pub fn watches_latency(&self) -> bool {
        self.params.balancer.spec.latency
    }

    /// Notes how long a host took to begin its answer, or to fail.
    pub fn answered_in(&self, host: &Host, took: Duration) {
        host.note_latency(took, self.settings.env.now(), self.params.balancer.latency_decay());
    }

    /// Notes what an attempt at a host came to, for outlier detection.
    #[inline]
    pub fn attempt_ended(&self, host: &Host, outcome: Outcome) {
        if let Some(passive) = self.params.passive.as_ref().filter(|passive| passive.outliers) {
            host.with_health(|health| health.record(passive, self.params.worker, outcome));
        }
    }

    /// Whether anybody wants to know what attempts come to.
    #[inline]
    pub fn watches_outcomes(&self) -> bool {
        self.params.passive.is_some_and(|passive| passive.outliers)
    }

    /// Whether responses may take their host out by `x-envoy-immediate-health-check-fail`.
    #[inline]
    pub fn heeds_immediate_failure(&self) -> bool {
        self.params.passive.is_some_and(|passive| passive.immediate_fail)
    }

    /// A host has said, by `x-envoy-immediate-health-check-fail`, that it must not get more requests.
    pub fn fail_immediately(&self, host: &Host) {
        host.with_health(|health| health.fail_immediately());
    }

    /// Lets a host be picked or not, where no health decides; unknown addresses are ignored.
    pub fn set_usable(&self, address: &Address, usable: bool) {
        if let Some(host) = self.hosts.hosts.iter().find(|host| host.address() == address) {
            host.set_usable(usable);
            self.tell_membership();
        }
    }

    /// Closes idle connections now and the others when they come back: the cluster is gone from the configuration.
    /// Requests that still hold it can use it.
    pub fn drain(&self) {
        self.hosts.hosts.iter().for_each(|host| host.retire());
        self.known.retire();
    }

    /// Returns this worker's unused shares of the process-wide limits, if they were not touched since the last call.
    /// For the worker's tick.
    pub fn settle(&self) {
        self.settings.connections.settle();
        self.settings.pending.settle();
        self.settings.requests.settle();
        if self.hosts.limited {
            self.hosts.hosts.iter().for_each(|host| host.settle());
        }
        if let Some(original) = &self.params.original {
            self.known.sweep(original, &self.settings);
        }
    }

    /// The hosts, in the order they were configured.
    pub fn hosts(&self) -> &[Rc<Host>] {
        &self.hosts.hosts
    }

    /// The state of all hosts, for people.
    pub fn report(&self) -> Vec<HostReport> {
        let configured = self.hosts.hosts.iter().map(|host| host.report());
        configured.chain(self.known.report()).collect()
    }

    /// The parameters it was built with.
    pub fn params(&self) -> &ClusterParams {
        &self.params
    }

    /// Where its events go.
    pub fn events(&self) -> &Rc<dyn ClusterEvents> {
        &self.settings.events
    }

    /// The services of its worker.
    pub fn env(&self) -> &Rc<dyn Env> {
        &self.settings.env
    }

    fn tell_membership(&self) {
        let usable = self.hosts.states.iter().filter(|state| state.usable.get()).count();
        let known = self.known.len();
        self.settings.events.membership(self.hosts.states.len() + known, usable + known);
    }
}

/// This worker's part of a limit: the one it has had, if the limit is the same.
fn part(limit: &SharedLimit, carried: Option<&Rc<Limit>>) -> Rc<Limit> {
    match carried {
        Some(part) if limit.owns(part) => Rc::clone(part),
        _ => limit.worker(),
    }
}

// === impl RawLease ===

impl RawLease {
    /// The host.
    pub fn host(&self) -> &Rc<Host> {
        self.active.host()
    }
}

impl fmt::Debug for RawLease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawLease").field("host", self.host()).finish_non_exhaustive()
    }
}

impl<I> fmt::Debug for Cluster<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("hosts", &self.hosts.hosts).finish_non_exhaustive()
    }
}

impl Drop for RawLease {
    fn drop(&mut self) {
        let raw = &self.active.host().counts.raw_active;
        raw.set(raw.get().saturating_sub(1));
        self.events.connection_closed(CloseCause::Released);
    }
}
