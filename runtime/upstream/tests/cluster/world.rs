//! One worker under a fake clock, with a cluster on a fake network.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, SystemTime};

use ringway_api::{
    Address, Balancer, BalancerSpec, ConnCx, ConnInfo, Env, LoadBalancer, LocalBoxFuture, Request, RequestHead, Time,
    Timer, TimerDriver,
};
use ringway_upstream::balance::RoundRobin;
use ringway_upstream::{
    AcquireError, BreakerLimits, CloseCause, Cluster, ClusterEvents, ClusterParams, Grouping, Host, HostParams, Lease,
    Reuse, Services, Want,
};

use super::net::{Connector, Net, Stream};

pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

pub(crate) struct World {
    pub(crate) env: Rc<FakeEnv>,
    pub(crate) net: Rc<Net>,
    pub(crate) tally: Rc<Tally>,
}

impl World {
    pub(crate) fn new() -> Self {
        let env = Rc::new(FakeEnv::default());
        Self { net: Net::new(Rc::clone(&env) as Rc<dyn Env>), env, tally: Rc::default() }
    }

    pub(crate) fn services(&self) -> Services<Stream> {
        let ids = Cell::new(0);
        let net = Rc::clone(&self.net);
        Services {
            env: Rc::clone(&self.env) as Rc<dyn Env>,
            connect: Rc::new(Connector(Rc::clone(&self.net))),
            describe: Rc::new(move |_, peer| {
                ids.set(ids.get() + 1);
                ConnInfo::new(ids.get(), address(1), peer.clone())
            }),
            secure: None,
            factory: Rc::new(move |stream, _| {
                let conn = net.conn_over(stream);
                Box::pin(async move { Ok(conn) })
            }),
            events: Rc::clone(&self.tally) as Rc<dyn ClusterEvents>,
        }
    }

    pub(crate) fn cluster(&self, params: ClusterParams) -> Rc<Cluster<Stream>> {
        Cluster::rebuild(None, params, self.services())
    }

    /// Asks for a connection to the first host.
    pub(crate) fn ask(&self, cluster: &Rc<Cluster<Stream>>, reuse: Reuse) -> Ask {
        self.ask_host(cluster, &cluster.hosts()[0], reuse)
    }

    pub(crate) fn ask_host(&self, cluster: &Rc<Cluster<Stream>>, host: &Rc<Host>, reuse: Reuse) -> Ask {
        self.ask_for(cluster, host, reuse, None)
    }

    /// Asks for the connection that a downstream connection has to itself.
    pub(crate) fn ask_bound(&self, cluster: &Rc<Cluster<Stream>>, owner: &Rc<ConnCx>) -> Ask {
        let host = cluster.pick(Want { owner: Some(owner), ..Want::default() }).unwrap();
        self.ask_for(cluster, &host, Reuse::Allowed, Some(Rc::clone(owner)))
    }

    fn ask_for(&self, cluster: &Rc<Cluster<Stream>>, host: &Rc<Host>, reuse: Reuse, owner: Option<Rc<ConnCx>>) -> Ask {
        let (cluster, host) = (Rc::clone(cluster), Rc::clone(host));
        let mut ask = Ask {
            future: Some(Box::pin(async move { cluster.acquire(&host, reuse, owner.as_ref()).await })),
            flag: Arc::new(Flag(AtomicBool::new(true))),
            outcome: None,
        };
        ask.poll();
        ask
    }

    /// A connection that must be there once everything has run.
    pub(crate) fn lease(&self, cluster: &Rc<Cluster<Stream>>) -> Lease {
        let mut ask = self.ask(cluster, Reuse::Allowed);
        self.env.run();
        ask.lease()
    }

    /// Carries one request and gives the connection back.
    pub(crate) fn exchange(&self, cluster: &Rc<Cluster<Stream>>) {
        complete(self.lease(cluster));
    }

    /// Nothing is left of what was begun.
    pub(crate) fn assert_quiet(&self) {
        self.env.run();
        let tally = &self.tally;
        assert_eq!(self.net.open.get(), 0, "open streams");
        assert_eq!(tally.open.get(), 0, "connections");
        assert_eq!(tally.pending.get(), 0, "waiting requests");
        assert_eq!(tally.requests.get(), 0, "requests");
        assert_eq!(self.env.tasks(), 0, "tasks");
    }
}

