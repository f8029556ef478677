//! A host of a cluster, on one worker.

use std::cell::{Cell, RefCell};
use std::num::NonZeroU32;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use ringway_api::{Address, Env, HostState, Time};

use crate::balance::observed;
use crate::dial::Dial;
use crate::pool::Pool;
use crate::{ClusterEvents, HealthFlags, HostHealth, HostLimits, HostParams, Limit, Permit, Reach, SharedLimit};

/// A host: its place in the balancer's view, its connections and its counts. It outlives the cluster view that
/// picked it as long as connections of it are in use, and moves on to the next view when it stays a member.
pub struct Host {
    address: Address,
    reach: RefCell<Rc<Reach>>,
    seat: RefCell<Seat>,
    health: RefCell<Option<Arc<HostHealth>>>,
    /// Since when it may be picked, if it has not always been.
    since: Cell<Option<Time>>,
    /// It is better left alone until then, because no connection came about; and for how long it was the last time.
    cooling: Cell<(Time, Duration)>,
    pub(crate) settings: RefCell<Rc<Settings>>,
    limits: RefCell<Limits>,
    pub(crate) pool: Pool,
    pub(crate) counts: Counts,
}

/// A host's state for people, safe to hand to the control plane.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostReport {
    /// The address.
    pub address: Address,
    /// The weight.
    pub weight: u32,
    /// Whether it may be picked.
    pub usable: bool,
    /// Why it may not be picked.
    pub health: HealthFlags,
    /// Open connections on this worker (`cx_active`).
    pub connections_active: u64,
    /// Those of them that are idle in the pool.
    pub connections_idle: u64,
    /// Connections opened so far (`cx_total`).
    pub connections_total: u64,
    /// Attempts that failed so far (`cx_connect_fail`).
    pub connect_failures: u64,
    /// Requests and raw connections under way, waiting ones included (`rq_active`).
    pub requests_active: u64,
    /// Requests that got a connection so far (`rq_total`).
    pub requests_total: u64,
}

/// What the hosts of one cluster view have in common.
pub(crate) struct Settings {
    pub(crate) env: Rc<dyn Env>,
    pub(crate) events: Rc<dyn ClusterEvents>,
    pub(crate) dial: Rc<dyn Dial>,
    pub(crate) connections: Rc<Limit>,
    pub(crate) pending: Rc<Limit>,
    pub(crate) requests: Rc<Limit>,
    pub(crate) connect_timeout: Duration,
    pub(crate) pending_timeout: Duration,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) max_requests_per_connection: Option<NonZeroU32>,
    pub(crate) expected_slots: NonZeroU32,
}

/// Where the newest view keeps the state of this host that its balancer reads.
#[derive(Clone)]
pub(crate) struct Seat {
    pub(crate) states: Rc<[HostState]>,
    pub(crate) shared: Rc<Shared>,
    pub(crate) index: usize,
}

/// What the hosts of one view sum up.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    /// What is under way at all of them.
    pub(crate) active: Cell<u32>,
    /// How often one became usable, or ceased to be.
    pub(crate) changes: Cell<u64>,
    /// Picks among hosts of which too few were usable, since they were last taken away.
    pub(crate) panics: Cell<u64>,
}

#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) connections: Cell<u64>,
    pub(crate) raw_active: Cell<u64>,
    pub(crate) connect_failures: Cell<u64>,
    pub(crate) requests: Cell<u64>,
}

/// A host's limits on this worker: its own, within the cluster's, or the cluster's alone.
struct Limits {
    shared: HostLimits,
    connections: Rc<Limit>,
    requests: Rc<Limit>,
}

/// Something under way at a host, counted in what balancers see.
pub(crate) struct Active(Rc<Host>);

/// A host to which no connection came about is avoided for so long at first: until outlier detection, which hears of
/// it a moment later, has its say.
const COOL_DOWN: Duration = Duration::from_millis(100);
/// And for so long at most.
const MOST_COOL_DOWN: Duration = Duration::from_secs(1);

