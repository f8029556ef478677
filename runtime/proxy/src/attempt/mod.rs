//! One request on upstream connections: its tries, one after the other or beside each other, and its deadline.

mod deadline;
mod decide;
mod flight;
mod mirror;
mod replay;
mod response;
mod retry;
mod tell;

use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use ringway_api::{
    Address, Body, BodyStart, ConnCx, Exchange, ExchangeError, ExchangeEvent, Io, Metadata, Request, RequestHead,
    ResponseFlags, ResponseHead, StreamCx, Time,
};
use ringway_upstream::{AcquireError, Cluster, Host, Lease, Reuse, Want};

pub(crate) use self::deadline::{CountedBody, Deadline, RequestProgress};
pub(crate) use self::mirror::{Copies, tee};
pub(crate) use self::replay::ReplayMemory;
pub(crate) use self::response::{ResponseBody, TrailersFn};
pub(crate) use self::retry::{Call, exchange as exchange_with_retries};
pub(crate) use self::tell::timeout as tell_timeout;
use crate::health;
use crate::tcp;
use crate::timeline::{Mark, Timeline};
use crate::tunnel::RawExchange;
use crate::view::ClusterView;

/// Why an attempt brought no response head.
pub(crate) enum Failure {
    /// No connection.
    Acquire(AcquireError),
    /// The exchange failed.
    Exchange(ExchangeError),
    /// The route's timeout passed.
    Timeout,
    /// The timeout of the try passed.
    PerTryTimeout,
    /// Nothing has moved in the try for too long.
    PerTryIdle,
}

impl Failure {
    /// Why, in the words of response-code details.
    pub(crate) fn details(&self) -> &'static str {
        match self {
            Self::Acquire(error) => error.details(),
            Self::Exchange(error) => error.details,
            Self::Timeout => "response_timeout",
            Self::PerTryTimeout => "upstream_per_try_timeout",
            Self::PerTryIdle => "upstream_per_try_idle_timeout",
        }
    }
}

/// A response whose body may still be on its way.
pub(crate) struct Answer {
    pub(crate) head: ResponseHead,
    pub(crate) body: Answered,
    pub(crate) host: Rc<Host>,
    /// The try that brought it.
    pub(crate) mark: Mark,
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
    upstream: &ClusterView<I>,
    mut request: Request,
    cx: &StreamCx,
    deadline: &mut Deadline,
    tries: &mut Tries,
) -> Result<Answer, Failure> {
    let cluster = &upstream.cluster;
    let mut reuse = Reuse::Allowed;
    loop {
        let host = cluster.pick(tries.want(&cx.conn, &[], 0)).map_err(Failure::Acquire)?;
        tries.host = Some(host.address().clone());
        if tries.auto_host {
            name_host(&mut request.head, &host);
        }
        let mark = Mark::begin(tries.timeline.as_ref(), host.address(), Some(&mut request.head));
        let began = cluster.watches_latency().then(|| cluster.env().now());
        let mut acquire = pin!(cluster.acquire(&host, reuse, Some(&cx.conn)));
        let acquired = std::future::poll_fn(|cx| match acquire.as_mut().poll(cx) {
            Poll::Ready(result) => Poll::Ready(result.map_err(Failure::Acquire)),
            Poll::Pending => deadline.poll(cx).map(|()| Err(Failure::Timeout)),
        });
        let mut lease = match acquired.await {
            Ok(lease) => lease,
            // Waiting in line is not the host's fault.
            Err(Failure::Timeout) => {
                mark.failed(Failure::Timeout.details());
                upstream.count_failure(&Failure::Timeout);
                return Err(Failure::Timeout);
            }
            Err(failure) => {
                mark.failed(failure.details());
                return Err(failed(upstream, &host, failure));
            }
        };
        mark.connected(lease.is_reused(), lease.conn().info.opened);
        tries.local = Some(Rc::clone(lease.conn()));
        tries.count += 1;
        let mut exchange = lease.open(request);
        let driven = drive(&mut *exchange, cx, deadline, tries).await;
        note_latency(cluster, &host, began, driven.as_ref().ok().map(|(head, _)| head.status));
        match &driven {
            Ok((head, _)) => mark.answered(head.status),
            Err(failure) => mark.failed(failure.details()),
        }
        match driven {
            Ok((head, BodyStart::Complete(body))) => {
                drop(exchange);
                drop(lease);
                mark.ended();
                return Ok(Answer { head, body: Answered::Complete(body), host: Rc::clone(&host), mark });
            }
            Ok((head, BodyStart::Streaming)) => {
                return Ok(Answer {
                    head,
                    body: Answered::Streaming { exchange, lease: Some(lease) },
                    host: Rc::clone(&host),
                    mark,
                });
            }
            Err(Failure::Exchange(error)) if error.unseen && reuse == Reuse::Allowed && lease.is_reused() => {
                let Some(again) = exchange.reclaim() else {
                    return Err(failed(upstream, &host, Failure::Exchange(error)));
                };
                drop(exchange);
                drop(lease);
                (request, reuse) = (again, Reuse::Fresh);
                tries.retried = true;
                upstream.stats.upstream_rq_retry.inc();
            }
            Err(failure) => return Err(failed(upstream, &host, failure)),
        }
    }
}

