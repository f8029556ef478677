//! The connections of one host for requests.
//!
//! Idle connections are used newest first, so that a falling load lets the others reach their idle timeout. Requests
//! that find none wait in order, each for at most the connect timeout. Connecting is a task of its own: a request
//! that is cancelled meanwhile leaves a connection to the next one, or to the idle list.

mod attempt;
mod bell;
pub(crate) mod bound;
mod janitor;
mod lease;
mod members;
mod waiter;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

pub use lease::Lease;

use crate::host::{Active, Host, Settings, count};
use crate::{AcquireError, Breaker, CloseCause, Permit};
use bell::Bell;
use members::{Member, Members};
use waiter::Waiter;

/// Whether a request may use a connection that has been idle.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reuse {
    /// Any connection with room.
    #[default]
    Allowed,
    /// Only a connection that is made from now on: for the repetition of a request whose idle connection turned out
    /// to be closed.
    Fresh,
}

/// The part of a [`Host`] that its connections live in; takes no memory for lists before the first one.
#[derive(Default)]
pub(crate) struct Pool {
    state: RefCell<State>,
    /// Set while a janitor runs.
    bell: RefCell<Option<Arc<Bell>>>,
    /// Whether the janitor's timer is set, or the janitor is about to set it.
    timed: Cell<bool>,
    connecting: Cell<usize>,
    era: Cell<u32>,
    retired: Cell<bool>,
}

#[derive(Default)]
struct State {
    members: Members,
    waiters: VecDeque<Rc<Waiter>>,
}

// === impl Pool ===

impl Pool {
    /// How many connections there are, and how many of them are idle.
    pub(crate) fn census(&self) -> (usize, usize) {
        let state = self.state.borrow();
        (state.members.len(), state.members.iter().filter(|member| member.is_idle()).count())
    }

    /// Has the janitor look at its timer again.
    pub(crate) fn reconsider(&self) {
        self.timed.set(true);
        if let Some(bell) = &*self.bell.borrow() {
            bell.call();
        }
    }

    /// Takes a lease's share of a connection that has been idle; the caller makes the lease.
    fn take_ready(&self) -> Option<Rc<Member>> {
        loop {
            let mut state = self.state.borrow_mut();
            let member = Rc::clone(state.members.newest()?);
            let room = member.room();
            if room <= 1 {
                state.members.unlist(member.slot);
            }
            drop(state);
            // If it woke and the janitor has not run yet, it may just have been closed by its peer.
            if room > 0 && !(member.knocked() && member.is_idle() && !member.watch()) {
                return Some(member);
            }
            if member.is_idle() {
                self.close(member, CloseCause::PeerClosed);
            }
        }
    }

    /// Closes a connection that no lease holds.
    fn close(&self, member: Rc<Member>, cause: CloseCause) {
        debug_assert!(member.is_idle());
        let removed = self.state.borrow_mut().members.remove(member.slot);
        debug_assert!(removed.is_some_and(|removed| Rc::ptr_eq(&removed, &member)));
        member.close(cause);
    }

    /// Why a connection must not be used any more, if so.
    fn unfit(&self, member: &Member) -> Option<CloseCause> {
        if self.retired.get() || member.era != self.era.get() {
            Some(CloseCause::Drained)
        } else if member.spent.get() {
            Some(CloseCause::MaxRequests)
        } else if member.room() == 0 {
            Some(CloseCause::Spent)
        } else {
            None
        }
    }

    fn is_awaited(&self) -> bool {
        !self.state.borrow().waiters.is_empty()
    }

    /// The first request in line; the first that takes a used connection, if `used`.
    fn next_waiter(&self, used: bool) -> Option<Rc<Waiter>> {
        let waiters = &mut self.state.borrow_mut().waiters;
        let at = waiters.iter().position(|waiter| !used || waiter.reuse == Reuse::Allowed)?;
        waiters.remove(at)
    }

    /// Closes idle connections, oldest first, and those in use when they come back.
    fn end_era(&self) {
        self.era.set(self.era.get().wrapping_add(1));
        loop {
            let Some(idle) = self.state.borrow().members.oldest_idle().cloned() else { break };
            self.close(idle, CloseCause::Drained);
        }
        let members: Vec<_> = self.state.borrow().members.iter().map(|member| member.slot).collect();
        members.into_iter().for_each(|slot| self.state.borrow_mut().members.unlist(slot));
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for member in self.state.get_mut().members.iter() {
            member.close(CloseCause::Drained);
        }
        if let Some(bell) = self.bell.get_mut() {
            bell.call();
        }
    }
}

// === impl Host ===