/// Sends a request on the lease, takes the response, gives the connection back.
pub(crate) fn complete(mut lease: Lease) {
    let mut exchange = lease.open(request());
    assert!(exchange.poll_head(&mut Context::from_waker(Waker::noop())).is_ready());
    drop(exchange);
    drop(lease);
}

pub(crate) fn request() -> Request {
    Request { head: RequestHead::default(), body: ringway_api::Body::Empty }
}

pub(crate) fn address(host: u8) -> Address {
    SocketAddr::from(([10, 0, 0, host], 80)).into()
}

pub(crate) fn hosts(hosts: impl IntoIterator<Item = u8>) -> Vec<HostParams> {
    hosts.into_iter().map(|host| HostParams::new(address(host))).collect()
}

pub(crate) fn balancer<B: LoadBalancer>() -> Balancer {
    BalancerSpec::of::<B>().with_defaults().unwrap()
}

pub(crate) fn params(of: impl IntoIterator<Item = u8>) -> ClusterParams {
    ClusterParams {
        hosts: hosts(of),
        balancer: balancer::<RoundRobin>(),
        // Nobody but the healthy is picked.
        grouping: Arc::new(Grouping { panic_percent: 0, ..Grouping::default() }),
        connect_timeout: CONNECT_TIMEOUT,
        pending_timeout: CONNECT_TIMEOUT,
        idle_timeout: Some(IDLE_TIMEOUT),
        max_requests_per_connection: None,
        bound: None,
        original: None,
        expected_slots: NonZeroU32::MIN,
        limits: BreakerLimits::new(1024, 1024, 1024, 1),
        transport: 0,
        passive: None,
        worker: 0,
    }
}

/// Params with limits on connections, waiting requests and requests.
pub(crate) fn limited(connections: u32, pending: u32, requests: u32) -> ClusterParams {
    ClusterParams { limits: BreakerLimits::new(connections, pending, requests, 1), ..params([1]) }
}

/// A request for a connection, polled when it was woken and not otherwise.
pub(crate) struct Ask {
    future: Option<LocalBoxFuture<'static, Result<Lease, AcquireError>>>,
    flag: Arc<Flag>,
    outcome: Option<Result<Lease, AcquireError>>,
}

impl Ask {
    pub(crate) fn poll(&mut self) {
        let Some(future) = &mut self.future else { return };
        if !self.flag.0.swap(false, Ordering::SeqCst) {
            return;
        }
        let waker = Waker::from(Arc::clone(&self.flag));
        if let Poll::Ready(outcome) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            self.future = None;
            self.outcome = Some(outcome);
        }
    }

    pub(crate) fn is_ready(&mut self) -> bool {
        self.poll();
        self.outcome.is_some()
    }

    pub(crate) fn take(&mut self) -> Option<Result<Lease, AcquireError>> {
        self.poll();
        self.outcome.take()
    }

    pub(crate) fn lease(&mut self) -> Lease {
        self.take().expect("still waiting").expect("a connection")
    }

    pub(crate) fn error(&mut self) -> AcquireError {
        self.take().expect("still waiting").expect_err("no connection")
    }
}

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Counts events.
#[derive(Default)]
pub(crate) struct Tally {
    pub(crate) opened: Cell<u32>,
    pub(crate) open: Cell<i64>,
    pub(crate) pending: Cell<i64>,
    pub(crate) requests: Cell<i64>,
    pub(crate) failed: Cell<u32>,
    pub(crate) timed_out: Cell<u32>,
    pub(crate) connection_overflow: Cell<u32>,
    pub(crate) pending_overflow: Cell<u32>,
    pub(crate) pending_failed: Cell<u32>,
    pub(crate) cancelled: Cell<u32>,
    pub(crate) none_healthy: Cell<u32>,
    pub(crate) panics: Cell<u32>,
    pub(crate) members: Cell<(usize, usize)>,
    closed: RefCell<HashMap<CloseCause, u32>>,
}

impl Tally {
    pub(crate) fn closed(&self, cause: CloseCause) -> u32 {
        self.closed.borrow().get(&cause).copied().unwrap_or(0)
    }
}

fn add<T: Copy + std::ops::Add<Output = T>>(cell: &Cell<T>, more: T) {
    cell.set(cell.get() + more);
}

