//! What a worker lends to everything that runs on it: time, timers, tasks, connections.

use std::fmt;
use std::future::Future;
use std::io;
use std::ops::{Add, Sub};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use crate::Address;

/// A boxed future that stays on its worker.
pub type LocalBoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// A point of monotonic time: nanoseconds since an origin that all workers of a process share; only differences mean
/// something. Workers look at their clocks at different moments: a time of another worker may lie ahead.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub u64);

impl Time {
    /// The time that has passed since `earlier`; zero when it is later.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.0.saturating_sub(earlier.0))
    }
}

impl Add<Duration> for Time {
    type Output = Self;

    fn add(self, span: Duration) -> Self {
        Self(self.0.saturating_add(u64::try_from(span.as_nanos()).unwrap_or(u64::MAX)))
    }
}

impl Sub for Time {
    type Output = Duration;

    fn sub(self, earlier: Self) -> Duration {
        self.since(earlier)
    }
}

/// A worker's services. Declared here, implemented by the engine and by the fake clock of the test kit.
pub trait Env {
    /// The time at the start of this turn of the worker's loop. Costs nothing; a turn takes microseconds.
    fn now(&self) -> Time;

    /// The wall clock, for logs. Costs a few tens of nanoseconds.
    fn wall(&self) -> SystemTime;

    /// A timer that is not set.
    fn timer(&self) -> Timer;

    /// Runs a task on this worker. A panic ends the task, not the worker.
    fn spawn(&self, task: LocalBoxFuture<'static, ()>);

    /// Random bits; not for secrets.
    fn random(&self) -> u64;
}

/// Opens connections of the engine's stream type.
pub trait Connect<I> {
    /// Connects to the first of `to` that answers: addresses of different families race (RFC 8305), each attempt
    /// starts when the one before has failed or a short time has passed, all end after `timeout`.
    fn connect(&self, to: &[Address], timeout: Duration) -> LocalBoxFuture<'static, Result<I, ConnectError>>;
}

/// Why no connection came about.
#[derive(Debug)]
pub enum ConnectError {
    /// None of the attempts ended in time.
    Timeout,
    /// Every attempt failed; this is the last error.
    Failed(io::Error),
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("connection timeout"),
            Self::Failed(error) => write!(f, "connection failure: {error}"),
        }
    }
}

impl std::error::Error for ConnectError {}

/// One deadline that may be moved at no cost: moving it later only notes the new time, and the wheel looks again
/// when the old one comes.
pub struct Timer {
    driver: Box<dyn TimerDriver>,
    /// [`NEVER`] when none is set.
    deadline: Time,
}

/// Later than every deadline.
const NEVER: Time = Time(u64::MAX);

/// The part of a [`Timer`] that the engine implements.
pub trait TimerDriver {
    /// The current time of the worker.
    fn now(&self) -> Time;

    /// Wakes the task behind `cx` at `at`, at the latest one tick after; replaces what was asked before.
    fn wake_at(&mut self, at: Time, cx: &mut Context<'_>);
}

impl Timer {
    /// A timer over an engine's driver, not set.
    pub fn new(driver: Box<dyn TimerDriver>) -> Self {
        Self { driver, deadline: NEVER }
    }

    /// Sets the deadline; the latest of all times is never.
    pub fn set(&mut self, at: Time) {
        self.deadline = at;
    }

    /// Sets the deadline to `span` from now.
    pub fn set_after(&mut self, span: Duration) {
        self.deadline = self.driver.now() + span;
    }

    /// Sets or clears the deadline: `None` never expires.
    pub fn set_limit(&mut self, span: Option<Duration>) {
        match span {
            Some(span) => self.set_after(span),
            None => self.clear(),
        }
    }

    /// Forgets the deadline; a wake-up that was asked for may still come and is ignored.
    pub fn clear(&mut self) {
        self.deadline = NEVER;
    }

    /// The deadline, if one is set.
    pub fn deadline(&self) -> Option<Time> {
        Some(self.deadline).filter(|at| *at != NEVER)
    }

    /// Ready once the deadline has passed, and until it is moved. Pending for ever while none is set.
    pub fn poll_expired(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = self.deadline() else { return Poll::Pending };
        if self.driver.now() >= at {
            return Poll::Ready(());
        }
        self.driver.wake_at(at, cx);
        Poll::Pending
    }

    /// Waits for the deadline.
    pub async fn expired(&mut self) {
        std::future::poll_fn(|cx| self.poll_expired(cx)).await;
    }
}
