//! The server's side: a loop that reads and sends, and a task for each call.

mod call;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ringway_api::{Blame, Body, BodyError, Chunk, ConnCx, ConnError, Handler, Io, LocalReply, Request, StreamCx, Time};

use self::call::{Call, Calls, Ticket};
use crate::feed::{Feed, feed};
use crate::message;
use crate::outbox::Outbox;
use crate::pulse::{Pulse, Tick, Vitals};
use crate::{Asked, CodecError, Decoded, Event, Kind, Mode, Reader, Received, RpcCodec, RpcOptions};

/// After the goodbye, calls that were under way on the wire have this long to arrive.
const GRACE: Duration = Duration::from_millis(500);
/// A connection that is closed while its client may still send is read from for so long, or a reset would take the last
/// answer away from the client.
const LINGER: Duration = Duration::from_secs(1);
/// Chunks that are read in one go, before others get their turn.
const BURST: u32 = 16;

/// What a connection's loop and its calls share.
struct Shared<C> {
    codec: C,
    out: Outbox,
    options: Arc<RpcOptions>,
    conn: Rc<ConnCx>,
    /// The connection has ended: nobody awaits answers.
    closed: Cell<bool>,
    /// The tasks of calls, to be told of that.
    calls: RefCell<Calls>,
}

struct Server<C: RpcCodec, I, H> {
    io: I,
    reader: Reader,
    shared: Rc<Shared<C>>,
    handler: H,
    pulse: Pulse,
    /// The body that is being received.
    feed: Option<Feed>,
    received: u64,
    /// Nothing is read, until there is room for what comes next.
    stalled: bool,
    phase: Phase,
    /// The goodbye has been said.
    goaway: bool,
    since: Option<Time>,
}

enum Phase {
    Open,
    /// The client sends no more.
    Ended,
    /// Nothing more is read; what is there is sent, then the connection ends like this.
    Closing(Option<ConnError>),
    /// Nothing more is sent either: our end is being closed, or is. What the client still sends is dropped.
    Lingering {
        error: Option<ConnError>,
        shut: bool,
    },
}

/// Serves a connection until it ends.
pub(crate) async fn serve<C: RpcCodec, I: Io, H: Handler>(
    options: Arc<RpcOptions>,
    io: I,
    handler: H,
    conn: Rc<ConnCx>,
) -> Result<(), ConnError> {
    let now = conn.env.now();
    let pulse = Pulse::new(&options, conn.env.timer(), options.idle_timeout.limit(), now);
    let shared = Shared {
        codec: C::default(),
        out: Outbox::default(),
        options,
        conn,
        closed: Cell::new(false),
        calls: RefCell::default(),
    };
    let mut server = Server {
        io,
        reader: Reader::default(),
        shared: Rc::new(shared),
        handler,
        pulse,
        feed: None,
        received: 0,
        stalled: false,
        phase: Phase::Open,
        goaway: false,
        since: None,
    };
    std::future::poll_fn(|cx| server.poll(cx)).await
}

