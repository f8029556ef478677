//! Copies of requests for other clusters. Nothing that becomes of them reaches the caller.

use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use ringway_api::{Body, BodyError, BodyStream, Chunk, ConnCx, Frame, Headers, Io, Request, RequestHead, StreamCx};
use ringway_config::Mirror;
use ringway_upstream::Want;

use super::flight::{Notes, Tried, send};
use super::replay::{Room, small};
use super::{Answered, Failure, failed};
use crate::dialect::Dialect;
use crate::health;
use crate::timeline::Timeline;
use crate::timers::{TimerPool, within};
use crate::view::{ChainView, ClusterView};

/// Content that is copied at most.
const LIMIT: usize = 64 << 10;
/// How long a copy may take whose request has no limit.
const TIMEOUT: Duration = Duration::from_secs(15);

/// What copies of a request are made with.
pub(crate) struct Copies<'a, I: Io> {
    pub(crate) view: &'a ChainView<I>,
    pub(crate) mirrors: &'a [Mirror],
    pub(crate) conn: &'a Rc<ConnCx>,
    pub(crate) dialect: Dialect,
    /// The request's.
    pub(crate) timeline: Option<&'a Rc<Timeline>>,
    /// The request's.
    pub(crate) timeout: Option<Duration>,
}

/// Sends copies of a request where its mirrors say, now or once its content is there. The content, for the request
/// itself.
pub(crate) fn tee<I: Io>(copies: &Copies<'_, I>, head: &RequestHead, body: Body) -> Body {
    let env = &copies.conn.env;
    let hit = copies.mirrors.iter().filter(|mirror| env.random() >> 32 < mirror.share);
    let to: Vec<_> = hit.filter_map(|mirror| copies.view.cluster(mirror.cluster as usize)).map(Rc::clone).collect();
    let Some(first) = to.first() else { return body };
    let mut room = Room::new(&first.replay, &first.stats);
    let mut launch = Launch {
        head: shadow_of(head, copies.dialect, copies.timeline),
        to,
        conn: Rc::clone(copies.conn),
        timers: Rc::clone(&copies.view.timers),
        timeout: copies.timeout.unwrap_or(TIMEOUT),
        dialect: copies.dialect,
    };
    match body {
        Body::Empty => {
            launch.go(Vec::new(), None, room);
            Body::Empty
        }
        Body::Full(chunk) if chunk.len() <= LIMIT && room.take(chunk.len()) => {
            launch.go(vec![small(chunk.clone())], None, room);
            Body::Full(chunk)
        }
        Body::Stream(_) if body.remaining().is_none_or(|bytes| bytes <= LIMIT as u64) => {
            let content = Some(Content { launch, pieces: Vec::new(), bytes: 0, trailers: None, room });
            Body::Stream(Box::new(Tee { body, content }))
        }
        large => {
            launch.too_large();
            large
        }
    }
}

/// A copy's head: `-shadow` behind the host's name (Envoy).
fn shadow_of(head: &RequestHead, dialect: Dialect, timeline: Option<&Rc<Timeline>>) -> RequestHead {
    let mut copy = head.clone();
    copy.headers.detach();
    if let Some(timeline) = timeline {
        timeline.tell_copy(&mut copy);
    }
    // A call has no host, and one that nobody edited goes on as the frame it came in.
    if dialect == Dialect::Rpc {
        return copy;
    }
    let authority = String::from_utf8_lossy(head.authority());
    let named = match authority.rsplit_once(':') {
        // An address in brackets is no name.
        _ if authority.is_empty() || authority.starts_with('[') => return copy,
        Some((name, port)) => format!("{name}-shadow:{port}"),
        None => format!("{authority}-shadow"),
    };
    let set = copy.set_authority(&named);
    debug_assert!(set.is_ok(), "it was an authority before");
    copy
}

/// Copies that wait for their content.
struct Launch<I: Io> {
    head: RequestHead,
    to: Vec<Rc<ClusterView<I>>>,
    conn: Rc<ConnCx>,
    timers: Rc<TimerPool>,
    timeout: Duration,
    dialect: Dialect,
}

impl<I: Io> Launch<I> {
    fn too_large(&self) {
        self.to.iter().for_each(|upstream| upstream.stats.upstream_rq_mirror_overflow.inc());
    }

