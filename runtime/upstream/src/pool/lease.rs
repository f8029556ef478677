//! A connection in use by one request.

use std::fmt;
use std::rc::Rc;

use ringway_api::{ConnCx, Exchange, Request};

use super::members::Member;
use crate::host::Active;
use crate::{Host, Permit};

/// The right to one exchange on a connection. Dropping it gives the connection back to the pool if it takes more.
///
/// Drop it after the exchange: while one is under way, a connection without multiplexing has no room and would be
/// closed instead of kept. In a struct that holds both, declare the exchange first.
#[must_use = "dropping the lease gives the connection back"]
pub struct Lease {
    member: Rc<Member>,
    active: Active,
    permit: Permit,
    opened: bool,
    reused: bool,
}

impl Lease {
    pub(super) fn new(member: Rc<Member>, active: Active, permit: Permit, reused: bool) -> Self {
        Self { member, active, permit, opened: false, reused }
    }

    /// Begins the exchange. A lease is good for one.
    pub fn open(&mut self, request: Request) -> Box<dyn Exchange> {
        debug_assert!(!self.opened, "a lease is good for one exchange");
        self.release_reservation();
        self.member.conn.open(request)
    }

    /// Whether the connection had carried a request or been idle before, so that its peer may have closed it
    /// meanwhile.
    pub fn is_reused(&self) -> bool {
        self.reused
    }

    /// The host.
    pub fn host(&self) -> &Rc<Host> {
        self.active.host()
    }

    /// The context of the connection.
    pub fn conn(&self) -> &Rc<ConnCx> {
        &self.member.cx
    }

    fn release_reservation(&mut self) {
        if !std::mem::replace(&mut self.opened, true) {
            self.member.reserved.set(self.member.reserved.get().saturating_sub(1));
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.release_reservation();
        self.member.leases.set(self.member.leases.get().saturating_sub(1));
        self.active.host().give_back(&self.member);
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lease")
            .field("conn", &self.member.cx.info)
            .field("reused", &self.reused)
            .field("limit", &self.permit)
            .finish_non_exhaustive()
    }
}
