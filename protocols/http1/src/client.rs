//! The client side: one exchange after the other on a connection to an upstream.

mod exchange;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use ringway_api::{ConnCx, Exchange, Io, Request, UpstreamConn};

use self::exchange::Http1Exchange;
use crate::options::Http1Options;

/// An upstream connection. It carries one exchange at a time.
pub struct Client<I: Io>(Rc<Link<I>>);

/// What a connection and its exchange share.
struct Link<I> {
    io: RefCell<I>,
    state: Cell<State>,
    /// Exchanges have been carried before.
    used: Cell<bool>,
    draining: Cell<bool>,
    options: Arc<Http1Options>,
    conn: Rc<ConnCx>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Idle,
    Busy,
    Closed,
}

impl<I: Io> Client<I> {
    pub(crate) fn new(options: Arc<Http1Options>, io: I, conn: Rc<ConnCx>) -> Self {
        Self(Rc::new(Link {
            io: RefCell::new(io),
            state: Cell::new(State::Idle),
            used: Cell::new(false),
            draining: Cell::new(false),
            options,
            conn,
        }))
    }
}

impl<I: Io> UpstreamConn for Client<I> {
    fn free_slots(&self) -> usize {
        usize::from(self.0.state.get() == State::Idle && !self.0.is_draining())
    }

    fn open(&self, request: Request) -> Box<dyn Exchange> {
        debug_assert_eq!(self.0.state.get(), State::Idle, "the caller makes sure of a free slot");
        self.0.state.set(State::Busy);
        Box::new(Http1Exchange::new(&self.0, request))
    }

    fn poll_idle(&self, cx: &mut Context<'_>) -> Poll<()> {
        let link = &*self.0;
        if link.state.get() != State::Closed && !link.is_draining() {
            link.conn.watch(cx);
            // The end, an error, or bytes that answer nothing: whichever it is, nothing more can be asked here.
            if link.io.borrow_mut().poll_recv(cx).is_pending() {
                return Poll::Pending;
            }
        }
        link.state.set(State::Closed);
        Poll::Ready(())
    }

    fn drain(&self) {
        self.0.draining.set(true);
    }
}

impl<I> Link<I> {
    fn is_draining(&self) -> bool {
        self.draining.get() || self.conn.is_draining()
    }
}

impl<I: Io> fmt::Debug for Client<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({:?}, {:?})", self.0.conn.info, self.0.state.get())
    }
}