    /// Sends them, each in a task of its own: how many there may be is for the cluster's limits to say.
    fn go(&mut self, pieces: Vec<Chunk>, trailers: Option<Headers>, room: Room) {
        let room = Rc::new(room);
        for upstream in self.to.drain(..) {
            let body = match pieces.as_slice() {
                [] if trailers.is_none() => Body::Empty,
                [only] if trailers.is_none() => Body::Full(only.clone()),
                several => {
                    let rest: VecDeque<_> = several.iter().cloned().collect();
                    Body::Stream(Box::new(Pieces { rest, trailers: trailers.clone() }))
                }
            };
            let request = Request { head: self.head.clone(), body };
            let (stream, timers) = (StreamCx::new(Rc::clone(&self.conn)), Rc::clone(&self.timers));
            let (timeout, dialect, room) = (self.timeout, self.dialect, Rc::clone(&room));
            self.conn.env.spawn(Box::pin(async move {
                let _room = room;
                shadow(&upstream, request, &stream, &timers, (timeout, dialect)).await;
            }));
        }
    }
}

async fn shadow<I: Io>(
    upstream: &Rc<ClusterView<I>>,
    request: Request,
    stream: &StreamCx,
    timers: &Rc<TimerPool>,
    (timeout, dialect): (Duration, Dialect),
) {
    upstream.stats.upstream_rq_mirrored.inc();
    let original = upstream.cluster.params().original.as_ref();
    let destination = original.and_then(|original| original.of(&stream.conn, Some(&request.head)));
    let Ok(host) = upstream.cluster.pick(Want { destination: destination.as_ref(), ..Want::default() }) else { return };
    let mut timer = timers.take();
    let whole = async {
        let notes = Notes::default();
        let Tried { answer, .. } = send(upstream, &host, request, stream, None, &notes, None).await?;
        upstream.count_response(&answer.head);
        health::answered(upstream, &host, &answer.head, dialect, false);
        if let Answered::Streaming { mut exchange, lease } = answer.body {
            while let Some(Ok(_)) = std::future::poll_fn(|cx| exchange.poll_frame(cx)).await {}
            drop(exchange);
            drop(lease);
        }
        Ok(())
    };
    let outcome = within(&mut timer, timeout, whole).await.unwrap_or(Err(Failure::Timeout));
    if let Err(failure) = outcome {
        let _counted = failed(upstream, &host, failure);
    }
}

/// Content that is kept on its way, until there is too much of it.
struct Tee<I: Io> {
    body: Body,
    content: Option<Content<I>>,
}

struct Content<I: Io> {
    launch: Launch<I>,
    pieces: Vec<Chunk>,
    bytes: usize,
    trailers: Option<Headers>,
    room: Room,
}

impl<I: Io> BodyStream for Tee<I> {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        let polled = self.body.poll_frame(cx);
        let (Some(content), Poll::Ready(frame)) = (&mut self.content, &polled) else { return polled };
        let complete = match frame {
            Some(Ok(Frame::Data(chunk))) => {
                if content.bytes + chunk.len() > LIMIT || !content.room.take(chunk.len()) {
                    content.launch.too_large();
                    self.content = None;
                    return polled;
                }
                content.bytes += chunk.len();
                content.pieces.push(small(chunk.clone()));
                // Whoever knows the length need not ask for the end.
                self.body.remaining() == Some(0)
            }
            Some(Ok(Frame::Trailers(trailers))) => {
                content.trailers = Some(trailers.clone());
                true
            }
            // What its caller gave up is not worth copying.
            Some(Err(_)) => {
                self.content = None;
                false
            }
            None => true,
        };
        if complete && let Some(Content { mut launch, pieces, trailers, room, .. }) = self.content.take() {
            launch.go(pieces, trailers, room);
        }
        polled
    }

    fn remaining(&self) -> Option<u64> {
        self.body.remaining()
    }
}

/// A copy's content.
struct Pieces {
    rest: VecDeque<Chunk>,
    trailers: Option<Headers>,
}

impl BodyStream for Pieces {
    fn poll_frame(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        let data = self.rest.pop_front().map(Frame::Data);
        Poll::Ready(data.or_else(|| self.trailers.take().map(Frame::Trailers)).map(Ok))
    }

    fn remaining(&self) -> Option<u64> {
        Some(self.rest.iter().map(|piece| piece.len() as u64).sum())
    }
}