impl Host {
    /// A connection for one request: at once when one has room, or else after waiting in line.
    pub(crate) async fn acquire(self: &Rc<Self>, reuse: Reuse) -> Result<Lease, AcquireError> {
        if reuse == Reuse::Allowed
            && let Some(outcome) = self.checkout()
        {
            return outcome;
        }
        // Boxed, so that waiting, which is rare, adds nothing to the future of every request.
        Box::pin(waiter::wait(self, self.settings(), reuse)).await
    }

    /// The way of nearly every request: no allocation, no wait.
    fn checkout(self: &Rc<Self>) -> Option<Result<Lease, AcquireError>> {
        let settings = self.settings.borrow();
        let Some(permit) = self.permit_request() else {
            settings.events.pending_overflow();
            return Some(Err(AcquireError::Overflow(Breaker::Requests)));
        };
        let member = self.pool.take_ready()?;
        Some(Ok(self.lease(&settings, member, Active::begin(self), permit, true)))
    }

    /// The host is no member any more: closes what is idle now and the rest when it comes back.
    pub(crate) fn retire(&self) {
        self.pool.retired.set(true);
        self.pool.end_era();
        self.drain_bound();
    }

    /// No connection of before is to be used again.
    pub(crate) fn renew(&self) {
        self.pool.end_era();
        self.drain_bound();
    }

    fn lease(&self, settings: &Settings, member: Rc<Member>, active: Active, permit: Permit, reused: bool) -> Lease {
        member.leases.set(member.leases.get() + 1);
        member.reserved.set(member.reserved.get() + 1);
        member.served.set(member.served.get().saturating_add(1));
        if settings.max_requests_per_connection.is_some_and(|most| member.served.get() >= most.get()) {
            member.spent.set(true);
            self.pool.state.borrow_mut().members.unlist(member.slot);
        }
        count(&self.counts.requests);
        settings.events.request_begun();
        Lease::new(member, active, permit, reused)
    }

    /// A lease that held `member` has ended.
    fn give_back(self: &Rc<Self>, member: &Rc<Member>) {
        let settings = self.settings.borrow();
        settings.events.request_ended();
        if member.bound.is_some() {
            drop(settings);
            return self.settle_bound(member);
        }
        match self.pool.unfit(member) {
            None => self.offer(member, &settings, true),
            Some(cause) => self.let_go(member, cause),
        }
    }

    /// Gives the connection's room to those who wait, and lists it when some is left.
    fn offer(self: &Rc<Self>, member: &Rc<Member>, settings: &Settings, used: bool) {
        if member.is_idle() && !member.watch() {
            return self.let_go(member, CloseCause::PeerClosed);
        }
        let awaited = self.pool.is_awaited();
        if awaited {
            self.serve_waiters(member, settings, used);
        }
        if (awaited || !used)
            && let Some(cause) = self.pool.unfit(member)
        {
            return self.let_go(member, cause);
        }
        member.idle_since.set(settings.env.now());
        self.pool.state.borrow_mut().members.list(member.slot);
        if !self.pool.timed.get() && settings.idle_timeout.is_some() {
            self.pool.reconsider();
        }
        if awaited {
            // Those left insist on a fresh connection, and this one may be in its way.
            self.open_for_waiters();
        }
    }

    fn serve_waiters(&self, member: &Rc<Member>, settings: &Settings, used: bool) {
        while member.room() > 0 {
            let Some(waiter) = self.pool.next_waiter(used) else { break };
            let Some(permit) = self.permit_request() else {
                settings.events.pending_overflow();
                waiter.end(Err(AcquireError::Overflow(Breaker::Requests)));
                continue;
            };
            if let Some(active) = waiter.active.take() {
                waiter.end(Ok(self.lease(settings, Rc::clone(member), active, permit, used)));
            }
        }
    }

    /// Closes the connection unless others use it still; the last of them will.
    fn let_go(self: &Rc<Self>, member: &Rc<Member>, cause: CloseCause) {
        if member.is_idle() {
            self.pool.close(Rc::clone(member), cause);
            self.open_for_waiters();
        }
    }

    /// Opens connections until there is one under way for each request that waits. True when the limit on
    /// connections was in the way.
    fn open_for_waiters(self: &Rc<Self>) -> bool {
        loop {
            let settings = self.settings();
            let (waiting, open) = {
                let state = self.pool.state.borrow();
                (state.waiters.len(), state.members.len())
            };
            let connecting = self.pool.connecting.get();
            if waiting <= connecting.saturating_mul(settings.expected_slots.get() as usize) {
                return false;
            }
            let permit = self.permit_connection();
            if permit.is_none() {
                // Only requests that insist on a fresh connection wait while another is idle.
                let idle = self.pool.state.borrow().members.oldest_idle().cloned();
                if let Some(idle) = idle {
                    self.pool.close(idle, CloseCause::MadeRoom);
                    continue;
                }
                if open + connecting > 0 {
                    return true;
                }
            }
            attempt::start(self, &settings, permit);
        }
    }
}
