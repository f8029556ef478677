//! The server side: one connection's requests, one after the other.

mod close;
mod respond;
mod tunnel;
mod wire;

use std::cell::RefCell;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Method, StatusCode};
use ringway_api::{
    Blame, Body, BodyError, Chunk, ConnCx, ConnError, Handler, Io, LocalBoxFuture, Request, StreamCx, Timer, Version,
};

use self::wire::{Input, RequestBody, Wire};
use crate::body::Decoder;
use crate::head::{Assembler, Framing, HeadLimits, Refusal, RequestParts, decode_request};
use crate::options::Http1Options;

/// Serves a connection until it ends. The future is what an idle connection costs, so it is made of what it keeps and
/// nothing else: what a function takes would lie in it twice.
pub(crate) fn serve<I: Io, H: Handler>(
    options: Arc<Http1Options>,
    io: I,
    handler: H,
    conn: Rc<ConnCx>,
) -> impl Future<Output = Result<(), ConnError>> {
    let cx = StreamCx::new(conn);
    let mut server = Server::new(options, io, cx.conn.env.timer());
    async move {
        loop {
            let next = poll_fn(|task| server.poll_request(task, &cx.conn)).await;
            // On the heap, and only while a request is under way: the handler's future is larger than everything that
            // an idle connection needs, and most connections are idle.
            let answering = match server.next(next, &handler, &cx) {
                Ok(answering) => answering,
                Err(end) => return end,
            };
            if !answering.await? {
                return Box::pin(server.close()).await;
            }
        }
    }
}

/// A connection. Kept small: thousands of idle ones are one of these each.
struct Server<I> {
    wire: Rc<RefCell<Wire<I>>>,
    options: Arc<Http1Options>,
    timer: Timer,
    head: Assembler,
    /// Requests so far.
    served: u32,
    /// Requests answered without having waited for anything in between.
    burst: u8,
    /// Of the current request.
    current: Current,
}

/// What a response must know of its request.
struct Current {
    is_head: bool,
    http_1_1: bool,
    keep_alive: bool,
}

/// What comes next on a connection.
enum Next {
    Request(RequestParts),
    Refused(Refusal),
    End(Result<(), ConnError>),
}

/// Pipelined requests that are answered in one turn of the worker before other connections get theirs.
const MAX_BURST: u8 = 16;

// === impl Server ===

impl<I: Io> Server<I> {
    fn new(options: Arc<Http1Options>, io: I, timer: Timer) -> Self {
        let mut server = Self {
            wire: Rc::new(RefCell::new(Wire::new(io))),
            options,
            timer,
            head: Assembler::new(),
            served: 0,
            burst: 0,
            current: Current { is_head: false, http_1_1: true, keep_alive: true },
        };
        server.timer.set_limit(server.options.idle_timeout.limit());
        server
    }

