//! Connections that belong to one downstream connection each.
//!
//! The first request of a downstream connection to a cluster picks a host and connects; all further ones go to that
//! connection, whatever balancer, health or policy would say now. Nobody else uses it, and it ends with its owner. When
//! it ends first, its owner is asked to end too: what the host knew of the connection is lost, and going on with
//! another one would hide that.

use std::cell::RefCell;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Poll, Waker};

use ringway_api::{ConnCx, ConnError, ConnectError};

use super::bell::Knock;
use super::members::Member;
use super::{Lease, janitor};
use crate::dial::DialError;
use crate::host::{Active, Host, Settings};
use crate::{AcquireError, Breaker, CloseCause, Permit};

/// What a downstream connection has to itself: at most one connection for each cluster that is bound. Kept by its
/// [`ConnCx`].
#[derive(Default)]
struct Bindings(RefCell<Vec<(Arc<str>, Rc<Binding>)>>);

/// A downstream connection's own connection to a cluster.
pub(crate) struct Binding {
    host: Rc<Host>,
    owner: Weak<ConnCx>,
    state: RefCell<State>,
    wakers: RefCell<Vec<Waker>>,
}

enum State {
    Connecting,
    Open(Rc<Member>),
    Failed(DialError),
    Ended,
}

/// The host that `owner` is bound to in the cluster `name`.
pub(crate) fn host(owner: &ConnCx, name: &str) -> Option<Rc<Host>> {
    Some(Rc::clone(&find(owner, name)?.host))
}

/// The owner's own connection for one request, made if there is none; otherwise the request waits, for at most the
/// pending timeout.
pub(crate) async fn acquire(host: &Rc<Host>, name: &Arc<str>, owner: &Rc<ConnCx>) -> Result<Lease, AcquireError> {
    let binding = match find(owner, name) {
        Some(binding) => binding,
        None => connect(host, name, owner)?,
    };
    if let Some(outcome) = binding.checkout() {
        return outcome;
    }
    // Boxed, so that waiting, which is rare, adds nothing to the future of every request.
    Box::pin(wait(binding)).await
}

async fn wait(binding: Rc<Binding>) -> Result<Lease, AcquireError> {
    let settings = binding.host.settings();
    let Some(permit) = Permit::of(&settings.pending) else {
        settings.events.pending_overflow();
        return Err(AcquireError::Overflow(Breaker::Pending));
    };
    let mut timer = settings.env.timer();
    timer.set_after(settings.pending_timeout);
    settings.events.pending_begun();
    let mut pending = Pending { settings, ended: false, _permit: permit };
    let outcome = std::future::poll_fn(|cx| {
        if let Some(outcome) = binding.checkout() {
            return Poll::Ready(outcome);
        }
        if timer.poll_expired(cx).is_ready() {
            let host = binding.host.address().clone();
            return Poll::Ready(Err(AcquireError::PendingTimeout { host }));
        }
        let mut wakers = binding.wakers.borrow_mut();
        if !wakers.iter().any(|known| known.will_wake(cx.waker())) {
            wakers.push(cx.waker().clone());
        }
        Poll::Pending
    })
    .await;
    pending.ended = true;
    if outcome.is_err() {
        pending.settings.events.pending_failed();
    }
    outcome
}

/// A request in line.
struct Pending {
    settings: Rc<Settings>,
    ended: bool,
    _permit: Permit,
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.settings.events.pending_ended();
        if !self.ended {
            self.settings.events.pending_cancelled();
        }
    }
}

fn find(owner: &ConnCx, name: &str) -> Option<Rc<Binding>> {
    let bindings = owner.attachment(Bindings::default)?.0.borrow();
    bindings.iter().find(|(known, _)| **known == *name).map(|(_, binding)| Rc::clone(binding))
}

