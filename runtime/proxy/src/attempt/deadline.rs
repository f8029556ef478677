//! How long a request may take, and how far it has come.

use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use ringway_api::{Body, BodyError, BodyStream, Frame, Time};

use crate::timeline::Timeline;
use crate::timers::PooledTimer;

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

    /// What is left at `now`; all of it while the request is still arriving. `None` where there is no limit.
    pub(crate) fn left(&self, now: Time) -> Option<Duration> {
        match self.timer.deadline() {
            Some(at) => Some(at.since(now)),
            None => self.limit,
        }
    }

    /// Whether the request has arrived as a whole.
    pub(crate) fn is_running(&self) -> bool {
        self.request.as_ref().is_none_or(|request| request.ended.get())
    }

    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
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
    timeline: Option<Rc<Timeline>>,
}

impl CountedBody {
    /// Wraps a body that is still arriving; one that is there is left alone.
    pub(crate) fn wrap(body: Body, timeline: Option<&Rc<Timeline>>) -> (Body, u64, Option<Rc<RequestProgress>>) {
        match body {
            Body::Stream(_) => {
                let progress = Rc::new(RequestProgress::default());
                let counted = Self { body, progress: Rc::clone(&progress), timeline: timeline.cloned() };
                (Body::Stream(Box::new(counted)), 0, Some(progress))
            }
            whole => {
                let len = whole.remaining().unwrap_or(0);
                (whole, len, None)
            }
        }
    }
}

impl CountedBody {
    fn end(&self) {
        if !self.progress.ended.replace(true)
            && let Some(timeline) = &self.timeline
        {
            timeline.request_ended();
        }
    }
}

impl BodyStream for CountedBody {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        let polled = self.body.poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(Frame::Data(chunk)))) => {
                self.progress.bytes.set(self.progress.bytes.get() + chunk.len() as u64);
                // Whoever knows the length does not ask for the end.
                if self.body.remaining() == Some(0) {
                    self.end();
                }
            }
            Poll::Ready(None | Some(Ok(Frame::Trailers(_)))) => self.end(),
            _ => {}
        }
        polled
    }

    fn remaining(&self) -> Option<u64> {
        self.body.remaining()
    }
}