// === impl Host ===

impl Host {
    pub(crate) fn new(params: &HostParams, seat: Seat, settings: Rc<Settings>, is_new: bool) -> Rc<Self> {
        Rc::new(Self {
            since: Cell::new(is_new.then(|| settings.env.now())),
            cooling: Cell::default(),
            address: params.address.clone(),
            reach: RefCell::new(Rc::new(Reach::of(params))),
            seat: RefCell::new(seat),
            health: RefCell::new(params.health.clone()),
            limits: RefCell::new(Limits::new(params.limits.clone(), &settings)),
            pool: Pool::default(),
            counts: Counts::default(),
            settings: RefCell::new(settings),
        })
    }

    /// Its address, the one it is recognised by.
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Requests (waiting ones included) and raw connections under way on this worker.
    pub fn active(&self) -> u32 {
        self.with_state(|state| state.active.get()).unwrap_or(0)
    }

    /// Whether it may be picked.
    pub fn is_usable(&self) -> bool {
        self.with_state(|state| state.usable.get()).unwrap_or(false)
    }

    /// Lets it be picked or not. Connections in use and idle ones stay.
    pub fn set_usable(&self, usable: bool) {
        let seat = self.seat.borrow();
        let Some(state) = seat.states.get(seat.index) else { return };
        if state.usable.replace(usable) != usable {
            seat.shared.changes.set(seat.shared.changes.get() + 1);
            if usable {
                self.since.set(Some(self.settings.borrow().env.now()));
            }
        }
    }

    /// Whether no connection came about a moment ago: another host is better asked.
    pub(crate) fn is_cooling(&self, now: Time) -> bool {
        now < self.cooling.get().0
    }

    /// A connection came about.
    pub(crate) fn connected(&self) {
        count(&self.counts.connections);
        self.cooling.set(Default::default());
    }

    /// None did: it is left alone for a moment, each time for longer.
    pub(crate) fn connect_failed(&self) {
        count(&self.counts.connect_failures);
        let (until, before) = self.cooling.get();
        let now = self.settings.borrow().env.now();
        if now >= until {
            let span = (before * 2).clamp(COOL_DOWN, MOST_COOL_DOWN);
            self.cooling.set((now + span, span));
        }
    }

    /// Since when it may be picked, if it has not always been.
    pub(crate) fn since(&self) -> Option<Time> {
        self.since.get()
    }

    /// Notes how long it took to answer.
    pub(crate) fn note_latency(&self, took: Duration, now: Time, decay: Duration) {
        self.with_state(|state| state.latency.set(observed(state.latency.get(), took, now, decay)));
    }

    /// Its state for people.
    pub fn report(&self) -> HostReport {
        let (connections, idle) = self.pool.census();
        HostReport {
            address: self.address.clone(),
            weight: self.with_state(|state| state.weight).unwrap_or(0),
            usable: self.is_usable(),
            health: self.health().map_or_else(HealthFlags::default, |health| health.flags()),
            connections_active: connections as u64 + self.counts.raw_active.get(),
            connections_idle: idle as u64,
            connections_total: self.counts.connections.get(),
            connect_failures: self.counts.connect_failures.get(),
            requests_active: u64::from(self.active()),
            requests_total: self.counts.requests.get(),
        }
    }

    /// A place among the host's connections and the cluster's, if there is one.
    pub(crate) fn permit_connection(&self) -> Option<Permit> {
        Permit::of(&self.limits.borrow().connections)
    }

    /// A place among the host's requests and the cluster's, if there is one.
    pub(crate) fn permit_request(&self) -> Option<Permit> {
        Permit::of(&self.limits.borrow().requests)
    }

    /// As [`Cluster::settle`](crate::Cluster::settle), for its own limits.
    pub(crate) fn settle(&self) {
        let limits = self.limits.borrow();
        if limits.shared.connections.is_some() {
            limits.connections.settle();
        }
        if limits.shared.requests.is_some() {
            limits.requests.settle();
        }
    }