/// Begins to connect, in a task of its own: a request that is cancelled meanwhile leaves the connection to the next.
fn connect(host: &Rc<Host>, name: &Arc<str>, owner: &Rc<ConnCx>) -> Result<Rc<Binding>, AcquireError> {
    let settings = host.settings();
    let Some(permit) = host.permit_connection() else {
        settings.events.connection_overflow();
        return Err(AcquireError::Overflow(Breaker::Connections));
    };
    let binding = Rc::new(Binding {
        host: Rc::clone(host),
        owner: Rc::downgrade(owner),
        state: RefCell::new(State::Connecting),
        wakers: RefCell::default(),
    });
    if let Some(bindings) = owner.attachment(Bindings::default) {
        bindings.0.borrow_mut().push((Arc::clone(name), Rc::clone(&binding)));
    }
    let (waiting, host, name) = (Rc::downgrade(&binding), Rc::clone(host), Arc::clone(name));
    let dialing = settings.dial.dial(host.reach(), settings.connect_timeout);
    let (began, era) = (settings.env.now(), host.pool.era.get());
    settings.env.clone().spawn(Box::pin(async move {
        let dialed = dialing.await;
        let settings = host.settings();
        let dialed = match dialed {
            Ok(dialed) => dialed,
            Err(error) => {
                drop(permit);
                host.connect_failed();
                match &error {
                    DialError::Connect(ConnectError::Timeout) => settings.events.connect_timed_out(),
                    _ => settings.events.connect_failed(),
                }
                if let Some(binding) = waiting.upgrade() {
                    binding.failed(&name, error);
                }
                return;
            }
        };
        host.connected();
        settings.events.connection_opened(settings.env.now().since(began));
        let bell = janitor::bell(&host, &settings);
        let member = host.pool.state.borrow_mut().members.insert(|slot| {
            let events = Rc::clone(&settings.events);
            let mut member = Member::new(dialed.conn, dialed.cx, Knock::new(slot, &bell), era, events, Some(permit));
            member.bound = Some(Weak::clone(&waiting));
            member
        });
        match waiting.upgrade() {
            // Never listed: nobody else finds it.
            Some(binding) if !host.pool.retired.get() => {
                binding.state.replace(State::Open(Rc::clone(&member)));
                host.settle_bound(&member);
            }
            _ => host.pool.close(member, CloseCause::Released),
        }
    }));
    Ok(binding)
}

impl Binding {
    /// What there is for a request now, if it need not wait.
    fn checkout(&self) -> Option<Result<Lease, AcquireError>> {
        let host = || self.host.address().clone();
        let member = match &*self.state.borrow() {
            State::Open(member) if member.room() > 0 => Rc::clone(member),
            State::Open(_) | State::Connecting => return None,
            State::Failed(error) => return Some(Err(failure(error, &self.host))),
            State::Ended => return Some(Err(AcquireError::BoundEnded { host: host() })),
        };
        let settings = self.host.settings();
        let Some(permit) = self.host.permit_request() else {
            settings.events.pending_overflow();
            return Some(Err(AcquireError::Overflow(Breaker::Requests)));
        };
        // Not "reused": a request that it has lost is not sent again on another connection.
        Some(Ok(self.host.lease(&settings, member, Active::begin(&self.host), permit, false)))
    }

    /// No connection came about: the next request begins anew, with a host of its own choice.
    fn failed(&self, name: &str, error: DialError) {
        self.state.replace(State::Failed(error));
        if let Some(owner) = self.owner.upgrade()
            && let Some(bindings) = owner.attachment(Bindings::default)
        {
            bindings.0.borrow_mut().retain(|(known, binding)| **known != *name || !std::ptr::eq(&**binding, self));
        }
        self.wake();
    }

    /// The connection is closed, or about to be.
    pub(super) fn ended(&self) {
        let before = self.state.replace(State::Ended);
        self.wake();
        if let Some(owner) = self.owner.upgrade() {
            owner.drain();
        }
        // Outside the borrow: it may be the last reference.
        drop(before);
    }

    fn wake(&self) {
        std::mem::take(&mut *self.wakers.borrow_mut()).into_iter().for_each(Waker::wake);
    }
}

impl Drop for Binding {
    fn drop(&mut self) {
        // The owner has gone.
        if let State::Open(member) = self.state.replace(State::Ended) {
            if member.is_idle() {
                self.host.pool.close(member, CloseCause::Released);
            } else {
                member.spent.set(true);
            }
        }
    }
}

impl Host {
    /// The owner of a connection may have requests for it; it is closed if it is of no more use.
    pub(super) fn settle_bound(&self, member: &Rc<Member>) {
        let unfit = || self.pool.unfit(member).or_else(|| (!member.watch()).then_some(CloseCause::PeerClosed));
        if member.is_idle()
            && let Some(cause) = unfit()
        {
            return self.pool.close(Rc::clone(member), cause);
        }
        if let Some(binding) = member.binding() {
            binding.wake();
        }
    }

    /// Has the owners of bound connections end them: the host has left, or is reached in another way now.
    pub(super) fn drain_bound(&self) {
        let owners: Vec<_> = {
            let state = self.pool.state.borrow();
            state.members.iter().filter_map(|member| member.binding()?.owner.upgrade()).collect()
        };
        owners.iter().for_each(|owner| owner.drain());
    }
}

/// What a request is told that waited for a connection that did not come about.
fn failure(error: &DialError, host: &Host) -> AcquireError {
    let host = host.address().clone();
    match error {
        DialError::Connect(ConnectError::Timeout) => AcquireError::Connect { host, cause: ConnectError::Timeout },
        DialError::Connect(ConnectError::Failed(error)) => {
            let cause = ConnectError::Failed(std::io::Error::new(error.kind(), error.to_string()));
            AcquireError::Connect { host, cause }
        }
        DialError::Handshake(error) => {
            AcquireError::Handshake { host, cause: ConnError::new(error.blame, error.details) }
        }
    }
}
