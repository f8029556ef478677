//! Tunnels: `CONNECT` to a cluster of bytes, and the idle limit of every tunnel.

use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use http::StatusCode;
use ringway_api::{
    Blame, Body, BodyError, BodyStart, BodyStream, ChunkQueue, Env, Exchange, ExchangeError, ExchangeEvent, Frame, Io,
    ResponseHead, Timer,
};
use ringway_upstream::RawLease;

use crate::attempt::RequestProgress;

/// A connection of bytes that carries the one tunnel it was made for.
pub(crate) struct RawExchange<I: Io> {
    far: Option<Far<I>>,
    env: Rc<dyn Env>,
    idle: Option<Duration>,
}

/// The upstream's side of the tunnel, and what goes there.
struct Far<I> {
    io: I,
    request: Body,
    queue: ChunkQueue,
    up: Up,
    _lease: RawLease,
}

/// How far the way to the upstream is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Up {
    Open,
    /// `io` took no more the last time.
    Full,
    /// The downstream has ended its side.
    Ending,
    Done,
}

impl<I: Io> RawExchange<I> {
    pub(crate) fn new(io: I, request: Body, lease: RawLease, env: Rc<dyn Env>, idle: Option<Duration>) -> Self {
        let far = Far { io, request, queue: ChunkQueue::new(), up: Up::Open, _lease: lease };
        Self { far: Some(far), env, idle }
    }

    /// The upstream has ended its side, which ends the response; what the downstream still sends goes on without it.
    fn finish(&mut self) {
        let Some(mut far) = self.far.take().filter(|far| far.up != Up::Done) else { return };
        let (mut timer, idle) = (self.env.timer(), self.idle);
        timer.set_limit(idle);
        self.env.spawn(Box::pin(async move {
            let moved = std::future::poll_fn(|cx| {
                let before = far.up;
                let pumped = far.pump(cx);
                if far.up != before {
                    timer.set_limit(idle);
                }
                match pumped {
                    Poll::Ready(outcome) => Poll::Ready(outcome.is_ok()),
                    Poll::Pending => timer.poll_expired(cx).map(|()| false),
                }
            });
            if !moved.await {
                far.io.abort();
            }
        }));
    }
}

impl<I: Io> Far<I> {
    /// Moves what can be moved to the upstream; ready once the end has been passed on.
    fn pump(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        let failed = |_| BodyError::new(Blame::Upstream, "upstream_reset");
        loop {
            match self.up {
                Up::Done => return Poll::Ready(Ok(())),
                Up::Ending if self.queue.is_empty() => {
                    ready!(self.io.poll_shutdown(cx)).map_err(failed)?;
                    self.up = Up::Done;
                }
                Up::Full | Up::Ending => {
                    ready!(self.io.poll_send(cx, &mut self.queue)).map_err(failed)?;
                    if self.up == Up::Full {
                        self.up = Up::Open;
                    }
                }
                Up::Open => match ready!(self.request.poll_frame(cx)) {
                    Some(Ok(Frame::Data(chunk))) => {
                        self.queue.push(chunk);
                        self.up = Up::Full;
                    }
                    // A tunnel has no trailers.
                    Some(Ok(Frame::Trailers(_))) => {}
                    Some(Err(error)) => return Poll::Ready(Err(error)),
                    None => self.up = Up::Ending,
                },
            }
        }
    }
}

impl<I: Io> Exchange for RawExchange<I> {
    fn poll_head(&mut self, _: &mut Context<'_>) -> Poll<Result<ExchangeEvent, ExchangeError>> {
        // The connection is there: that is all `CONNECT` asks for (RFC 9110, section 9.3.6).
        Poll::Ready(Ok(ExchangeEvent::Final(ResponseHead::new(StatusCode::OK), BodyStart::Streaming)))
    }
}

impl<I: Io> BodyStream for RawExchange<I> {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        let Some(far) = &mut self.far else { return Poll::Ready(None) };
        if let Poll::Ready(Err(error)) = far.pump(cx) {
            far.io.abort();
            return Poll::Ready(Some(Err(error)));
        }
        match ready!(far.io.poll_recv(cx)) {
            Ok(Some(chunk)) => Poll::Ready(Some(Ok(Frame::Data(chunk)))),
            Ok(None) => {
                self.finish();
                Poll::Ready(None)
            }
            Err(_) => Poll::Ready(Some(Err(BodyError::new(Blame::Upstream, "upstream_reset")))),
        }
    }

    fn remaining(&self) -> Option<u64> {
        None
    }
}

/// Ends a tunnel in which nothing has moved for too long.
pub(crate) struct IdleLimit {
    limit: Option<Duration>,
    request: Option<Rc<RequestProgress>>,
    seen: u64,
}

impl IdleLimit {
    pub(crate) fn new(limit: Option<Duration>, request: Option<Rc<RequestProgress>>) -> Self {
        Self { limit, request, seen: u64::MAX }
    }

    /// Notes that something has moved towards the downstream.
    pub(crate) fn moved(&mut self, timer: &mut Timer) {
        timer.set_limit(self.limit);
    }

    pub(crate) fn poll(&mut self, timer: &mut Timer, cx: &mut Context<'_>) -> Poll<BodyError> {
        loop {
            let moved = self.request.as_ref().map_or(0, |request| request.bytes.get());
            if std::mem::replace(&mut self.seen, moved) != moved {
                timer.set_limit(self.limit);
            }
            match timer.poll_expired(cx) {
                Poll::Pending => return Poll::Pending,
                // The other direction is polled elsewhere: it may have moved since.
                Poll::Ready(()) if self.request.as_ref().is_some_and(|request| request.bytes.get() != self.seen) => {}
                Poll::Ready(()) => return Poll::Ready(BodyError::new(Blame::Local, "tunnel_idle_timeout")),
            }
        }
    }
}
