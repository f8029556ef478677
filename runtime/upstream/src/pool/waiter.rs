//! A request that waits for a connection.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use ringway_api::ConnectError;

use super::{Lease, Reuse};
use crate::host::{Active, Host, Settings};
use crate::{AcquireError, Breaker, Permit};

/// A place in the line. Ended at most once, by a connection or by a failure.
pub(crate) struct Waiter {
    pub(super) reuse: Reuse,
    /// Moves to the lease.
    pub(super) active: Cell<Option<Active>>,
    outcome: Cell<Option<Result<Lease, AcquireError>>>,
    waker: RefCell<Option<Waker>>,
}

/// Waits in line for a connection, for at most the pending timeout.
pub(super) async fn wait(host: &Rc<Host>, settings: Rc<Settings>, reuse: Reuse) -> Result<Lease, AcquireError> {
    let Some(permit) = Permit::of(&settings.pending) else {
        settings.events.pending_overflow();
        return Err(AcquireError::Overflow(Breaker::Pending));
    };
    let mut timer = settings.env.timer();
    timer.set_after(settings.pending_timeout);
    let place = Place::take(host, settings, permit, reuse);
    if host.open_for_waiters() {
        place.settings.events.connection_overflow();
    }
    std::future::poll_fn(|cx| {
        if let Some(outcome) = place.waiter.outcome.take() {
            return Poll::Ready(outcome);
        }
        if timer.poll_expired(cx).is_ready() {
            place.settings.events.pending_failed();
            place.timed_out.set(true);
            return Poll::Ready(Err(place.timeout()));
        }
        place.waiter.register(cx);
        Poll::Pending
    })
    .await
}

impl Waiter {
    /// Ends the wait; the place in the line is already given up.
    pub(super) fn end(&self, outcome: Result<Lease, AcquireError>) {
        self.outcome.set(Some(outcome));
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    fn register(&self, cx: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        match &*waker {
            Some(known) if known.will_wake(cx.waker()) => {}
            _ => *waker = Some(cx.waker().clone()),
        }
    }
}

/// Keeps the place, gives it up when dropped.
struct Place {
    host: Rc<Host>,
    waiter: Rc<Waiter>,
    settings: Rc<Settings>,
    timed_out: Cell<bool>,
    _permit: Permit,
}

impl Place {
    fn take(host: &Rc<Host>, settings: Rc<Settings>, permit: Permit, reuse: Reuse) -> Self {
        let waiter = Rc::new(Waiter {
            reuse,
            active: Cell::new(Some(Active::begin(host))),
            outcome: Cell::new(None),
            waker: RefCell::new(None),
        });
        host.pool.state.borrow_mut().waiters.push_back(Rc::clone(&waiter));
        settings.events.pending_begun();
        Self { host: Rc::clone(host), waiter, settings, timed_out: Cell::new(false), _permit: permit }
    }

    fn timeout(&self) -> AcquireError {
        let host = self.host.address().clone();
        // A wait that ends before a connection could have come about says nothing about the host.
        let patient = self.settings.pending_timeout >= self.settings.connect_timeout;
        if patient && self.host.pool.connecting.get() > 0 {
            AcquireError::Connect { host, cause: ConnectError::Timeout }
        } else {
            AcquireError::PendingTimeout { host }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.settings.events.pending_ended();
        // From the back: those who came last have the most left to wait, and are cancelled first on the whole.
        let waiters = &mut self.host.pool.state.borrow_mut().waiters;
        if let Some(at) = waiters.iter().rposition(|waiter| Rc::ptr_eq(waiter, &self.waiter)) {
            waiters.remove(at);
            if !self.timed_out.get() {
                self.settings.events.pending_cancelled();
            }
        }
        // A lease that was granted and not taken goes back with the waiter, after this borrow has ended.
    }
}
