//! One try of a request that may have several.

use std::cell::{Cell, OnceCell};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use ringway_api::{
    Blame, BodyError, BodyStart, BodyStream, ConnCx, Exchange, ExchangeError, ExchangeErrorKind, ExchangeEvent, Frame,
    Headers, Io, LocalBoxFuture, Request, ResponseHead, StreamCx, Time,
};
use ringway_upstream::{Host, RetryPermit, Reuse};

use super::{Answer, Answered, Failure, RequestProgress};
use crate::timeline::Mark;
use crate::timers::{PooledTimer, TimerPool};
use crate::view::ClusterView;

/// A try under way.
pub(super) struct Flight<'a> {
    pub(super) host: Rc<Host>,
    pub(super) notes: Rc<Notes>,
    /// When it began, if anybody wants to know how long it takes.
    pub(super) began: Option<Time>,
    future: LocalBoxFuture<'a, Result<Tried, Failure>>,
    limit: Option<Limit>,
    idle: Option<Idle>,
    /// Its place among the retries, up to its outcome.
    _permit: Option<RetryPermit>,
}

/// What is known of a try while it goes on.
#[derive(Default)]
pub(super) struct Notes {
    /// Bytes of the request's content that were taken.
    pub(super) moved: Rc<Cell<u64>>,
    pub(super) interim: Cell<u32>,
    pub(super) passed_on: Cell<u32>,
    pub(super) local: OnceCell<Rc<ConnCx>>,
    /// A connection turned out to be closed, and another took its place.
    pub(super) reconnected: Cell<bool>,
    pub(super) mark: Mark,
}

/// A try's answer.
pub(super) struct Tried {
    pub(super) answer: Answer,
    /// Its trailers, when they are all that is behind its head and somebody wanted to know.
    pub(super) trailers: Option<Headers>,
}

/// What a try does next.
#[allow(clippy::large_enum_variant, reason = "moved once per try, kept nowhere")]
pub(super) enum Step {
    /// It ended.
    Ended(Result<Tried, Failure>),
    /// Its time is over. It goes on, if it may.
    TimedOut,
}

/// What a try is made of.
pub(super) struct Order<'a, I: Io> {
    pub(super) upstream: &'a ClusterView<I>,
    pub(super) stream: &'a StreamCx,
    pub(super) timers: &'a Rc<TimerPool>,
    pub(super) host: Rc<Host>,
    pub(super) notes: Rc<Notes>,
    pub(super) permit: Option<RetryPermit>,
    pub(super) timeout: Option<Duration>,
    pub(super) idle: Option<Duration>,
    /// Look for the trailers of a response without content, once the request has ended.
    pub(super) peek: bool,
    pub(super) progress: Option<Rc<RequestProgress>>,
}

struct Limit {
    timer: PooledTimer,
    span: Duration,
    told: bool,
}

struct Idle {
    timer: PooledTimer,
    span: Duration,
    seen: u64,
}

// === impl Flight ===

impl<'a> Flight<'a> {
    pub(super) fn begin<I: Io>(order: Order<'a, I>, request: Request) -> Self {
        let Order { upstream, stream, timers, host, notes, permit, timeout, idle, peek, progress } = order;
        let mut idle = idle.map(|span| Idle { timer: timers.take(), span, seen: 0 });
        if let Some(idle) = &mut idle {
            idle.timer.set_after(idle.span);
        }
        let later = idle.as_ref().map(|idle| (Rc::clone(timers), idle.span));
        let (to, kept) = (Rc::clone(&host), Rc::clone(&notes));
        let future = async move {
            let peek = peek.then_some(progress);
            let mut tried = send(upstream, &to, request, stream, Some(&stream.conn), &kept, peek).await?;
            if let Some((timers, span)) = later {
                tried.answer.body = match tried.answer.body {
                    Answered::Streaming { exchange, lease } => {
                        let mut timer = timers.take();
                        timer.set_after(span);
                        let exchange = Box::new(Watched { exchange, timer, span });
                        Answered::Streaming { exchange, lease }
                    }
                    complete => complete,
                };
            }
            Ok(tried)
        };
        let limit = timeout.map(|span| Limit { timer: timers.take(), span, told: false });
        let began = upstream.cluster.watches_latency().then(|| stream.conn.env.now());
        Self { host, notes, began, future: Box::pin(future), limit, idle, _permit: permit }
    }

    /// `is_running`: the request has arrived, and the time of the try counts. Polling the try may make it so.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, is_running: impl Fn() -> bool) -> Poll<Step> {
        if let Poll::Ready(outcome) = self.future.as_mut().poll(cx) {
            return Poll::Ready(Step::Ended(outcome));
        }
        if let Some(idle) = &mut self.idle {
            let moved = self.notes.moved.get() + u64::from(self.notes.interim.get());
            if std::mem::replace(&mut idle.seen, moved) != moved {
                idle.timer.set_after(idle.span);
            }
            if idle.timer.poll_expired(cx).is_ready() {
                return Poll::Ready(Step::Ended(Err(Failure::PerTryIdle)));
            }
        }
        let Some(limit) = self.limit.as_mut().filter(|limit| !limit.told && is_running()) else { return Poll::Pending };
        if limit.timer.deadline().is_none() {
            limit.timer.set_after(limit.span);
        }
        std::task::ready!(limit.timer.poll_expired(cx));
        limit.told = true;
        Poll::Ready(Step::TimedOut)
    }
}

