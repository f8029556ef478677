//! A deterministic executor with a fake clock.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::future::Future;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, SystemTime};

use ringway_api::{ConnCx, ConnInfo, Env, LocalBoxFuture, Time, Timer, TimerDriver};

use crate::Rng;

/// One worker on one thread whose clock stands still unless it is moved. Cloning shares it.
#[derive(Clone)]
pub struct Sim(Rc<Inner>);

/// More polls of one task in one quiet run than any correct task needs: a busy loop.
const POLL_LIMIT: u64 = 20_000_000;

struct Inner {
    now: Cell<u64>,
    rng: RefCell<Rng>,
    tasks: RefCell<BTreeMap<u64, Task>>,
    next_id: Cell<u64>,
    ready: Arc<Ready>,
    timers: RefCell<Timers>,
    polls: Cell<u64>,
    arms: Cell<u64>,
}

/// Timers by what they are known by, and by when they are due: there may be thousands.
#[derive(Default)]
struct Timers {
    armed: BTreeMap<u64, (Time, Waker)>,
    due: BTreeSet<(Time, u64)>,
}

struct Task {
    future: LocalBoxFuture<'static, ()>,
    waker: Arc<TaskWaker>,
}

#[derive(Default)]
struct Ready(Mutex<VecDeque<u64>>);

struct TaskWaker {
    id: u64,
    queued: AtomicBool,
    ready: Arc<Ready>,
}

struct SimTimer {
    id: u64,
    sim: Rc<Inner>,
}

/// The task that [`Sim::block_on`] polls.
const MAIN: u64 = 0;

// === impl Sim ===

impl Sim {
    /// A worker whose random bits come from `seed`.
    pub fn new(seed: u64) -> Self {
        Self(Rc::new(Inner {
            // Not zero, so that a deadline of "one hour ago" is a time too.
            now: Cell::new(86_400_000_000_000),
            rng: RefCell::new(Rng::new(seed)),
            tasks: RefCell::default(),
            next_id: Cell::new(MAIN + 1),
            ready: Arc::default(),
            timers: RefCell::default(),
            polls: Cell::new(0),
            arms: Cell::new(0),
        }))
    }

    /// The worker's services.
    pub fn env(&self) -> Rc<dyn Env> {
        Rc::new(self.clone())
    }