/// Is told of every try that a host did not answer, whether it is repeated or not; tries that are answered are told to
/// [`health::answered`]. Gives the failure back.
fn failed<I: 'static>(upstream: &ClusterView<I>, host: &Host, failure: Failure) -> Failure {
    upstream.count_failure(&failure);
    health::failed(&upstream.cluster, host, &failure);
    failure
}

/// What a failure counts as, for balancers that prefer quick hosts: failing at once must not look good.
const PENALTY: Duration = Duration::from_secs(1);

/// Tells the balancer how long a host took, if it wants to know. `status` is that of its answer, if it gave one: a host
/// that says at once that it cannot serve (502, 503, 504) has failed as one that says nothing.
fn note_latency<I: 'static>(cluster: &Cluster<I>, host: &Host, began: Option<Time>, status: Option<http::StatusCode>) {
    if let Some(began) = began {
        let took = cluster.env().now().since(began);
        let served = status.is_some_and(|status| !(502..=504).contains(&status.as_u16()));
        cluster.answered_in(host, if served { took } else { took.max(PENALTY) });
    }
}

/// The name of a host becomes the request's, if it has one.
fn name_host(head: &mut RequestHead, host: &Host) {
    if let Some(name) = &host.reach().name {
        let _invalid_stays = head.set_authority(name);
    }
}

/// What the attempts of a request came to, for its log record and the statistics.
#[derive(Default)]
pub(crate) struct Tries {
    /// What the request hashes to.
    pub(crate) hash: Option<u64>,
    /// Where it goes in a cluster of original destinations.
    pub(crate) destination: Option<Box<Address>>,
    /// What hosts must have.
    pub(crate) metadata: Option<std::sync::Arc<Metadata>>,
    /// The name of the host becomes the request's.
    pub(crate) auto_host: bool,
    pub(crate) host: Option<Address>,
    pub(crate) local: Option<Rc<ConnCx>>,
    pub(crate) count: u32,
    pub(crate) retried: bool,
    /// A final response came.
    pub(crate) answered: bool,
    /// Interim responses that came.
    pub(crate) interim: u32,
    /// Interim responses that were passed on.
    pub(crate) passed_on: u32,
    /// What retries add to the response's flags.
    pub(crate) flags: ResponseFlags,
    /// When what happened, if anybody wants to know.
    pub(crate) timeline: Option<Rc<Timeline>>,
}

impl Tries {
    /// The host that is wanted: one that is not in `tried`, if one of `redraws` further draws finds such.
    fn want<'a>(&'a self, owner: &'a ConnCx, tried: &'a [Rc<Host>], redraws: u32) -> Want<'a> {
        let metadata = self.metadata.as_deref();
        let (hash, destination) = (self.hash, self.destination.as_deref());
        Want { hash, tried, redraws, metadata, owner: Some(owner), avoid_priorities: 0, destination }
    }
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
    let mark = Mark::begin(tries.timeline.as_ref(), host.address(), None);
    mark.connected(false, None);
    tries.count += 1;
    let exchange = RawExchange::new(io, request.body, lease, Rc::clone(&cx.conn.env), idle);
    let mut exchange: Box<dyn Exchange> = Box::new(exchange);
    let (head, _) = drive(&mut *exchange, cx, deadline, tries).await?;
    mark.answered(head.status);
    Ok(Answer { head, body: Answered::Streaming { exchange, lease: None }, host, mark })
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