/// Sends a request to a host; once more, on a fresh connection, when an idle one provably lost it.
pub(super) async fn send<I: Io>(
    upstream: &ClusterView<I>,
    host: &Rc<Host>,
    mut request: Request,
    stream: &StreamCx,
    owner: Option<&Rc<ConnCx>>,
    notes: &Notes,
    peek: Option<Option<Rc<RequestProgress>>>,
) -> Result<Tried, Failure> {
    let mut reuse = Reuse::Allowed;
    loop {
        let mut lease = upstream.cluster.acquire(host, reuse, owner).await.map_err(Failure::Acquire)?;
        // The first connection's end is told; a second one differs in its port at most.
        notes.local.get_or_init(|| Rc::clone(lease.conn()));
        notes.mark.connected(lease.is_reused(), lease.conn().info.opened);
        let mut exchange = lease.open(request);
        match head(&mut *exchange, stream, notes).await {
            Ok((head, BodyStart::Complete(body))) => {
                let mark = notes.mark.clone();
                mark.answered(head.status);
                mark.ended();
                return Ok(Tried {
                    answer: Answer { head, body: Answered::Complete(body), host: Rc::clone(host), mark },
                    trailers: None,
                });
            }
            Ok((head, BodyStart::Streaming)) => {
                let mark = notes.mark.clone();
                mark.answered(head.status);
                let ended = |progress: Option<Rc<RequestProgress>>| progress.is_none_or(|known| known.ended.get());
                let mut trailers = None;
                if peek.is_some_and(ended) && head.headers.first("grpc-status").is_none() {
                    let first = std::future::poll_fn(|cx| exchange.poll_frame(cx)).await;
                    let first = first.transpose().map_err(cut)?;
                    if let Some(Frame::Trailers(found)) = &first {
                        trailers = Some(found.clone());
                    }
                    exchange = Box::new(Peeked { first: Some(first), exchange });
                }
                let body = Answered::Streaming { exchange, lease: Some(lease) };
                return Ok(Tried { answer: Answer { head, body, host: Rc::clone(host), mark }, trailers });
            }
            Err(error) if error.unseen && reuse == Reuse::Allowed && lease.is_reused() => {
                let Some(again) = exchange.reclaim() else { return Err(Failure::Exchange(error)) };
                drop(exchange);
                drop(lease);
                (request, reuse) = (again, Reuse::Fresh);
                notes.reconnected.set(true);
                upstream.stats.upstream_rq_retry.inc();
            }
            Err(error) => return Err(Failure::Exchange(error)),
        }
    }
}

/// Polls an exchange up to its final head; interim responses go ahead to the downstream.
async fn head(
    exchange: &mut dyn Exchange,
    stream: &StreamCx,
    notes: &Notes,
) -> Result<(ResponseHead, BodyStart), ExchangeError> {
    std::future::poll_fn(|cx| {
        loop {
            match std::task::ready!(exchange.poll_head(cx))? {
                ExchangeEvent::Final(head, start) => return Poll::Ready(Ok((head, start))),
                ExchangeEvent::Interim(head) => {
                    notes.interim.set(notes.interim.get() + 1);
                    if head.status != http::StatusCode::CONTINUE {
                        notes.passed_on.set(notes.passed_on.get() + 1);
                        stream.send_interim(head);
                    }
                }
            }
        }
    })
    .await
}

/// A response that was cut off right behind its head, which nobody has seen yet.
fn cut(error: BodyError) -> Failure {
    let BodyError { blame, details, .. } = error;
    Failure::Exchange(ExchangeError { kind: ExchangeErrorKind::Closed, blame, details, unseen: false, status: None })
}

/// A response whose first frame has been looked at.
struct Peeked {
    first: Option<Option<Frame>>,
    exchange: Box<dyn Exchange>,
}

impl Exchange for Peeked {
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<ExchangeEvent, ExchangeError>> {
        self.exchange.poll_head(cx)
    }
}

impl BodyStream for Peeked {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        match &mut self.first {
            // The end stays the end.
            Some(None) => Poll::Ready(None),
            first => match first.take().flatten() {
                Some(frame) => Poll::Ready(Some(Ok(frame))),
                None => self.exchange.poll_frame(cx),
            },
        }
    }

    fn remaining(&self) -> Option<u64> {
        let first = match &self.first {
            Some(Some(Frame::Data(chunk))) => chunk.len() as u64,
            _ => 0,
        };
        self.exchange.remaining().map(|rest| rest + first)
    }
}

/// A response that is given up when nothing of it has come for too long.
struct Watched {
    exchange: Box<dyn Exchange>,
    timer: PooledTimer,
    span: Duration,
}

impl Exchange for Watched {
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<ExchangeEvent, ExchangeError>> {
        self.exchange.poll_head(cx)
    }
}

impl BodyStream for Watched {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        match self.exchange.poll_frame(cx) {
            Poll::Pending => self
                .timer
                .poll_expired(cx)
                .map(|()| Some(Err(BodyError::new(Blame::Upstream, "upstream_per_try_idle_timeout")))),
            ready => {
                self.timer.set_after(self.span);
                ready
            }
        }
    }

    fn remaining(&self) -> Option<u64> {
        self.exchange.remaining()
    }
}