    /// Starts a task.
    pub fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        Env::spawn(self, Box::pin(task));
    }

    /// Starts a task whose result can be taken from the returned cell.
    pub fn spawn_with_result<T: 'static>(&self, task: impl Future<Output = T> + 'static) -> Rc<RefCell<Option<T>>> {
        let result = Rc::new(RefCell::new(None));
        let slot = Rc::clone(&result);
        self.spawn(async move {
            let value = task.await;
            *slot.borrow_mut() = Some(value);
        });
        result
    }

    /// Runs what can run, until every task waits. The clock stands still.
    pub fn run_until_quiet(&self) {
        let start = self.0.polls.get();
        while let Some(id) = self.0.ready.pop() {
            self.poll_task(id);
            assert!(self.0.polls.get() - start < POLL_LIMIT, "a task never stops waking itself");
        }
    }

    /// Runs what can run, then moves the clock by `span`, stopping at each deadline on the way to run what it wakes.
    pub fn advance(&self, span: Duration) {
        let end = Time(self.0.now.get()) + span;
        self.run_until_quiet();
        while self.step_to_next_timer(end) {
            self.run_until_quiet();
        }
        self.0.now.set(end.0);
    }

    /// Runs `future` and all tasks until it is done. When nothing can run, the clock moves to the next deadline.
    ///
    /// # Panics
    /// When it waits for something that cannot happen any more.
    pub fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        let mut future = pin!(future);
        let main = self.waker(MAIN);
        let waker = Waker::from(Arc::clone(&main));
        main.wake_by_ref();
        let start = self.0.polls.get();
        loop {
            match self.0.ready.pop() {
                Some(MAIN) => {
                    main.queued.store(false, Ordering::Relaxed);
                    if let Poll::Ready(value) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
                        return value;
                    }
                }
                Some(id) => self.poll_task(id),
                None if self.step_to_next_timer(Time(u64::MAX)) => {}
                None => panic!("stuck: nothing can run and no timer is set"),
            }
            assert!(self.0.polls.get() - start < POLL_LIMIT, "a task never stops waking itself");
        }
    }

    /// Drops every task. Tasks that have not ended keep their worker alive, which they hold: runs that are many need this.
    pub fn stop(&self) {
        loop {
            // Taken out first: what is dropped may start others.
            let tasks = std::mem::take(&mut *self.0.tasks.borrow_mut());
            if tasks.is_empty() {
                return;
            }
            drop(tasks);
        }
    }

    /// How many tasks have not ended.
    pub fn tasks(&self) -> usize {
        self.0.tasks.borrow().len()
    }

    /// How many times tasks have been polled: shows needless wake-ups.
    pub fn polls(&self) -> u64 {
        self.0.polls.get()
    }

    /// How many times timers have been armed: shows needless re-arming.
    pub fn timer_arms(&self) -> u64 {
        self.0.arms.get()
    }

    /// Lets every other task that can run do so once.
    pub async fn yield_now(&self) {
        let mut yielded = false;
        std::future::poll_fn(|cx| {
            if std::mem::replace(&mut yielded, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    }

    /// Waits for `span` of fake time.
    pub async fn sleep(&self, span: Duration) {
        let mut timer = Env::timer(self);
        timer.set_after(span);
        timer.expired().await;
    }

    fn poll_task(&self, id: u64) {
        // Taken out while it is polled, so that it may spawn and be polled without a borrow held.
        let Some(mut task) = self.0.tasks.borrow_mut().remove(&id) else { return };
        task.waker.queued.store(false, Ordering::Relaxed);
        self.0.polls.set(self.0.polls.get() + 1);
        let waker = Waker::from(Arc::clone(&task.waker));
        if task.future.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
            self.0.tasks.borrow_mut().insert(id, task);
        }
    }

    /// Moves the clock to the earliest deadline not after `end` and wakes whoever waits for it.
    fn step_to_next_timer(&self, end: Time) -> bool {
        let Some(next) = self.0.timers.borrow().next().filter(|at| *at <= end) else { return false };
        self.0.now.set(self.0.now.get().max(next.0));
        let due = self.0.timers.borrow_mut().take_due(next);
        due.into_iter().for_each(Waker::wake);
        true
    }

    fn waker(&self, id: u64) -> Arc<TaskWaker> {
        Arc::new(TaskWaker { id, queued: AtomicBool::new(false), ready: Arc::clone(&self.0.ready) })
    }

    fn next_id(&self) -> u64 {
        self.0.next_id.replace(self.0.next_id.get() + 1)
    }
}

impl Env for Sim {
    fn now(&self) -> Time {
        Time(self.0.now.get())
    }

    fn wall(&self) -> SystemTime {
        // 2026-01-01T00:00:00Z at the start of the run.
        SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600 - 86_400) + Duration::from_nanos(self.0.now.get())
    }

    fn timer(&self) -> Timer {
        Timer::new(Box::new(SimTimer { id: self.next_id(), sim: Rc::clone(&self.0) }))
    }

    fn spawn(&self, task: LocalBoxFuture<'static, ()>) {
        let id = self.next_id();
        let waker = self.waker(id);
        waker.wake_by_ref();
        self.0.tasks.borrow_mut().insert(id, Task { future: task, waker });
    }

    fn random(&self) -> u64 {
        self.0.rng.borrow_mut().bits()
    }
}

impl fmt::Debug for Sim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sim({} tasks)", self.tasks())
    }
}

impl TimerDriver for SimTimer {
    fn now(&self) -> Time {
        Time(self.sim.now.get())
    }

