//! The client's side: a task that drives the connection, and exchanges that are streams of it.

mod exchange;

use std::cell::{Cell, RefCell};
use std::fmt;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use h2::client::{Connection, SendRequest};
use h2::{Ping, PingPong};
use ringway_api::{Blame, ConnCx, ConnError, Exchange, Io, Request, Timer, UpstreamConn};

use self::exchange::Http2Exchange;
use crate::adaptor::{Transport, Watch};
use crate::bdp::Bdp;
use crate::fault;
use crate::keepalive::{Due, Keepalive};
use crate::options::Http2Options;
use crate::send::Payload;

/// An upstream connection. It carries many exchanges at once.
pub struct Client(Rc<Link>);

/// What a connection, its driver and its exchanges share.
struct Link {
    requests: RefCell<SendRequest<Payload>>,
    open: Cell<usize>,
    /// The connection takes no more streams: it has ended, or the peer has said so.
    closed: Cell<bool>,
    draining: Cell<bool>,
    /// Who waits for the end of the connection.
    idle: RefCell<Option<Waker>>,
    /// The driver, which ends the connection once it is drained and unused.
    driver: RefCell<Option<Waker>>,
    options: Arc<Http2Options>,
    watch: Rc<Watch>,
    conn: Rc<ConnCx>,
}

/// Makes a connection of a stream. The peer's settings are not waited for (RFC 9113, section 3.4).
pub(crate) async fn connect<I: Io>(options: &Arc<Http2Options>, io: I, conn: Rc<ConnCx>) -> Result<Client, ConnError> {
    let watch = Rc::new(Watch::default());
    let env = Rc::clone(&conn.env);
    let transport = Transport::new(io, options.frame_limits, 0, Rc::clone(&env), Rc::clone(&watch));
    let handshake = builder(options).handshake::<_, Payload>(transport);
    let (requests, h2) = handshake.await.map_err(|error| {
        let ended = fault::connection(error, Blame::Upstream);
        ended.unwrap_or(ConnError::new(Blame::Upstream, "http2_goaway"))
    })?;
    let link = Rc::new(Link {
        requests: RefCell::new(requests),
        open: Cell::new(0),
        closed: Cell::new(false),
        draining: Cell::new(false),
        idle: RefCell::default(),
        driver: RefCell::default(),
        options: Arc::clone(options),
        watch,
        conn,
    });
    env.spawn(Box::pin(drive(h2, Rc::clone(&link))));
    Ok(Client(link))
}

fn builder(options: &Http2Options) -> h2::client::Builder {
    let mut builder = h2::client::Builder::new();
    builder
        .initial_window_size(options.stream_window())
        .initial_connection_window_size(options.connection_window())
        .initial_max_send_streams(options.max_concurrent_streams as usize)
        .max_header_list_size(options.header_list_size())
        .data_frame_budget(options.small_data_budget())
        .max_send_buffer_size(options.max_send_buffer.bytes())
        .enable_push(false);
    builder
}

impl UpstreamConn for Client {
    fn free_slots(&self) -> usize {
        let link = &*self.0;
        if link.closed.get() || link.is_draining() {
            return 0;
        }
        let allowed = link.requests.borrow().current_max_send_streams();
        allowed.min(link.options.max_concurrent_streams as usize).saturating_sub(link.open.get())
    }

    fn open(&self, request: Request) -> Box<dyn Exchange> {
        Box::new(Http2Exchange::new(&self.0, request))
    }

    fn poll_idle(&self, cx: &mut Context<'_>) -> Poll<()> {
        let link = &*self.0;
        if link.closed.get() || link.is_draining() {
            return Poll::Ready(());
        }
        link.conn.watch(cx);
        *link.idle.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }

    fn drain(&self) {
        self.0.draining.set(true);
        self.0.wake_driver();
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        // The pool has let go of it: it ends with its last exchange.
        self.drain();
    }
}

impl Link {
    fn is_draining(&self) -> bool {
        self.draining.get() || self.conn.is_draining()
    }

    fn wake_driver(&self) {
        let driver = self.driver.borrow_mut().take();
        if let Some(waker) = driver {
            waker.wake();
        }
    }

    fn close(&self) {
        self.closed.set(true);
        let idle = self.idle.borrow_mut().take();
        if let Some(waker) = idle {
            waker.wake();
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({:?}, {} open)", self.0.conn.info, self.0.open.get())
    }
}

/// Drives a connection until it ends, or nobody wants it any more.
async fn drive<I: Io>(mut h2: Connection<Transport<I>, Payload>, link: Rc<Link>) {
    let now = link.conn.env.now();
    let options = &link.options;
    let mut clock = Clock {
        pings: h2.ping_pong(),
        keepalive: Keepalive::new(options.keepalive_interval.limit(), options.keepalive_timeout.duration(), now),
        bdp: Bdp::new(options.connection_window(), options.max_window()),
        seen: 0,
        timer: link.conn.env.timer(),
    };
    let mut h2 = pin!(h2);
    std::future::poll_fn(|cx| {
        let ended = h2.as_mut().poll(cx).is_ready() || link.watch.breach.get().is_some();
        if link.watch.goaway.get() && !link.closed.get() {
            // RFC 9113, section 6.8: no new streams; those under way may go on.
            link.close();
        }
        if ended || (link.is_draining() && link.open.get() == 0) {
            return Poll::Ready(());
        }
        *link.driver.borrow_mut() = Some(cx.waker().clone());
        match clock.poll(&link, cx) {
            Tick::Dead => return Poll::Ready(()),
            Tick::Window(window) => {
                h2.set_target_window_size(window);
                drop(h2.set_initial_window_size(window / 2));
                cx.waker().wake_by_ref();
            }
            Tick::Nothing => {}
        }
        Poll::Pending
    })
    .await;
    link.close();
}

/// Pings, for whether the peer is there and for how much it can send.
struct Clock {
    pings: Option<PingPong>,
    keepalive: Keepalive,
    bdp: Bdp,
    /// Bytes of content received when it was looked at last.
    seen: u64,
    timer: Timer,
}

enum Tick {
    Nothing,
    /// The windows should be so large.
    Window(u32),
    /// The peer does not answer.
    Dead,
}

impl Clock {
    fn poll(&mut self, link: &Link, cx: &mut Context<'_>) -> Tick {
        let now = link.conn.env.now();
        let received = link.watch.received.get();
        let content = link.watch.content.get();
        self.keepalive.received(received, now);
        let Some(pings) = &mut self.pings else { return Tick::Nothing };
        if let Poll::Ready(Ok(_)) = pings.poll_pong(cx)
            && let Some(window) = self.bdp.ponged(now, content)
        {
            return Tick::Window(window);
        }
        let due = self.keepalive.due(now);
        if due == Due::Dead {
            return Tick::Dead;
        }
        let measure = self.bdp.wants_ping(content, self.seen);
        self.seen = content;
        if (measure || due == Due::Ping) && pings.send_ping(Ping::opaque()).is_ok() {
            self.bdp.pinged(now, content);
            self.keepalive.pinged(now);
            cx.waker().wake_by_ref();
        }
        match self.keepalive.due(now) {
            Due::At(at) => self.timer.set(at),
            _ => self.timer.clear(),
        }
        if self.timer.poll_expired(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
        Tick::Nothing
    }
}
