//! The client's side: a task that drives the connection, and exchanges that are calls on it.

mod calls;
mod exchange;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use http::StatusCode;
use ringway_api::{Blame, BodyError, ConnCx, Exchange, ExchangeError, ExchangeErrorKind, Io, Request, UpstreamConn};

use self::calls::{Awaited, Calls};
use self::exchange::RpcExchange;
use crate::feed::{Feed, feed};
use crate::message;
use crate::outbox::Outbox;
use crate::pulse::{Pulse, Tick, Vitals};
use crate::{Asked, CodecError, Event, Kind, Mode, Reader, Received, RpcCodec, RpcOptions};

/// Chunks that are read in one go, before others get their turn.
const BURST: u32 = 16;

/// An upstream connection.
pub struct Client<C>(Rc<Link<C>>);

/// What a connection, its driver and its exchanges share.
struct Link<C> {
    codec: C,
    out: Outbox,
    calls: RefCell<Calls>,
    /// The connection takes no more calls: it has ended, or the peer has said so.
    closed: Cell<bool>,
    draining: Cell<bool>,
    /// Nothing is read, until the consumer of a large answer has taken what there is.
    stalled: Cell<bool>,
    /// There was a call before the first of those under way.
    reused: Cell<bool>,
    /// The first call on an idle connection: the driver is to remember how much the peer had acknowledged.
    mark: Cell<bool>,
    /// Who waits for the end of the connection.
    idle: RefCell<Option<Waker>>,
    options: Arc<RpcOptions>,
    conn: Rc<ConnCx>,
}

/// Makes a connection of a stream.
pub(crate) fn connect<C: RpcCodec, I: Io>(options: Arc<RpcOptions>, io: I, conn: Rc<ConnCx>) -> Client<C> {
    let env = Rc::clone(&conn.env);
    let link = Rc::new(Link {
        codec: C::default(),
        out: Outbox::default(),
        calls: RefCell::new(Calls::new(C::ID_BITS)),
        closed: Cell::new(false),
        draining: Cell::new(false),
        stalled: Cell::new(false),
        reused: Cell::new(false),
        mark: Cell::new(false),
        idle: RefCell::default(),
        options,
        conn,
    });
    let mut driver = Driver {
        io,
        reader: Reader::default(),
        pulse: Pulse::new(&link.options, env.timer(), None, env.now()),
        link: Rc::clone(&link),
        feed: None,
        received: 0,
    };
    env.spawn(Box::pin(async move {
        std::future::poll_fn(|cx| driver.poll(cx)).await;
        driver.end();
    }));
    Client(link)
}

impl<C: RpcCodec> UpstreamConn for Client<C> {
    fn free_slots(&self) -> usize {
        let link = &*self.0;
        // A frame that is being passed on piece by piece would make others wait for its sender, or for its consumer.
        let held = link.out.is_claimed() || link.stalled.get();
        if held || link.closed.get() || link.is_draining() || link.out.is_broken() {
            return 0;
        }
        link.most().saturating_sub(link.calls.borrow().open())
    }

    fn open(&self, request: Request) -> Box<dyn Exchange> {
        Box::new(RpcExchange::new(&self.0, request))
    }

    fn poll_idle(&self, cx: &mut Context<'_>) -> Poll<()> {
        let link = &*self.0;
        if link.closed.get() || link.is_draining() || link.out.is_broken() {
            return Poll::Ready(());
        }
        link.conn.watch(cx);
        *link.idle.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }

    fn drain(&self) {
        self.0.draining.set(true);
        self.0.out.wake();
    }
}

impl<C> Drop for Client<C> {
    fn drop(&mut self) {
        // The pool has let go of it: it ends with its last call.
        self.0.draining.set(true);
        self.0.out.wake();
    }
}

impl<C> fmt::Debug for Client<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({:?}, {} open)", self.0.conn.info, self.0.calls.borrow().open())
    }
}

impl<C> Link<C> {
    fn is_draining(&self) -> bool {
        self.draining.get() || self.conn.is_draining()
    }

    /// No more calls: whoever keeps the connection is told.
    fn close(&self) {
        self.closed.set(true);
        let idle = self.idle.borrow_mut().take();
        if let Some(waker) = idle {
            waker.wake();
        }
    }
}

impl<C: RpcCodec> Link<C> {
    fn most(&self) -> usize {
        match C::MODE {
            Mode::PingPong => 1,
            Mode::Multiplex | Mode::Bound => (self.options.max_concurrent_calls as usize).clamp(1, calls::MOST),
        }
    }
}

/// Reads and sends until the connection ends, or nobody wants it any more.
struct Driver<C: RpcCodec, I: Io> {
    io: I,
    reader: Reader,
    pulse: Pulse,
    link: Rc<Link<C>>,
    /// The body that is being received.
    feed: Option<Feed>,
    received: u64,
}

