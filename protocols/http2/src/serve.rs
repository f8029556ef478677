//! The server's side: a loop that drives the connection, and a task for each stream.

mod stream;

use std::cell::Cell;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use h2::server::Connection;
use h2::{Ping, PingPong, Reason};
use ringway_api::{Blame, ConnCx, ConnError, Handler, Io, Timer};

use crate::adaptor::{Transport, Watch};
use crate::bdp::Bdp;
use crate::keepalive::{Due, Keepalive};
use crate::options::Http2Options;
use crate::send::Payload;
use crate::{PREFACE, fault};

/// After our goodbye to a peer that breaks the rules, it has this long to take it.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Serves a connection until it ends.
pub(crate) async fn serve<I: Io, H: Handler>(
    options: &Arc<Http2Options>,
    io: I,
    handler: H,
    conn: Rc<ConnCx>,
) -> Result<(), ConnError> {
    let watch = Rc::new(Watch::default());
    let env = Rc::clone(&conn.env);
    let transport = Transport::new(io, options.frame_limits, PREFACE.len(), Rc::clone(&env), Rc::clone(&watch));
    let mut timer = env.timer();
    timer.set_after(options.handshake_timeout.duration());
    let mut handshake = pin!(builder(options).handshake::<_, Payload>(transport));
    let connected = std::future::poll_fn(|cx| match handshake.as_mut().poll(cx) {
        Poll::Ready(outcome) => Poll::Ready(outcome.map_err(|error| fault::connection(error, Blame::Downstream))),
        // After a breach nothing more is read, so there is nothing to wait for.
        Poll::Pending => match watch.breach.get() {
            Some(breach) => Poll::Ready(Err(Some(ConnError::breach(Blame::Downstream, breach.details)))),
            None => {
                timer.poll_expired(cx).map(|()| Err(Some(ConnError::new(Blame::Downstream, "http2_handshake_timeout"))))
            }
        },
    });
    let h2 = match connected.await {
        Ok(h2) => h2,
        Err(error) => return error.map_or(Ok(()), Err),
    };
    timer.clear();
    let now = env.now();
    let mut server = Server {
        h2,
        handler,
        options: Arc::clone(options),
        watch,
        timer,
        open: Rc::default(),
        draining: false,
        closing: false,
        pings: None,
        keepalive: Keepalive::new(options.keepalive_interval.limit(), options.keepalive_timeout.duration(), now),
        bdp: Bdp::new(options.connection_window(), options.max_window()),
        seen: 0,
        conn,
    };
    server.pings = server.h2.ping_pong();
    std::future::poll_fn(|cx| server.poll(cx)).await
}

fn builder(options: &Http2Options) -> h2::server::Builder {
    let mut builder = h2::server::Builder::new();
    builder
        .initial_window_size(options.stream_window())
        .initial_connection_window_size(options.connection_window())
        .max_concurrent_streams(options.max_concurrent_streams)
        .max_header_list_size(options.header_list_size())
        .data_frame_budget(options.small_data_budget())
        // Counted in front of h2, whose own limit must not be the smaller one.
        .max_pending_accept_reset_streams(options.frame_limits.reset as usize + 1)
        .max_send_buffer_size(options.max_send_buffer.bytes());
    if options.allow_connect {
        builder.enable_connect_protocol();
    }
    builder
}

struct Server<I: Io, H> {
    h2: Connection<Transport<I>, Payload>,
    handler: H,
    options: Arc<Http2Options>,
    watch: Rc<Watch>,
    timer: Timer,
    /// Streams that have a task.
    open: Rc<Cell<usize>>,
    draining: bool,
    /// The connection is ended at once, and only the goodbye has to go out.
    closing: bool,
    pings: Option<PingPong>,
    keepalive: Keepalive,
    bdp: Bdp,
    /// Bytes of content received when it was looked at last.
    seen: u64,
    conn: Rc<ConnCx>,
}

impl<I: Io, H: Handler> Server<I, H> {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ConnError>> {
        self.conn.watch(cx);
        if self.conn.is_draining() && !std::mem::replace(&mut self.draining, true) {
            // RFC 9113, section 6.8: first with the highest id, then, a round trip later, with the real one.
            self.h2.graceful_shutdown();
        }
        loop {
            match self.h2.poll_accept(cx) {
                Poll::Ready(Some(Ok((request, respond)))) => {
                    let stream = stream::Stream {
                        handler: self.handler.clone(),
                        conn: Rc::clone(&self.conn),
                        options: Arc::clone(&self.options),
                        watch: Rc::clone(&self.watch),
                        open: stream::Open::enter(&self.open),
                    };
                    self.conn.env.spawn(Box::pin(stream.serve(request, respond)));
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(self.ended(Some(error))),
                Poll::Ready(None) => return Poll::Ready(self.ended(None)),
                Poll::Pending => match self.watch.breach.get() {
                    Some(breach) if !self.closing => self.close(Reason::from(breach.code)),
                    _ => break,
                },
            }
        }
        self.poll_clock(cx)
    }

    fn ended(&self, error: Option<h2::Error>) -> Result<(), ConnError> {
        if let Some(breach) = self.watch.breach.get() {
            return Err(ConnError::breach(Blame::Downstream, breach.details));
        }
        error.and_then(|error| fault::connection(error, Blame::Downstream)).map_or(Ok(()), Err)
    }

    fn close(&mut self, reason: Reason) {
        self.closing = true;
        self.h2.abrupt_shutdown(reason);
        self.timer.set_after(LAST_WORDS);
    }

    /// Measures, pings, and notices that nothing happens.
    fn poll_clock(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ConnError>> {
        if self.closing {
            return self.timer.poll_expired(cx).map(|()| self.ended(None));
        }
        let now = self.conn.env.now();
        let received = self.watch.received.get();
        let content = self.watch.content.get();
        self.keepalive.received(received, now);
        if let Some(pings) = &mut self.pings {
            if let Poll::Ready(Ok(_)) = pings.poll_pong(cx)
                && let Some(window) = self.bdp.ponged(now, content)
            {
                self.h2.set_target_window_size(window);
                // Streams that are open keep theirs when the peer has not acknowledged the last change yet.
                drop(self.h2.set_initial_window_size(window / 2));
            }
            let keepalive = self.keepalive.due(now);
            if keepalive == Due::Dead {
                return Poll::Ready(Err(ConnError::new(Blame::Downstream, "http2_keepalive_timeout")));
            }
            let measure = self.bdp.wants_ping(content, self.seen);
            if (measure || keepalive == Due::Ping) && pings.send_ping(Ping::opaque()).is_ok() {
                self.bdp.pinged(now, content);
                self.keepalive.pinged(now);
                // Once more, so that it goes out.
                cx.waker().wake_by_ref();
            }
        }
        self.seen = content;
        // One clock for both: whichever comes first.
        let idle = if self.open.get() == 0 { self.options.idle_timeout.limit() } else { None };
        let idle = idle.map(|idle| now + idle);
        let check = match self.keepalive.due(now) {
            Due::At(at) => Some(at),
            _ => None,
        };
        match idle.into_iter().chain(check).min() {
            None => self.timer.clear(),
            Some(at) => {
                // An idle deadline that is set already stays: looking at the connection is not using it.
                let keep = check.is_none() && self.timer.deadline().is_some_and(|set| set <= at);
                if !keep {
                    self.timer.set(at);
                }
            }
        }
        if self.timer.poll_expired(cx).is_pending() {
            return Poll::Pending;
        }
        if self.open.get() == 0 && check.is_none() {
            self.h2.graceful_shutdown();
            self.timer.clear();
            self.draining = true;
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
