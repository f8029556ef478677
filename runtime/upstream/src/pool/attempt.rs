//! A connection on its way.

use std::rc::Rc;

use ringway_api::{Blame, ConnError, ConnectError, Time};

use super::bell::Knock;
use super::members::Member;
use super::{Host, Permit, janitor};
use crate::AcquireError;
use crate::dial::{DialError, Dialed};
use crate::host::Settings;

/// Connects in a task of its own. `permit` is missing only for a host's first connection past the limit.
pub(super) fn start(host: &Rc<Host>, settings: &Settings, permit: Option<Permit>) {
    host.pool.connecting.set(host.pool.connecting.get() + 1);
    let mut attempt =
        Attempt { host: Rc::clone(host), permit, era: host.pool.era.get(), began: settings.env.now(), ended: false };
    let dialing = settings.dial.dial(host.reach(), settings.connect_timeout);
    settings.env.spawn(Box::pin(async move {
        match dialing.await {
            Ok(dialed) => attempt.succeed(dialed),
            Err(error) => attempt.fail(error),
        }
    }));
}

struct Attempt {
    host: Rc<Host>,
    permit: Option<Permit>,
    era: u32,
    began: Time,
    ended: bool,
}

impl Attempt {
    fn succeed(&mut self, dialed: Dialed) {
        self.end();
        let (host, settings) = (&self.host, self.host.settings());
        host.connected();
        settings.events.connection_opened(settings.env.now().since(self.began));
        let bell = janitor::bell(host, &settings);
        let member = host.pool.state.borrow_mut().members.insert(|slot| {
            let knock = Knock::new(slot, &bell);
            let events = Rc::clone(&settings.events);
            Member::new(dialed.conn, dialed.cx, knock, self.era, events, self.permit.take())
        });
        host.offer(&member, &settings, false);
        // A connection that was of no use, or took fewer requests than expected, leaves some waiting.
        host.open_for_waiters();
    }

    fn fail(&mut self, error: DialError) {
        self.end();
        // Freed first: the next attempt may need it.
        drop(self.permit.take());
        let settings = self.host.settings();
        self.host.connect_failed();
        match error {
            DialError::Connect(ConnectError::Timeout) => settings.events.connect_timed_out(),
            _ => settings.events.connect_failed(),
        }
        self.fail_one(&settings, error);
        self.host.open_for_waiters();
    }

    /// One failed attempt fails one request: the others have attempts of their own, or get one now.
    fn fail_one(&self, settings: &Settings, error: DialError) {
        let Some(waiter) = self.host.pool.next_waiter(false) else { return };
        let host = self.host.address().clone();
        settings.events.pending_failed();
        waiter.end(Err(match error {
            DialError::Connect(cause) => AcquireError::Connect { host, cause },
            DialError::Handshake(cause) => AcquireError::Handshake { host, cause },
        }));
    }

    fn end(&mut self) {
        self.ended = true;
        self.host.pool.connecting.set(self.host.pool.connecting.get().saturating_sub(1));
    }
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if !self.ended {
            // The task was dropped or panicked. Nothing is spawned from here: the worker may be ending.
            self.end();
            let settings = self.host.settings();
            self.host.connect_failed();
            settings.events.connect_failed();
            self.fail_one(&settings, DialError::Handshake(ConnError::new(Blame::Local, "connect_aborted")));
        }
    }
}