    fn wake_at(&mut self, at: Time, cx: &mut Context<'_>) {
        let mut timers = self.sim.timers.borrow_mut();
        match timers.armed.get_mut(&self.id) {
            // As a wheel does it: an earlier wake-up than asked for is harmless and saves the move.
            Some((armed, waker)) if *armed <= at => waker.clone_from(cx.waker()),
            _ => {
                self.sim.arms.set(self.sim.arms.get() + 1);
                timers.arm(self.id, at, cx.waker().clone());
            }
        }
    }
}

impl Drop for SimTimer {
    fn drop(&mut self) {
        self.sim.timers.borrow_mut().disarm(self.id);
    }
}

impl Timers {
    /// When the first is due.
    fn next(&self) -> Option<Time> {
        self.due.first().map(|(at, _)| *at)
    }

    /// Those that are due by `now`, the older timers first among those due at once.
    fn take_due(&mut self, now: Time) -> Vec<Waker> {
        let mut wakers = Vec::new();
        while let Some((_, id)) = self.due.first().copied().filter(|(at, _)| *at <= now) {
            self.due.pop_first();
            wakers.extend(self.armed.remove(&id).map(|(_, waker)| waker));
        }
        wakers
    }

    fn arm(&mut self, id: u64, at: Time, waker: Waker) {
        self.disarm(id);
        self.armed.insert(id, (at, waker));
        self.due.insert((at, id));
    }

    fn disarm(&mut self, id: u64) {
        if let Some((at, _)) = self.armed.remove(&id) {
            self.due.remove(&(at, id));
        }
    }
}

impl Ready {
    fn pop(&self) -> Option<u64> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            self.ready.0.lock().unwrap_or_else(PoisonError::into_inner).push_back(self.id);
        }
    }
}

/// The context of a connection between made-up addresses.
pub fn test_conn(sim: &Sim) -> Rc<ConnCx> {
    let address = |last, port| SocketAddr::from((Ipv4Addr::new(192, 0, 2, last), port)).into();
    Rc::new(ConnCx::new(ConnInfo::new(1, address(1, 80), address(2, 50_000)), sim.env()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_passes_only_when_told_or_when_nothing_else_can_happen() {
        let sim = Sim::new(1);
        let log = Rc::new(RefCell::new(Vec::new()));
        for seconds in [3, 1, 2] {
            let (sim2, log) = (sim.clone(), Rc::clone(&log));
            sim.spawn(async move {
                sim2.sleep(Duration::from_secs(seconds)).await;
                log.borrow_mut().push(seconds);
            });
        }
        sim.run_until_quiet();
        assert!(log.borrow().is_empty());
        sim.advance(Duration::from_secs(2));
        assert_eq!(*log.borrow(), [1, 2]);
        let before = Env::now(&sim);
        sim.block_on(sim.sleep(Duration::from_secs(60)));
        assert_eq!(Env::now(&sim).since(before), Duration::from_secs(60));
        assert_eq!((log.borrow().len(), sim.tasks()), (3, 0));
    }

    #[test]
    fn a_timer_may_be_moved_both_ways_and_forgotten() {
        let sim = Sim::new(1);
        let start = Env::now(&sim);
        let mut timer = Env::timer(&sim);
        timer.set_after(Duration::from_secs(5));
        let mut polled = false;
        sim.block_on(std::future::poll_fn(|cx| {
            if !std::mem::replace(&mut polled, true) {
                assert!(timer.poll_expired(cx).is_pending());
                timer.set_after(Duration::from_secs(1));
            }
            timer.poll_expired(cx)
        }));
        assert_eq!(Env::now(&sim).since(start), Duration::from_secs(1));
        timer.set_after(Duration::from_secs(1));
        timer.clear();
        drop(timer);
        sim.advance(Duration::from_secs(9));
    }

    #[test]
    #[should_panic(expected = "stuck")]
    fn waiting_for_nothing_is_reported() {
        Sim::new(1).block_on(std::future::pending::<()>());
    }
}
