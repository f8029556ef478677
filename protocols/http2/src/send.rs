//! Content as it is sent.

use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Buf;
use h2::{Reason, SendStream};
use ringway_api::{Blame, Body, BodyError, Chunk, Frame};

use crate::adaptor::Watch;
use crate::{fault, head};

/// A chunk as h2 takes it.
pub(crate) struct Payload(Chunk);

impl Buf for Payload {
    fn remaining(&self) -> usize {
        self.0.len()
    }

    fn chunk(&self) -> &[u8] {
        &self.0
    }

    fn advance(&mut self, count: usize) {
        self.0.advance(count);
    }
}

/// Sends the content of a message on a stream, no faster than the peer's window allows.
pub(crate) struct Sender {
    stream: SendStream<Payload>,
    body: Body,
    /// The frame that comes next, looked at to know whether the one before is the last.
    next: Next,
    watch: Rc<Watch>,
    pub(crate) sent: u64,
    done: bool,
}

enum Next {
    Unknown,
    Data(Chunk),
    /// All content has been handed over, and this ends the stream.
    Over(Option<ringway_api::Headers>),
}

impl Sender {
    pub(crate) fn new(stream: SendStream<Payload>, body: Body, watch: Rc<Watch>) -> Self {
        Self { stream, body, next: Next::Unknown, watch, sent: 0, done: false }
    }

    /// A sender with nothing to send.
    pub(crate) fn ended(stream: SendStream<Payload>, watch: Rc<Watch>) -> Self {
        Self { done: true, ..Self::new(stream, Body::Empty, watch) }
    }

    pub(crate) fn is_done(&self) -> bool {
        self.done
    }

    /// The content, if none of it has been taken.
    pub(crate) fn reclaim(&mut self) -> Option<Body> {
        let untouched = self.sent == 0 && matches!(self.next, Next::Unknown);
        untouched.then(|| std::mem::take(&mut self.body))
    }

    /// Whether it waits for the peer to take content, rather than for content.
    pub(crate) fn is_blocked(&self) -> bool {
        matches!(self.next, Next::Data(_))
    }

    /// Changes with every piece that is sent.
    pub(crate) fn progress(&self) -> u64 {
        self.sent
    }

    /// Gives the stream up.
    pub(crate) fn reset(&mut self, reason: Reason) {
        self.done = true;
        self.stream.send_reset(reason);
    }

    /// Ready once all has been handed to h2, which sends it on. Errors of the body's own side come as they are; `peer`
    /// is who receives, for the others. An error has reset the stream.
    pub(crate) fn poll(&mut self, peer: Blame, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        while !self.done {
            if matches!(self.next, Next::Unknown) {
                self.next = match ready!(self.poll_body(peer, cx))? {
                    Some(Frame::Data(chunk)) => Next::Data(chunk),
                    Some(Frame::Trailers(fields)) => Next::Over(Some(fields)),
                    None => Next::Over(None),
                };
            }
            match std::mem::replace(&mut self.next, Next::Unknown) {
                Next::Unknown => {}
                Next::Data(chunk) => ready!(self.poll_data(chunk, peer, cx))?,
                Next::Over(fields) => {
                    let sent = match fields {
                        Some(fields) => self.stream.send_trailers(head::fields(&fields)),
                        None => self.send(Chunk::EMPTY, true),
                    };
                    sent.map_err(|error| fault::body(&error, peer))?;
                    self.done = true;
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    /// The next frame of the body; while there is none, the peer's reset is looked out for.
    fn poll_body(&mut self, peer: Blame, cx: &mut Context<'_>) -> Poll<Result<Option<Frame>, BodyError>> {
        match self.body.poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => Poll::Ready(Ok(Some(frame))),
            Poll::Ready(None) => Poll::Ready(Ok(None)),
            Poll::Ready(Some(Err(error))) => {
                // RFC 9113, section 8.1.1: an incomplete message must not look complete.
                self.reset(Reason::INTERNAL_ERROR);
                Poll::Ready(Err(error))
            }
            Poll::Pending => self.poll_reset(peer, cx).map(Err),
        }
    }

    fn poll_data(&mut self, mut chunk: Chunk, peer: Blame, cx: &mut Context<'_>) -> Poll<Result<(), BodyError>> {
        self.stream.reserve_capacity(chunk.len());
        let room = match self.stream.capacity() {
            0 => match self.stream.poll_capacity(cx) {
                Poll::Ready(Some(Ok(room))) => room,
                Poll::Ready(Some(Err(error))) => return Poll::Ready(Err(fault::body(&error, peer))),
                Poll::Ready(None) => return Poll::Ready(Err(BodyError::new(peer, "http2_remote_reset"))),
                Poll::Pending => {
                    self.next = Next::Data(chunk);
                    return self.poll_reset(peer, cx).map(Err);
                }
            },
            room => room,
        };
        let part = chunk.split_to(room);
        let len = part.len() as u64;
        if !chunk.is_empty() {
            self.next = Next::Data(chunk);
            self.send(part, false).map_err(|error| fault::body(&error, peer))?;
            self.sent += len;
            return Poll::Ready(Ok(()));
        }
        // The end can travel with the last content, if it is known already.
        let over = match self.body.poll_frame(cx) {
            Poll::Ready(None) => true,
            Poll::Ready(Some(Ok(Frame::Data(chunk)))) => {
                self.next = Next::Data(chunk);
                false
            }
            Poll::Ready(Some(Ok(Frame::Trailers(fields)))) => {
                self.next = Next::Over(Some(fields));
                false
            }
            Poll::Ready(Some(Err(error))) => {
                self.reset(Reason::INTERNAL_ERROR);
                return Poll::Ready(Err(error));
            }
            Poll::Pending => false,
        };
        self.send(part, over).map_err(|error| fault::body(&error, peer))?;
        self.sent += len;
        self.done = over;
        Poll::Ready(Ok(()))
    }

    fn send(&mut self, chunk: Chunk, end: bool) -> Result<(), h2::Error> {
        self.watch.data_sent.set(self.watch.data_sent.get().saturating_add(1));
        self.stream.send_data(Payload(chunk), end)
    }

    fn poll_reset(&mut self, peer: Blame, cx: &mut Context<'_>) -> Poll<BodyError> {
        match ready!(self.stream.poll_reset(cx)) {
            Ok(_) => Poll::Ready(BodyError::new(peer, "http2_remote_reset")),
            Err(error) => Poll::Ready(fault::body(&error, peer)),
        }
    }
}
