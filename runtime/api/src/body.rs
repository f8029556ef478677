//! Message content: a bounded pull stream.

use std::fmt;
use std::task::{Context, Poll};

use crate::{Blame, Chunk, Headers};

/// The content of a message. Nothing is read ahead of its consumer but what the transport bounds.
#[derive(Debug, Default)]
pub enum Body {
    /// No content.
    #[default]
    Empty,
    /// All of the content, and no trailers.
    Full(Chunk),
    /// Content that is still arriving. Dropping it before its end cancels what feeds it.
    Stream(Box<dyn BodyStream>),
}

/// A piece of content.
#[derive(Debug)]
pub enum Frame {
    /// Bytes of the content.
    Data(Chunk),
    /// The trailer section (RFC 9110, section 6.5); nothing follows it.
    Trailers(Headers),
}

/// What feeds a [`Body::Stream`].
pub trait BodyStream {
    /// The next frame, or `None` at the end of the content. After `None` or an error it is not polled again.
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>>;

    /// The bytes still to come when they are known (from `Content-Length`, say), trailers excluded.
    fn remaining(&self) -> Option<u64>;
}

impl fmt::Debug for dyn BodyStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BodyStream(remaining {:?})", self.remaining())
    }
}

/// Content that ended before its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodyError {
    /// Who caused it.
    pub blame: Blame,
    /// What happened, for logs; a word such as `reset`, `malformed_chunk`, `stream_idle_timeout`.
    pub details: &'static str,
    /// The status to answer with when no response head has gone out yet (a request body's fault), if one fits.
    pub status: Option<http::StatusCode>,
}

impl BodyError {
    /// An error of this cause.
    pub const fn new(blame: Blame, details: &'static str) -> Self {
        Self { blame, details, status: None }
    }

    /// The same error, to be answered with `status` while that is still possible.
    #[must_use]
    pub const fn with_status(mut self, status: http::StatusCode) -> Self {
        self.status = Some(status);
        self
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "content ended early: {} ({})", self.details, self.blame)
    }
}

impl std::error::Error for BodyError {}

impl Body {
    /// True when there is certainly no content.
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Full(chunk) => chunk.is_empty(),
            Self::Stream(_) => false,
        }
    }

    /// The bytes still to come when they are known.
    pub fn remaining(&self) -> Option<u64> {
        match self {
            Self::Empty => Some(0),
            Self::Full(chunk) => Some(chunk.len() as u64),
            Self::Stream(stream) => stream.remaining(),
        }
    }

    /// The next frame, or `None` at the end; as [`BodyStream::poll_frame`].
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        match self {
            Self::Empty => Poll::Ready(None),
            Self::Full(_) => match std::mem::take(self) {
                Self::Full(chunk) if !chunk.is_empty() => Poll::Ready(Some(Ok(Frame::Data(chunk)))),
                _ => Poll::Ready(None),
            },
            Self::Stream(stream) => stream.poll_frame(cx),
        }
    }
}
