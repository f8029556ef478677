//! A body that something is kept for until its end.

use std::task::{Context, Poll, ready};

use ringway_api::{Body, BodyError, BodyStream, Frame};

/// What is kept. Dropped without a word when the body is given up.
pub(crate) trait Kept: 'static {
    /// The body has come to its end, in order.
    fn complete(self);
}

struct Held<K> {
    body: Body,
    kept: Option<K>,
}

/// Keeps `kept` until the body has ended, if it has not yet.
pub(crate) fn hold<K: Kept>(body: Body, kept: K) -> Body {
    if matches!(body, Body::Stream(_)) {
        return Body::Stream(Box::new(Held { body, kept: Some(kept) }));
    }
    kept.complete();
    body
}

impl<K: Kept> BodyStream for Held<K> {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        let frame = ready!(self.body.poll_frame(cx));
        let ended = match &frame {
            None | Some(Ok(Frame::Trailers(_))) => true,
            // Who knows the length need not ask for the end.
            Some(Ok(Frame::Data(_))) => self.body.remaining() == Some(0),
            Some(Err(_)) => {
                self.kept = None;
                false
            }
        };
        if let Some(kept) = self.kept.take_if(|_| ended) {
            kept.complete();
        }
        Poll::Ready(frame)
    }

    fn remaining(&self) -> Option<u64> {
        self.body.remaining()
    }
}
