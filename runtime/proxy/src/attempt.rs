//! One request on one upstream connection, with its deadline.

use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use ringway_api::{
    Address, Blame, Body, BodyError, BodyStart, BodyStream, Exchange, ExchangeError, ExchangeEvent, Frame, Headers, Io,
    Metadata, Request, ResponseHead, StreamCx,
};
use ringway_upstream::{AcquireError, Cluster, Host, Lease, Outcome, Reuse, Want};

use crate::health::{self, BodyWatch};
use crate::tcp;
use crate::timers::PooledTimer;
use crate::tunnel::{IdleLimit, RawExchange};
use crate::view::ClusterView;

/// Why an attempt brought no response head.
pub(crate) enum Failure {
    /// No connection.
    Acquire(AcquireError),
    /// The exchange failed.
    Exchange(ExchangeError),
    /// The route's timeout passed.
    Timeout,
}

/// A response whose body may still be on its way.
pub(crate) struct Answer {
    pub(crate) head: ResponseHead,
    pub(crate) body: Answered,
    pub(crate) host: Rc<Host>,
}

/// The body of an answer.
pub(crate) enum Answered {
    /// All of it.
    Complete(Body),
    /// The rest comes from here. The exchange ends before the lease is given back: fields drop in order.
    Streaming { exchange: Box<dyn Exchange>, lease: Option<Lease> },
}

/// Sends a request to a host the cluster picks, at most twice: once more, on a fresh connection, when the first
/// provably never saw it (the race with a peer that closes an idle connection).
pub(crate) async fn exchange<I: Io>(
    cluster: &Cluster<I>,
    mut request: Request,
    cx: &StreamCx,
    deadline: &mut Deadline,
    tries: &mut Tries,
) -> Result<Answer, Failure> {
    let mut reuse = Reuse::Allowed;
    loop {
        let want = Want { hash: tries.hash, tried: &[], metadata: tries.metadata.as_deref() };
        let host = cluster.pick(want).map_err(Failure::Acquire)?;
        tries.host = Some(host.address().clone());
        if tries.auto_host
            && let Some(name) = &host.reach().name
        {
            let _invalid_stays = request.head.set_authority(name);
        }
        let mut acquire = pin!(cluster.acquire(&host, reuse));
        let acquired = std::future::poll_fn(|cx| match acquire.as_mut().poll(cx) {
            Poll::Ready(result) => Poll::Ready(result.map_err(Failure::Acquire)),
            Poll::Pending => deadline.poll(cx).map(|()| Err(Failure::Timeout)),
        });
        let mut lease = match acquired.await {
            Ok(lease) => lease,
            // Waiting in line is not the host's fault.
            Err(Failure::Timeout) => return Err(Failure::Timeout),
            Err(failure) => {
                health::failed(cluster, &host, &failure);
                return Err(failure);
            }
        };
        tries.local = Some(Rc::clone(lease.conn()));
        tries.count += 1;
        let mut exchange = lease.open(request);
        match drive(&mut *exchange, cx, deadline, tries).await {
            Ok((head, BodyStart::Complete(body))) => {
                drop(exchange);
                drop(lease);
                return Ok(Answer { head, body: Answered::Complete(body), host: Rc::clone(&host) });
            }
            Ok((head, BodyStart::Streaming)) => {
                return Ok(Answer {
                    head,
                    body: Answered::Streaming { exchange, lease: Some(lease) },
                    host: Rc::clone(&host),
                });
            }
            Err(Failure::Exchange(error)) if error.unseen && reuse == Reuse::Allowed && lease.is_reused() => {
                let Some(again) = exchange.reclaim() else {
                    let failure = Failure::Exchange(error);
                    health::failed(cluster, &host, &failure);
                    return Err(failure);
                };
                drop(exchange);
                drop(lease);
                (request, reuse) = (again, Reuse::Fresh);
                tries.retried = true;
            }
            Err(failure) => {
                health::failed(cluster, &host, &failure);
                return Err(failure);
            }
        }
    }
}

/// What the attempts of a request came to, for its log record and the statistics.
#[derive(Default)]
pub(crate) struct Tries {
    /// What the request hashes to.
    pub(crate) hash: Option<u64>,
    /// What hosts must have.
    pub(crate) metadata: Option<std::sync::Arc<Metadata>>,
    /// The name of the host becomes the request's.
    pub(crate) auto_host: bool,
    pub(crate) host: Option<Address>,
    pub(crate) local: Option<Rc<ringway_api::ConnCx>>,
    pub(crate) count: u32,
    pub(crate) retried: bool,
    /// A final response came.
    pub(crate) answered: bool,
    /// Interim responses that came.
    pub(crate) interim: u32,
    /// Interim responses that were passed on.
    pub(crate) passed_on: u32,
}

/// Makes a tunnel to a host of a cluster of bytes.
pub(crate) async fn tunnel<I: Io>(
    upstream: &ClusterView<I>,
    request: Request,
    cx: &StreamCx,
    idle: Option<Duration>,
    deadline: &mut Deadline,
    tries: &mut Tries,
) -> Result<Answer, Failure> {
    let mut connecting = pin!(tcp::connect(upstream, &cx.conn));
    let connected = std::future::poll_fn(|cx| match connecting.as_mut().poll(cx) {
        Poll::Ready(result) => Poll::Ready(result.map_err(Failure::Acquire)),
        Poll::Pending => deadline.poll(cx).map(|()| Err(Failure::Timeout)),
    });
    let (host, io, lease) = connected.await?;
    tries.host = Some(host.address().clone());
    tries.count += 1;
    let exchange = RawExchange::new(io, request.body, lease, Rc::clone(&cx.conn.env), idle);
    let mut exchange: Box<dyn Exchange> = Box::new(exchange);
    let (head, _) = drive(&mut *exchange, cx, deadline, tries).await?;
    Ok(Answer { head, body: Answered::Streaming { exchange, lease: None }, host })
}

