//! A response body on its way from a host.

use std::task::{Context, Poll};

use ringway_api::{Blame, BodyError, BodyStream, Exchange, Frame, Headers};
use ringway_upstream::{Lease, Outcome};

use super::Deadline;
use crate::health::BodyWatch;
use crate::timeline::Mark;
use crate::tunnel::IdleLimit;

/// Looks at trailers.
pub(crate) type TrailersFn = Box<dyn FnMut(&Headers)>;

/// A response body on its way from the upstream, cut at the route's deadline.
pub(crate) struct ResponseBody {
    pub(crate) exchange: Box<dyn Exchange>,
    /// After the exchange: see [`Answered::Streaming`](super::Answered::Streaming).
    pub(crate) _lease: Option<Lease>,
    pub(crate) deadline: Deadline,
    /// Of a tunnel, which has no deadline.
    pub(crate) idle: Option<IdleLimit>,
    /// Is told the trailers.
    pub(crate) on_trailers: Option<TrailersFn>,
    /// Of a host that outlier detection watches.
    pub(crate) watch: Option<BodyWatch>,
    /// The try it is of.
    pub(crate) mark: Mark,
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
                match &ready {
                    Poll::Ready(None | Some(Ok(Frame::Trailers(_)))) => self.mark.ended(),
                    // Whoever knows the length does not ask for the end.
                    Poll::Ready(Some(Ok(_))) if self.exchange.remaining() == Some(0) => self.mark.ended(),
                    Poll::Ready(Some(Err(error))) => self.mark.failed(error.details),
                    _ => {}
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