    pub(crate) fn settings(&self) -> Rc<Settings> {
        Rc::clone(&self.settings.borrow())
    }

    /// How it is reached.
    pub fn reach(&self) -> Rc<Reach> {
        Rc::clone(&self.reach.borrow())
    }

    /// Its health, where anything decides about that.
    pub fn health(&self) -> Option<Arc<HostHealth>> {
        self.health.borrow().clone()
    }

    /// Lets it be picked or not, as its health says.
    pub(crate) fn sync_health(&self) {
        if let Some(health) = &*self.health.borrow() {
            self.set_usable(health.is_usable());
        }
    }

    /// Looks at its health, if there is any.
    pub(crate) fn with_health(&self, look: impl FnOnce(&HostHealth)) {
        if let Some(health) = &*self.health.borrow() {
            look(health);
        }
    }

    /// Takes its place in the next view; what is under way moves along.
    pub(crate) fn move_to(&self, params: &HostParams, seat: Seat) {
        if let Some(state) = seat.states.get(seat.index) {
            state.active.set(self.active());
            // Whoever kept it away no longer does when there is no health to ask any more.
            let freed = params.health.is_none() && self.health.borrow().is_some();
            state.usable.set(freed || self.is_usable());
            if let Some(latency) = self.with_state(|state| state.latency.get()) {
                state.latency.set(latency);
            }
        }
        self.reach.replace(Rc::new(Reach::of(params)));
        self.seat.replace(seat);
        self.health.replace(params.health.clone());
        self.limits.borrow_mut().shared = params.limits.clone();
    }

    pub(crate) fn configure(&self, settings: Rc<Settings>) {
        self.limits.borrow_mut().renew(&settings);
        self.settings.replace(settings);
        self.pool.reconsider();
    }

    fn count_active(&self, by: i32) {
        let seat = self.seat.borrow();
        let add = |cell: &Cell<u32>| cell.set(cell.get().saturating_add_signed(by));
        if let Some(state) = seat.states.get(seat.index) {
            add(&state.active);
            add(&seat.shared.active);
        }
    }

    fn with_state<T>(&self, look: impl FnOnce(&HostState) -> T) -> Option<T> {
        let seat = self.seat.borrow();
        seat.states.get(seat.index).map(look)
    }
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host").field("address", &self.address).field("active", &self.active()).finish_non_exhaustive()
    }
}

// === impl Limits ===

impl Limits {
    fn new(shared: HostLimits, settings: &Settings) -> Self {
        let connections = within(shared.connections.as_ref(), &settings.connections, None);
        let requests = within(shared.requests.as_ref(), &settings.requests, None);
        Self { shared, connections, requests }
    }

    /// Follows a change of its own limits or the cluster's. What is taken of a limit that stays goes on.
    fn renew(&mut self, settings: &Settings) {
        self.connections = within(self.shared.connections.as_ref(), &settings.connections, Some(&self.connections));
        self.requests = within(self.shared.requests.as_ref(), &settings.requests, Some(&self.requests));
    }
}

fn within(own: Option<&SharedLimit>, cluster: &Rc<Limit>, before: Option<&Rc<Limit>>) -> Rc<Limit> {
    match (own, before) {
        (None, _) => Rc::clone(cluster),
        (Some(own), Some(before)) if own.owns(before) && before.is_within(cluster) => Rc::clone(before),
        (Some(own), _) => own.worker_within(cluster),
    }
}

// === impl Active ===

impl Active {
    pub(crate) fn begin(host: &Rc<Host>) -> Self {
        host.count_active(1);
        Self(Rc::clone(host))
    }

    pub(crate) fn host(&self) -> &Rc<Host> {
        &self.0
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        self.0.count_active(-1);
    }
}

pub(crate) fn count(cell: &Cell<u64>) {
    cell.set(cell.get() + 1);
}