/// Polls an exchange up to its final head; interim responses go ahead to the downstream.
async fn drive(
    exchange: &mut dyn Exchange,
    stream: &StreamCx,
    deadline: &mut Deadline,
    tries: &mut Tries,
) -> Result<(ResponseHead, BodyStart), Failure> {
    std::future::poll_fn(|cx| {
        loop {
            match exchange.poll_head(cx) {
                Poll::Ready(Ok(ExchangeEvent::Final(head, start))) => {
                    tries.answered = true;
                    return Poll::Ready(Ok((head, start)));
                }
                Poll::Ready(Ok(ExchangeEvent::Interim(head))) => {
                    tries.interim += 1;
                    // 100 has been answered already, or nobody asked for it (RFC 9110, section 10.1.1).
                    if head.status != http::StatusCode::CONTINUE {
                        tries.passed_on += 1;
                        stream.send_interim(head);
                    }
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(Failure::Exchange(error))),
                Poll::Pending => return deadline.poll(cx).map(|()| Err(Failure::Timeout)),
            }
        }
    })
    .await
}

/// A route's timeout. It runs from the end of the request (as Envoy's does), and covers all attempts up to the end of
/// the response.
pub(crate) struct Deadline {
    pub(crate) timer: PooledTimer,
    limit: Option<Duration>,
    request: Option<Rc<RequestProgress>>,
}

/// How far a streamed request body has come.
#[derive(Default)]
pub(crate) struct RequestProgress {
    pub(crate) bytes: std::cell::Cell<u64>,
    pub(crate) ended: std::cell::Cell<bool>,
}

impl Deadline {
    /// The deadline of a request whose body is there (`None`) or still arriving.
    pub(crate) fn new(timer: PooledTimer, limit: Option<Duration>, request: Option<Rc<RequestProgress>>) -> Self {
        let mut this = Self { timer, limit, request };
        if this.request.is_none() {
            this.timer.set_limit(limit);
        }
        this
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.request.as_ref().is_some_and(|request| request.ended.get()) {
            self.request = None;
            self.timer.set_limit(self.limit);
        }
        self.timer.poll_expired(cx)
    }
}

/// A request body that notes its progress.
pub(crate) struct CountedBody {
    body: Body,
    progress: Rc<RequestProgress>,
}

impl CountedBody {
    /// Wraps a body that is still arriving; one that is there is left alone.
    pub(crate) fn wrap(body: Body) -> (Body, u64, Option<Rc<RequestProgress>>) {
        match body {
            Body::Stream(_) => {
                let progress = Rc::new(RequestProgress::default());
                let counted = Self { body, progress: Rc::clone(&progress) };
                (Body::Stream(Box::new(counted)), 0, Some(progress))
            }
            whole => {
                let len = whole.remaining().unwrap_or(0);
                (whole, len, None)
            }
        }
    }
}

impl BodyStream for CountedBody {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        let polled = self.body.poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(Frame::Data(chunk)))) => {
                self.progress.bytes.set(self.progress.bytes.get() + chunk.len() as u64);
            }
            Poll::Ready(None) => self.progress.ended.set(true),
            _ => {}
        }
        polled
    }

    fn remaining(&self) -> Option<u64> {
        self.body.remaining()
    }
}

/// Looks at trailers.
pub(crate) type TrailersFn = Box<dyn FnMut(&Headers)>;

/// A response body on its way from the upstream, cut at the route's deadline.
pub(crate) struct ResponseBody {
    pub(crate) exchange: Box<dyn Exchange>,
    /// After the exchange: see [`Answered::Streaming`].
    pub(crate) _lease: Option<Lease>,
    pub(crate) deadline: Deadline,
    /// Of a tunnel, which has no deadline.
    pub(crate) idle: Option<IdleLimit>,
    /// Is told the trailers.
    pub(crate) on_trailers: Option<TrailersFn>,
    /// Of a host that outlier detection watches.
    pub(crate) watch: Option<BodyWatch>,
}

impl BodyStream for ResponseBody {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        match (self.exchange.poll_frame(cx), &mut self.idle) {
            (Poll::Pending, Some(idle)) => idle.poll(&mut self.deadline.timer, cx).map(|error| Some(Err(error))),
            (Poll::Pending, None) => self.deadline.poll(cx).map(|()| {
                if let Some(watch) = &mut self.watch {
                    watch.cut(Outcome::TimedOut);
                }
                Some(Err(BodyError::new(Blame::Local, "response_timeout")))
            }),
            (ready, Some(idle)) => {
                idle.moved(&mut self.deadline.timer);
                ready
            }
            (ready, None) => {
                if let (Poll::Ready(Some(Ok(Frame::Trailers(trailers)))), Some(told)) = (&ready, &mut self.on_trailers)
                {
                    told(trailers);
                }
                if let (Poll::Ready(frame), Some(watch)) = (&ready, &mut self.watch) {
                    match frame {
                        Some(Ok(Frame::Trailers(trailers))) => watch.trailers(trailers),
                        Some(Err(error)) if error.blame == Blame::Upstream => watch.cut(Outcome::ConnectFailed),
                        None => watch.ended(),
                        Some(_) => {}
                    }
                }
                ready
            }
        }
    }

    fn remaining(&self) -> Option<u64> {
        self.exchange.remaining()
    }
}
