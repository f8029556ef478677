//! What happens on a connection when nothing happens.

use std::task::{Context, Poll};
use std::time::Duration;

use ringway_api::{Time, Timer};

use crate::RpcOptions;
use crate::heartbeat::{Due, Heartbeat};

/// Watches a connection's progress.
pub(crate) struct Pulse {
    timer: Timer,
    heartbeat: Heartbeat,
    idle: Option<Duration>,
    stall: Option<Duration>,
    /// Bytes received and sent when it was looked at last, and since when they have not changed.
    received: u64,
    taken: u64,
    moved: Time,
    used: Time,
    /// The transport did not take all there was then.
    backed_up: bool,
}

/// How a connection is, as its loop sees it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vitals {
    /// Bytes received so far.
    pub(crate) received: u64,
    /// Bytes that the transport has taken so far.
    pub(crate) taken: u64,
    /// A frame has begun and does not end, or bytes wait to be sent.
    pub(crate) stuck: bool,
    /// The transport has not taken all there was to be sent.
    pub(crate) backed_up: bool,
    /// No heartbeat can be sent, in the middle of a frame; or none is read, while others take what was read before.
    pub(crate) excused: bool,
    /// Calls are under way.
    pub(crate) busy: bool,
}

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tick {
    /// Send a heartbeat, and say so.
    Beat,
    /// The peer does not answer heartbeats.
    Dead,
    /// The peer has stopped in the middle of a frame.
    Stalled,
    /// There has been no call for long.
    Idle,
}

impl Pulse {
    pub(crate) fn new(options: &RpcOptions, timer: Timer, idle: Option<Duration>, now: Time) -> Self {
        Self {
            timer,
            heartbeat: Heartbeat::new(options.heartbeat_interval.limit(), options.heartbeat_misses, now),
            idle,
            stall: options.stream_idle_timeout.limit(),
            received: 0,
            taken: 0,
            moved: now,
            used: now,
            backed_up: false,
        }
    }

    /// A heartbeat was sent, if the protocol has one.
    pub(crate) fn beaten(&mut self, now: Time, exists: bool) {
        self.heartbeat.sent(now, exists);
    }

    /// What is due now; `None` after the task behind `cx` will be woken for what comes next.
    pub(crate) fn poll(&mut self, now: Time, vitals: Vitals, cx: &mut Context<'_>) -> Option<Tick> {
        // Whoever takes what waits for it is there.
        let takes = self.backed_up && self.taken != vitals.taken;
        if self.received != vitals.received || vitals.excused || takes {
            self.heartbeat.heard(now);
        }
        self.backed_up = vitals.backed_up;
        if (self.received, self.taken) != (vitals.received, vitals.taken) || !vitals.stuck {
            (self.received, self.taken, self.moved) = (vitals.received, vitals.taken, now);
        }
        if vitals.busy {
            self.used = now;
        }
        let stalled = self.stall.filter(|_| vitals.stuck).map(|stall| self.moved + stall);
        let idle = self.idle.filter(|_| !vitals.busy).map(|idle| self.used + idle);
        let beat = match self.heartbeat.due(now) {
            Due::Beat => return Some(Tick::Beat),
            Due::Dead => return Some(Tick::Dead),
            Due::Never => None,
            Due::At(at) => Some(at),
        };
        if stalled.is_some_and(|at| now >= at) {
            return Some(Tick::Stalled);
        }
        if idle.is_some_and(|at| now >= at) {
            return Some(Tick::Idle);
        }
        match beat.into_iter().chain(stalled).chain(idle).min() {
            Some(at) => self.timer.set(at),
            None => self.timer.clear(),
        }
        if let Poll::Ready(()) = self.timer.poll_expired(cx) {
            cx.waker().wake_by_ref();
        }
        None
    }

    /// Waits for `span` instead of all that, from the first call on.
    pub(crate) fn poll_after(
        &mut self,
        begun: &mut Option<Time>,
        span: Duration,
        now: Time,
        cx: &mut Context<'_>,
    ) -> Poll<()> {
        let begun = *begun.get_or_insert(now);
        self.timer.set(begun + span);
        self.timer.poll_expired(cx)
    }
}