impl ClusterEvents for Tally {
    fn panicked(&self) {
        add(&self.panics, 1);
    }
    fn connection_opened(&self, _: Duration) {
        add(&self.opened, 1);
        add(&self.open, 1);
    }
    fn connection_closed(&self, cause: CloseCause) {
        add(&self.open, -1);
        *self.closed.borrow_mut().entry(cause).or_default() += 1;
    }
    fn connect_failed(&self) {
        add(&self.failed, 1);
    }
    fn connect_timed_out(&self) {
        add(&self.timed_out, 1);
    }
    fn connection_overflow(&self) {
        add(&self.connection_overflow, 1);
    }
    fn pending_begun(&self) {
        add(&self.pending, 1);
    }
    fn pending_ended(&self) {
        add(&self.pending, -1);
    }
    fn pending_overflow(&self) {
        add(&self.pending_overflow, 1);
    }
    fn pending_failed(&self) {
        add(&self.pending_failed, 1);
    }
    fn pending_cancelled(&self) {
        add(&self.cancelled, 1);
    }
    fn request_begun(&self) {
        add(&self.requests, 1);
    }
    fn request_ended(&self) {
        add(&self.requests, -1);
    }
    fn no_healthy_host(&self) {
        add(&self.none_healthy, 1);
    }
    fn membership(&self, total: usize, usable: usize) {
        self.members.set((total, usable));
    }
}

/// A worker: tasks that run when woken, and a clock that the test moves.
#[derive(Default)]
pub(crate) struct FakeEnv {
    now: Rc<Cell<Time>>,
    random: Cell<u64>,
    next: Cell<usize>,
    tasks: RefCell<HashMap<usize, LocalBoxFuture<'static, ()>>>,
    woken: Arc<Mutex<VecDeque<usize>>>,
    sleepers: Rc<RefCell<Vec<(Time, Waker)>>>,
    pub(crate) polls: Cell<usize>,
}

impl FakeEnv {
    /// Runs tasks until none is woken.
    pub(crate) fn run(&self) {
        loop {
            let next = self.woken.lock().unwrap().pop_front();
            let Some(id) = next else { break };
            let task = self.tasks.borrow_mut().remove(&id);
            let Some(mut task) = task else { continue };
            self.polls.set(self.polls.get() + 1);
            let waker = Waker::from(Arc::new(TaskWaker { id, woken: Arc::clone(&self.woken) }));
            if task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
                self.tasks.borrow_mut().insert(id, task);
            }
        }
    }

    /// Moves the clock, running what is due in order.
    pub(crate) fn advance(&self, span: Duration) {
        self.run();
        let end = self.now.get() + span;
        loop {
            let due = self.sleepers.borrow().iter().map(|(at, _)| *at).min().filter(|at| *at <= end);
            let Some(at) = due else { break };
            self.now.set(self.now.get().max(at));
            let mut due = Vec::new();
            self.sleepers.borrow_mut().retain(|(wake_at, waker)| {
                let later = *wake_at > at;
                if !later {
                    due.push(waker.clone());
                }
                later
            });
            due.into_iter().for_each(Waker::wake);
            self.run();
        }
        self.now.set(end);
    }

    pub(crate) fn tasks(&self) -> usize {
        self.tasks.borrow().len()
    }

    /// Drops every task, as a worker that ends.
    pub(crate) fn abandon_tasks(&self) {
        let tasks = std::mem::take(&mut *self.tasks.borrow_mut());
        drop(tasks);
    }
}

struct TaskWaker {
    id: usize,
    woken: Arc<Mutex<VecDeque<usize>>>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.woken.lock().unwrap().push_back(self.id);
    }
}

impl Env for FakeEnv {
    fn now(&self) -> Time {
        self.now.get()
    }

    fn wall(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH
    }

    fn timer(&self) -> Timer {
        Timer::new(Box::new(FakeTimer { now: Rc::clone(&self.now), sleepers: Rc::clone(&self.sleepers) }))
    }

    fn spawn(&self, task: LocalBoxFuture<'static, ()>) {
        let id = self.next.get();
        self.next.set(id + 1);
        self.tasks.borrow_mut().insert(id, task);
        self.woken.lock().unwrap().push_back(id);
    }

    fn random(&self) -> u64 {
        self.random.set(self.random.get().wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        self.random.get()
    }
}

struct FakeTimer {
    now: Rc<Cell<Time>>,
    sleepers: Rc<RefCell<Vec<(Time, Waker)>>>,
}

impl TimerDriver for FakeTimer {
    fn now(&self) -> Time {
        self.now.get()
    }

    fn wake_at(&mut self, at: Time, cx: &mut Context<'_>) {
        self.sleepers.borrow_mut().push((at, cx.waker().clone()));
    }
}