    /// Waits for the next request head.
    fn poll_request(&mut self, cx: &mut Context<'_>, conn: &ConnCx) -> Poll<Next> {
        if self.burst >= MAX_BURST {
            self.burst = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let wire = Rc::clone(&self.wire);
        let mut wire = wire.borrow_mut();
        loop {
            if !wire.inbox.is_empty() {
                let limits = self.options.head_limits();
                let was_partial = self.head.is_partial();
                let decoded = self.decode(&mut wire, limits);
                match decoded {
                    Ok(Some(parts)) => {
                        self.burst += 1;
                        return Poll::Ready(Next::Request(parts));
                    }
                    Ok(None) if !was_partial => {
                        // From here to the end of the head, whatever trickles in.
                        self.timer.set_limit(self.options.request_headers_timeout.limit());
                    }
                    Ok(None) => {}
                    Err(refusal) => return Poll::Ready(Next::Refused(refusal)),
                }
            }
            let partial = self.head.is_partial();
            match wire.input {
                Input::Open if partial || !conn.is_draining() => {}
                Input::Failed(kind) => {
                    let error = ConnError::io(Blame::Downstream, kind.into());
                    return Poll::Ready(Next::End(Err(error)));
                }
                Input::Ended if partial => {
                    let error = ConnError::new(Blame::Downstream, "incomplete_head");
                    return Poll::Ready(Next::End(Err(error)));
                }
                Input::Open | Input::Ended => return Poll::Ready(Next::End(Ok(()))),
            }
            if wire.poll_fill(cx).is_ready() {
                continue;
            }
            self.burst = 0;
            conn.watch(cx);
            if self.timer.poll_expired(cx).is_pending() {
                return Poll::Pending;
            }
            return Poll::Ready(if partial {
                self.head.clear();
                Next::Refused(Refusal::new(StatusCode::REQUEST_TIMEOUT, "request_headers_timeout"))
            } else {
                Next::End(Ok(()))
            });
        }
    }

    fn decode(&mut self, wire: &mut Wire<I>, limits: HeadLimits) -> Result<Option<RequestParts>, Refusal> {
        let allow_http_1_0 = self.options.allow_http_1_0;
        self.head.decode(&mut wire.inbox, |block| decode_request(block, limits, allow_http_1_0))
    }

    /// Begins to answer what came; or the end, if that came.
    fn next<'a, H: Handler>(
        &'a mut self,
        next: Next,
        handler: &'a H,
        cx: &'a StreamCx,
    ) -> Result<LocalBoxFuture<'a, Result<bool, ConnError>>, Result<(), ConnError>> {
        match next {
            Next::Request(parts) => {
                let request = self.begin(parts);
                Ok(Box::pin(self.exchange(handler, request, cx)))
            }
            Next::Refused(refusal) => {
                self.current = Current { is_head: false, http_1_1: true, keep_alive: false };
                self.wire.borrow_mut().begin(0);
                Ok(Box::pin(self.respond(handler.refuse(refusal.reply(), cx), cx)))
            }
            Next::End(end) => Err(end),
        }
    }

    /// Makes a request of a head.
    fn begin(&mut self, parts: RequestParts) -> Request {
        self.served = self.served.saturating_add(1);
        let most = self.options.max_requests_per_connection;
        self.current = Current {
            is_head: parts.head.method == Method::HEAD,
            http_1_1: parts.head.version == Version::Http11,
            keep_alive: parts.keep_alive && (most == 0 || self.served < most),
        };
        if let Some(tunnel) = parts.head.tunnel {
            let protocol = parts.head.upgrade().map(Chunk::copy_from);
            self.wire.borrow_mut().begin_tunnel(tunnel, protocol, self.options.body_limits());
            return Request { head: parts.head, body: Body::Stream(Box::new(RequestBody::new(&self.wire))) };
        }
        let mut wire = self.wire.borrow_mut();
        let body = match parts.framing {
            Framing::None => {
                wire.begin(0);
                Body::Empty
            }
            Framing::Length(length) if length <= wire.inbox.len() as u64 => {
                wire.begin(length);
                Body::Full(wire.inbox.split_to(length as usize))
            }
            framing => {
                let owes_continue = parts.expects_continue && wire.inbox.is_empty();
                wire.begin_content(Decoder::new(framing), self.options.body_limits(), owes_continue);
                drop(wire);
                Body::Stream(Box::new(RequestBody::new(&self.wire)))
            }
        };
        Request { head: parts.head, body }
    }

    /// Has one request answered; true when the connection goes on.
    async fn exchange<H: Handler>(&mut self, handler: &H, request: Request, cx: &StreamCx) -> Result<bool, ConnError> {
        let reply = {
            let mut handling = pin!(handler.handle(request, cx));
            self.timer.clear();
            poll_fn(|task| {
                loop {
                    if let Poll::Ready(reply) = handling.as_mut().poll(task) {
                        return Poll::Ready(Ok(reply));
                    }
                    self.burst = 0;
                    match self.poll_beside(task, cx) {
                        // A fault that the handler waits to hear of.
                        Poll::Ready(Ok(())) => {}
                        Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                        Poll::Pending => return Poll::Pending,
                    }
                }
            })
            .await?
        };
        self.respond(reply, cx).await
    }

    /// Looks after the connection while the handler works. Ready when the handler should be polled again, or with
    /// the error that cancels the request.
    fn poll_beside(&mut self, task: &mut Context<'_>, cx: &StreamCx) -> Poll<Result<(), ConnError>> {
        if cx.has_interim() {
            self.interim(cx);
        }
        let mut wire = self.wire.borrow_mut();
        let wire = &mut *wire;
        if let Poll::Ready(Err(error)) = wire.poll_interim(task) {
            return Poll::Ready(Err(ConnError::io(Blame::Downstream, error)));
        }
        wire.watch(task);
        if let Input::Failed(kind) = wire.input {
            return Poll::Ready(Err(ConnError::io(Blame::Downstream, kind.into())));
        }
        if wire.is_complete() {
            return Poll::Pending;
        }
        // Content is outstanding: it must keep moving while it is waited for.
        let Some(idle) = self.options.stream_idle_timeout.limit() else { return Poll::Pending };
        if wire.take_moved() || self.timer.deadline().is_none() {
            self.timer.set_after(idle);
        }
        while self.timer.poll_expired(task).is_ready() {
            if wire.is_wanted() {
                let error = BodyError::new(Blame::Downstream, "stream_idle_timeout");
                wire.fail(error.with_status(StatusCode::REQUEST_TIMEOUT));
                self.timer.clear();
                return Poll::Ready(Ok(()));
            }
            self.timer.set_after(idle);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ringway_testkit::{PairOptions, Sim, TestHandler, pair, test_conn};

    #[test]
    fn what_an_idle_connection_keeps_is_small() {
        // The shared part, without the stream itself.
        let wire = size_of::<Wire<()>>();
        assert!(wire <= 56, "{wire} bytes");
        let sim = Sim::new(1);
        let (io, handler) = (pair(PairOptions::default()).0, TestHandler::fixed(""));
        let serving = serve(Arc::default(), io, handler.clone(), test_conn(&sim));
        let future = size_of_val(&serving) - size_of_val(&handler);
        assert!(future <= 112, "{future} bytes");
    }
}
