//! The content of a response with its status at the end, in base64 where the client wants text.

use std::task::{Context, Poll, ready};

use ringway_api::{Body, BodyError, BodyStream, Chunk, Frame, Headers};

use super::status::{self, EarlyStatus};
use super::text::Encoder;

/// The most content that is encoded at once, whole groups of three: what comes of it is 16 KiB.
const PIECE: usize = 12 * 1024;

/// gRPC's content and trailers as gRPC-Web's content.
pub(crate) struct WebResponse {
    inner: Body,
    /// Received and not yet encoded; only for text.
    waiting: Chunk,
    text: Option<Encoder>,
    early: Option<EarlyStatus>,
    /// A response without a status gets one.
    owed: bool,
    ended: bool,
}

impl WebResponse {
    pub(crate) fn new(inner: Body, text: bool, early: Option<EarlyStatus>, owed: bool) -> Self {
        let text = text.then(Encoder::default);
        Self { inner, waiting: Chunk::EMPTY, text, early, owed, ended: false }
    }

    /// The last piece of content, if anything is left to say.
    fn end(&mut self, trailers: Option<&Headers>) -> Option<Result<Frame, BodyError>> {
        self.ended = true;
        let frame = status::frame(trailers, self.early.take(), self.owed);
        let last = match &mut self.text {
            Some(encoder) => encoder.finish(&frame.unwrap_or_default()),
            None => frame.unwrap_or_default(),
        };
        if last.is_empty() { None } else { Some(Ok(Frame::Data(Chunk::from(last)))) }
    }
}

impl BodyStream for WebResponse {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        loop {
            if let Some(encoder) = &mut self.text
                && !self.waiting.is_empty()
            {
                let encoded = encoder.encode(&self.waiting.split_to(PIECE));
                if encoded.is_empty() {
                    continue;
                }
                return Poll::Ready(Some(Ok(Frame::Data(Chunk::from(encoded)))));
            }
            match ready!(self.inner.poll_frame(cx)) {
                Some(Ok(Frame::Data(chunk))) if self.text.is_some() => self.waiting = chunk,
                Some(Ok(Frame::Trailers(trailers))) => return Poll::Ready(self.end(Some(&trailers))),
                None => return Poll::Ready(self.end(None)),
                passed => return Poll::Ready(passed),
            }
        }
    }

    fn remaining(&self) -> Option<u64> {
        None
    }
}
