//! A network of one kind of stream, and connections whose peer the test plays.

use std::cell::{Cell, RefCell};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ringway_api::{
    Address, Body, BodyError, BodyStart, BodyStream, Connect, ConnectError, Env, Exchange, ExchangeError,
    ExchangeEvent, Frame, LocalBoxFuture, Request, ResponseHead, Timer, UpstreamConn,
};

/// What happens to an attempt to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Connected at the first poll.
    Accept,
    /// Waits for [`Net::settle_one`] or its timeout.
    Hold,
    /// Refused at the first poll.
    Refuse,
}

pub(crate) struct Net {
    env: Rc<dyn Env>,
    pub(crate) mode: Cell<Mode>,
    /// How many exchanges a connection takes at once.
    pub(crate) slots: Cell<usize>,
    pub(crate) attempts: Cell<usize>,
    pub(crate) open: Rc<Cell<usize>>,
    held: RefCell<Vec<Rc<Held>>>,
    conns: RefCell<Vec<Rc<ConnState>>>,
}

#[derive(Default)]
struct Held {
    verdict: Cell<Option<bool>>,
    waker: RefCell<Option<Waker>>,
}

/// An open stream.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) to: Address,
    open: Rc<Cell<usize>>,
}

pub(crate) struct ConnState {
    pub(crate) closed: Cell<bool>,
    pub(crate) draining: Cell<bool>,
    pub(crate) served: Cell<usize>,
    pub(crate) idle_polls: Cell<usize>,
    slots: usize,
    used: Cell<usize>,
    waker: RefCell<Option<Waker>>,
}

pub(crate) struct Conn {
    state: Rc<ConnState>,
    _stream: Stream,
}

struct FakeExchange {
    conn: Rc<ConnState>,
    complete: bool,
}

// === impl Net ===

impl Net {
    pub(crate) fn new(env: Rc<dyn Env>) -> Rc<Self> {
        Rc::new(Self {
            env,
            mode: Cell::new(Mode::Accept),
            slots: Cell::new(1),
            attempts: Cell::new(0),
            open: Rc::default(),
            held: RefCell::default(),
            conns: RefCell::default(),
        })
    }

    /// Settles the oldest attempt that is held.
    pub(crate) fn settle_one(&self, accept: bool) {
        let held = self.held.borrow_mut().remove(0);
        held.verdict.set(Some(accept));
        if let Some(waker) = held.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    pub(crate) fn held(&self) -> usize {
        self.held.borrow().len()
    }

    /// The connections made so far, in order.
    pub(crate) fn conn(&self, index: usize) -> Rc<ConnState> {
        Rc::clone(&self.conns.borrow()[index])
    }

    pub(crate) fn conns(&self) -> Vec<Rc<ConnState>> {
        self.conns.borrow().clone()
    }

    /// The factory's part: a connection over a stream.
    pub(crate) fn conn_over(&self, stream: Stream) -> Rc<dyn UpstreamConn> {
        let state = Rc::new(ConnState {
            closed: Cell::new(false),
            draining: Cell::new(false),
            served: Cell::new(0),
            idle_polls: Cell::new(0),
            slots: self.slots.get(),
            used: Cell::new(0),
            waker: RefCell::default(),
        });
        self.conns.borrow_mut().push(Rc::clone(&state));
        Rc::new(Conn { state, _stream: stream })
    }
}

/// The connector of a [`Net`].
pub(crate) struct Connector(pub(crate) Rc<Net>);

impl Connect<Stream> for Connector {
    fn connect(&self, to: &[Address], timeout: Duration) -> LocalBoxFuture<'static, Result<Stream, ConnectError>> {
        let net = Rc::clone(&self.0);
        let to = to[0].clone();
        let mut timer = net.env.timer();
        timer.set_after(timeout);
        net.attempts.set(net.attempts.get() + 1);
        let attempt = match net.mode.get() {
            Mode::Accept => Attempt::Settled(true),
            Mode::Refuse => Attempt::Settled(false),
            Mode::Hold => {
                let held = Rc::new(Held::default());
                net.held.borrow_mut().push(Rc::clone(&held));
                Attempt::Held(held)
            }
        };
        Box::pin(Connecting { net, to, timer, attempt })
    }
}

enum Attempt {
    Settled(bool),
    Held(Rc<Held>),
}

struct Connecting {
    net: Rc<Net>,
    to: Address,
    timer: Timer,
    attempt: Attempt,
}

impl Future for Connecting {
    type Output = Result<Stream, ConnectError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let verdict = match &self.attempt {
            Attempt::Settled(accept) => Some(*accept),
            Attempt::Held(held) => {
                *held.waker.borrow_mut() = Some(cx.waker().clone());
                held.verdict.get()
            }
        };
        match verdict {
            Some(true) => {
                self.net.open.set(self.net.open.get() + 1);
                Poll::Ready(Ok(Stream { to: self.to.clone(), open: Rc::clone(&self.net.open) }))
            }
            Some(false) => Poll::Ready(Err(ConnectError::Failed(io::ErrorKind::ConnectionRefused.into()))),
            None => self.timer.poll_expired(cx).map(|()| Err(ConnectError::Timeout)),
        }
    }
}

impl Drop for Connecting {
    fn drop(&mut self) {
        if let Attempt::Held(held) = &self.attempt {
            self.net.held.borrow_mut().retain(|other| !Rc::ptr_eq(other, held));
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.open.set(self.open.get() - 1);
    }
}

// === impl Conn ===

impl ConnState {
    /// The peer closes.
    pub(crate) fn close(&self) {
        self.closed.set(true);
        self.wake();
    }

    /// Wakes whoever watches, for nothing.
    pub(crate) fn wake(&self) {
        let waker = self.waker.borrow_mut().take();
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    pub(crate) fn used(&self) -> usize {
        self.used.get()
    }
}

impl UpstreamConn for Conn {
    fn free_slots(&self) -> usize {
        let state = &self.state;
        // As a real one: a close is noticed when the transport is polled, not before.
        if state.draining.get() { 0 } else { state.slots - state.used.get() }
    }

    fn open(&self, _: Request) -> Box<dyn Exchange> {
        let state = Rc::clone(&self.state);
        assert!(state.used.get() < state.slots, "opened without room");
        state.used.set(state.used.get() + 1);
        state.served.set(state.served.get() + 1);
        Box::new(FakeExchange { conn: state, complete: false })
    }

    fn poll_idle(&self, cx: &mut Context<'_>) -> Poll<()> {
        assert_eq!(self.state.used.get(), 0, "polled idle while in use");
        self.state.idle_polls.set(self.state.idle_polls.get() + 1);
        if self.state.closed.get() {
            return Poll::Ready(());
        }
        *self.state.waker.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }

    fn drain(&self) {
        self.state.draining.set(true);
    }
}

impl Exchange for FakeExchange {
    fn poll_head(&mut self, _: &mut Context<'_>) -> Poll<Result<ExchangeEvent, ExchangeError>> {
        self.complete = true;
        Poll::Ready(Ok(ExchangeEvent::Final(ResponseHead::default(), BodyStart::Complete(Body::Empty))))
    }
}

impl BodyStream for FakeExchange {
    fn poll_frame(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        Poll::Ready(None)
    }

    fn remaining(&self) -> Option<u64> {
        Some(0)
    }
}

impl Drop for FakeExchange {
    fn drop(&mut self) {
        self.conn.used.set(self.conn.used.get() - 1);
        if !self.complete {
            // Cut off in the middle: the connection is of no more use.
            self.conn.draining.set(true);
        }
    }
}