impl<C: RpcCodec, I: Io> Driver<C, I> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let link = Rc::clone(&self.link);
        if self.read(cx).is_ready() {
            return Poll::Ready(());
        }
        if link.mark.take() {
            self.io.mark_sent();
        }
        let sent = match link.out.poll_send(&mut self.io, cx) {
            Poll::Ready(Ok(())) => true,
            Poll::Ready(Err(_)) => return Poll::Ready(()),
            Poll::Pending => false,
        };
        if link.out.is_broken() {
            self.io.abort();
            return Poll::Ready(());
        }
        let busy = link.calls.borrow().open() > 0;
        if !busy && (link.is_draining() || link.closed.get()) && link.out.waiting() == 0 {
            return Poll::Ready(());
        }
        self.poll_pulse(busy, sent, cx)
    }

    fn poll_pulse(&mut self, busy: bool, sent: bool, cx: &mut Context<'_>) -> Poll<()> {
        let link = &self.link;
        let now = link.conn.env.now();
        loop {
            let vitals = Vitals {
                received: self.received,
                taken: link.out.taken(),
                backed_up: !sent,
                excused: link.out.is_claimed() || link.stalled.get(),
                stuck: link.out.waiting() > 0 || (!self.reader.is_clean() && self.feed.is_none()),
                busy,
            };
            match self.pulse.poll(now, vitals, cx) {
                None => return Poll::Pending,
                Some(Tick::Beat) => {
                    let id = link.calls.borrow_mut().heartbeat_id();
                    let exists = link.out.write_between(|out| link.codec.write_heartbeat(id, out));
                    self.pulse.beaten(now, exists);
                }
                Some(Tick::Dead | Tick::Stalled | Tick::Idle) => {
                    self.io.abort();
                    return Poll::Ready(());
                }
            }
        }
    }

    /// Reads as much as there is; ready at the end.
    fn read(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        for _ in 0..BURST {
            loop {
                let stalled = self.feed.as_ref().is_some_and(|feed| !feed.has_room(cx));
                self.link.stalled.set(stalled);
                if stalled {
                    return Poll::Pending;
                }
                match self.reader.next(&self.link.codec, self.link.options.limits()) {
                    Ok(Some(event)) => self.on_event(event),
                    Ok(None) => break,
                    Err(error) => return self.broken(error),
                }
            }
            match self.io.poll_recv(cx) {
                Poll::Ready(Ok(Some(chunk))) => {
                    self.received += chunk.len() as u64;
                    self.reader.push(chunk);
                }
                Poll::Ready(Ok(None) | Err(_)) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    fn on_event(&mut self, event: Event) {
        match event {
            Event::Frame(received) => self.on_frame(&received),
            Event::Data(chunk) => {
                if let Some(feed) = &self.feed {
                    feed.push(chunk);
                }
            }
            Event::End => {
                if let Some(feed) = self.feed.take() {
                    feed.end();
                }
            }
        }
    }

    fn on_frame(&mut self, received: &Received) {
        let link = Rc::clone(&self.link);
        let frame = received.frame;
        match frame.kind {
            Kind::Response => self.on_response(received),
            Kind::Heartbeat => {
                let to = Asked::new::<C>(frame, &received.block);
                link.out.write_between(|out| link.codec.write_heartbeat_reply(&to, out));
            }
            Kind::HeartbeatReply => {}
            Kind::GoAway => link.close(),
            Kind::OneWay => {}
            Kind::Request if link.codec.is_answer(&frame, &received.block) => self.on_response(received),
            Kind::Request => {
                // Servers that call their clients back are not supported, and are told so.
                let to = Asked::new::<C>(frame, &received.block);
                let status = StatusCode::NOT_IMPLEMENTED;
                link.out.write_between(|out| link.codec.write_error(&to, status, "no callbacks through a proxy", out));
            }
        }
    }

    fn on_response(&mut self, received: &Received) {
        let link = &self.link;
        let id = match C::MODE {
            Mode::PingPong => None,
            Mode::Multiplex | Mode::Bound => Some(received.frame.id),
        };
        // Nobody may wait any more: its call was cancelled.
        let Some(awaited) = link.calls.borrow().find(id) else { return };
        let head = match message::response_head(&link.codec, received) {
            Ok(head) => head,
            Err(error) => return awaited.borrow_mut().fail(protocol_error(error)),
        };
        let content = received.content();
        if received.is_whole() {
            awaited.borrow_mut().complete(head, message::body_of(content));
            return;
        }
        let (feed, body) = feed(received.frame.content_len() as u64);
        if !content.is_empty() {
            feed.push(content);
        }
        self.feed = Some(feed);
        awaited.borrow_mut().stream(head, body);
    }

    fn broken(&mut self, error: CodecError) -> Poll<()> {
        if let Some(feed) = self.feed.take() {
            feed.fail(BodyError::new(Blame::Upstream, error.details));
        }
        // Whoever waits gets to know why.
        for awaited in self.link.calls.borrow().all() {
            awaited.borrow_mut().fail(protocol_error(error));
        }
        self.io.abort();
        Poll::Ready(())
    }

    fn end(&mut self) {
        let link = &self.link;
        link.close();
        if let Some(feed) = self.feed.take() {
            feed.fail(BodyError::new(Blame::Upstream, "incomplete_body"));
        }
        let taken = link.out.taken();
        let unseen = link.reused.get() && self.io.provably_unseen();
        for awaited in link.calls.borrow().all() {
            let unsent = awaited.borrow().start >= taken;
            awaited.borrow_mut().fail(closed(unsent || unseen));
        }
        link.out.close();
    }
}

fn protocol_error(error: CodecError) -> ExchangeError {
    ExchangeError {
        kind: ExchangeErrorKind::Protocol,
        blame: Blame::Upstream,
        details: error.details,
        unseen: false,
        status: None,
    }
}

/// The connection has ended.
fn closed(unseen: bool) -> ExchangeError {
    ExchangeError {
        kind: ExchangeErrorKind::Closed,
        blame: Blame::Upstream,
        details: "connection_termination",
        unseen,
        status: None,
    }
}

/// A call's answer, as far as it has come.
type Answer = Rc<RefCell<Awaited>>;
