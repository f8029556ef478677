//! The content of a `-text` request, decoded.

use std::task::{Context, Poll, ready};

use http::StatusCode;
use ringway_api::{Blame, Body, BodyError, BodyStream, Chunk, Frame};

use super::text::{Decoder, Malformed};

/// The most base64 that is decoded at once: what comes of it is 12 KiB.
const PIECE: usize = 16 * 1024;

/// What was base64 as it came, in bytes.
pub(crate) struct TextRequest {
    inner: Body,
    /// Received and not yet decoded.
    waiting: Chunk,
    decoder: Decoder,
}

impl TextRequest {
    pub(crate) fn new(inner: Body) -> Self {
        Self { inner, waiting: Chunk::EMPTY, decoder: Decoder::default() }
    }
}

impl BodyStream for TextRequest {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        loop {
            if !self.waiting.is_empty() {
                let piece = self.waiting.split_to(PIECE);
                match self.decoder.decode(&piece) {
                    Ok(decoded) if decoded.is_empty() => continue,
                    Ok(decoded) => return Poll::Ready(Some(Ok(Frame::Data(Chunk::from(decoded))))),
                    Err(Malformed) => return Poll::Ready(Some(Err(bad("grpc_web_bad_base64")))),
                }
            }
            match ready!(self.inner.poll_frame(cx)) {
                Some(Ok(Frame::Data(chunk))) => self.waiting = chunk,
                Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                _ if self.decoder.is_midway() => return Poll::Ready(Some(Err(bad("grpc_web_truncated_base64")))),
                end => return Poll::Ready(end),
            }
        }
    }

    fn remaining(&self) -> Option<u64> {
        None
    }
}

fn bad(details: &'static str) -> BodyError {
    BodyError::new(Blame::Downstream, details).with_status(StatusCode::BAD_REQUEST)
}