impl<C: RpcCodec, I: Io, H: Handler> Server<C, I, H> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ConnError>> {
        if matches!(self.phase, Phase::Lingering { .. }) {
            return self.poll_linger(cx);
        }
        let shared = Rc::clone(&self.shared);
        shared.conn.watch(cx);
        if shared.conn.is_draining() && !std::mem::replace(&mut self.goaway, true) {
            shared.out.write_between(|out| shared.codec.write_goaway(0, out));
        }
        if matches!(self.phase, Phase::Open) {
            self.read(cx);
        }
        let sent = match shared.out.poll_send(&mut self.io, cx) {
            Poll::Ready(Ok(())) => true,
            Poll::Ready(Err(error)) => return Poll::Ready(Err(ConnError::io(Blame::Downstream, error))),
            Poll::Pending => false,
        };
        if shared.out.is_broken() {
            self.io.abort();
            return Poll::Ready(Err(ConnError::new(Blame::Local, "rpc_frame_abandoned")));
        }
        let idle = shared.calls.borrow().open == 0;
        match &mut self.phase {
            Phase::Ended if idle && sent => self.phase = Phase::Closing(None),
            Phase::Open if idle && sent && self.goaway => {
                let now = shared.conn.env.now();
                if self.pulse.poll_after(&mut self.since, GRACE, now, cx).is_ready() {
                    self.phase = Phase::Closing(None);
                    self.since = None;
                }
            }
            Phase::Open => self.since = None,
            _ => {}
        }
        if let Phase::Closing(error) = &mut self.phase
            && idle
            && sent
        {
            self.phase = Phase::Lingering { error: error.take(), shut: false };
            self.since = None;
            return self.poll_linger(cx);
        }
        if self.since.is_some() { Poll::Pending } else { self.poll_pulse(idle, sent, cx) }
    }

    /// Closes our end, and drops what the client still sends.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ConnError>> {
        let Phase::Lingering { error, shut } = &mut self.phase else { return Poll::Pending };
        let mut over = false;
        if !*shut {
            match self.io.poll_shutdown(cx) {
                Poll::Ready(Ok(())) => (*shut, self.since) = (true, None),
                // The client is gone.
                Poll::Ready(Err(_)) => over = true,
                Poll::Pending => {}
            }
        }
        while !over {
            match self.io.poll_recv(cx) {
                Poll::Ready(Ok(Some(_))) => {}
                // A client that sends no more may still take what there is.
                Poll::Ready(Ok(None)) if !*shut => break,
                Poll::Ready(Ok(None) | Err(_)) => over = true,
                Poll::Pending => break,
            }
        }
        if !over {
            let span = if *shut { Some(LINGER) } else { self.shared.options.stream_idle_timeout.limit() };
            let now = self.shared.conn.env.now();
            over = span.is_some_and(|span| self.pulse.poll_after(&mut self.since, span, now, cx).is_ready());
        }
        if over { Poll::Ready(error.take().map_or(Ok(()), Err)) } else { Poll::Pending }
    }

    fn poll_pulse(&mut self, idle: bool, sent: bool, cx: &mut Context<'_>) -> Poll<Result<(), ConnError>> {
        let out = &self.shared.out;
        let now = self.shared.conn.env.now();
        loop {
            let vitals = Vitals {
                received: self.received,
                taken: out.taken(),
                backed_up: !sent,
                excused: out.is_claimed() || self.stalled,
                stuck: out.waiting() > 0 || (!self.reader.is_clean() && self.feed.is_none()),
                busy: !idle,
            };
            match self.pulse.poll(now, vitals, cx) {
                None => return Poll::Pending,
                Some(Tick::Beat) => {
                    let exists = out.write_between(|out| self.shared.codec.write_heartbeat(u64::from(u16::MAX), out));
                    self.pulse.beaten(now, exists);
                }
                Some(Tick::Dead) => {
                    return Poll::Ready(Err(ConnError::new(Blame::Downstream, "rpc_heartbeat_timeout")));
                }
                Some(Tick::Stalled) => {
                    self.io.abort();
                    return Poll::Ready(Err(ConnError::new(Blame::Downstream, "stream_idle_timeout")));
                }
                Some(Tick::Idle) => {
                    self.phase = Phase::Closing(None);
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
        }
    }

    /// Reads as much as there is, and as may be under way at once.
    fn read(&mut self, cx: &mut Context<'_>) {
        self.stalled = false;
        for _ in 0..BURST {
            let full = loop {
                if !self.may_go_on(cx) {
                    // What comes next waits, but that the client has gone must be known: its calls are cancelled.
                    if self.feed.is_some() || self.reader.has_unread() {
                        self.stalled = true;
                        return;
                    }
                    break true;
                }
                match self.reader.next(&self.shared.codec, self.shared.options.limits()) {
                    Ok(Some(event)) => {
                        if let Err(error) = self.on_event(event) {
                            self.phase = Phase::Closing(Some(error));
                            return;
                        }
                    }
                    Ok(None) => break false,
                    Err(error) => return self.unreadable(error),
                }
            };
            match self.io.poll_recv(cx) {
                Poll::Ready(Ok(Some(chunk))) => {
                    self.received += chunk.len() as u64;
                    self.reader.push(chunk);
                    if full {
                        return;
                    }
                }
                Poll::Ready(Ok(None)) => {
                    let whole = self.reader.is_clean();
                    self.fail_feed("incomplete_frame");
                    let error = || ConnError::new(Blame::Downstream, "incomplete_frame");
                    self.phase = if whole { Phase::Ended } else { Phase::Closing(Some(error())) };
                    return;
                }
                Poll::Ready(Err(error)) => {
                    // Nobody is there for the answers.
                    self.fail_feed("reset");
                    self.shared.close();
                    self.phase = Phase::Closing(Some(ConnError::io(Blame::Downstream, error)));
                    return;
                }
                Poll::Pending => return,
            }
        }
        cx.waker().wake_by_ref();
    }

    /// Whether there is room for what comes next.
    fn may_go_on(&self, cx: &Context<'_>) -> bool {
        if let Some(feed) = &self.feed {
            return feed.has_room(cx);
        }
        let most = match C::MODE {
            Mode::PingPong => 1,
            Mode::Multiplex | Mode::Bound => self.shared.options.max_concurrent_calls.max(1) as usize,
        };
        // A call that ends, and a peer that takes its answers, wake this loop.
        self.shared.calls.borrow().open < most && self.shared.out.waiting() < (1 << 20)
    }

    fn on_event(&mut self, event: Event) -> Result<(), ConnError> {
        match event {
            Event::Frame(received) => return self.on_frame(received),
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
        Ok(())
    }

    fn on_frame(&mut self, received: Received) -> Result<(), ConnError> {
        let shared = &self.shared;
        match received.frame.kind {
            Kind::Request | Kind::OneWay => self.on_call(received),
            Kind::Heartbeat => {
                let to = Asked::new::<C>(received.frame, &received.block);
                shared.out.write_between(|out| shared.codec.write_heartbeat_reply(&to, out));
            }
            // That a client makes no more calls is its own business.
            Kind::HeartbeatReply | Kind::GoAway => {}
            // We have asked nothing.
            Kind::Response => return Err(ConnError::breach(Blame::Downstream, "rpc_unexpected_response")),
        }
        Ok(())
    }

    fn on_call(&mut self, received: Received) {
        let to = Asked::new::<C>(received.frame, &received.block);
        let head = message::request_head(&self.shared.codec, &received);
        let held = received.block.len();
        let fits = self.shared.calls.borrow().fits(held, self.shared.options.max_connection_bytes.bytes());
        let call = self.call(to, received.frame.content_len(), if fits { held } else { 0 });
        match head {
            Ok(_) if !fits => {
                // The rest of it is dropped as it arrives.
                drop(self.body(&received));
                call.refuse(message::overflow());
            }
            Ok(head) => {
                let body = self.body(&received);
                call.start(Request { head, body });
            }
            Err(error) => call.refuse(message::refusal(error)),
        }
    }

    fn call(&self, to: Asked, received: usize, held: usize) -> Call<C, H> {
        let cx = StreamCx::new(Rc::clone(&self.shared.conn));
        let ticket = Ticket::take(&self.shared, held);
        Call { handler: self.handler.clone(), cx, to, received: received as u64, ticket }
    }

    fn body(&mut self, received: &Received) -> Body {
        let content = received.content();
        if received.is_whole() {
            return message::body_of(content);
        }
        let (feed, body) = feed(received.frame.content_len() as u64);
        if !content.is_empty() {
            feed.push(content);
        }
        self.feed = Some(feed);
        Body::Stream(Box::new(body))
    }

    /// Nothing more can be read: the client is told, if it can be.
    fn unreadable(&mut self, error: CodecError) {
        let start = Chunk::copy_from(self.reader.beginning());
        self.fail_feed(error.details);
        if let Ok(Decoded::Frame(frame)) = self.shared.codec.decode(&start)
            && matches!(frame.kind, Kind::Request | Kind::OneWay)
        {
            let reply: LocalReply = message::refusal(error);
            // What the frame says it has may never come.
            let received = start.len().saturating_sub(frame.content).min(frame.content_len());
            self.call(Asked::new::<C>(frame, &start), received, 0).refuse(reply);
        }
        self.phase = Phase::Closing(Some(ConnError::breach(Blame::Downstream, error.details)));
    }

    fn fail_feed(&mut self, details: &'static str) {
        if let Some(feed) = self.feed.take() {
            feed.fail(BodyError::new(Blame::Downstream, details));
        }
    }
}

impl<C: RpcCodec, I, H> Drop for Server<C, I, H> {
    fn drop(&mut self) {
        if let Some(feed) = self.feed.take() {
            feed.fail(BodyError::new(Blame::Downstream, "reset"));
        }
        self.shared.close();
    }
}

impl<C> Shared<C> {
    /// Cancels what is under way.
    fn close(&self) {
        self.closed.set(true);
        self.out.close();
        let wakers: Vec<Waker> = self.calls.borrow_mut().wakers.iter_mut().filter_map(Option::take).collect();
        wakers.into_iter().for_each(Waker::wake);
    }
}
