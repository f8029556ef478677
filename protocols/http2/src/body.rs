//! Content as it is received.

use std::cell::Cell;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use h2::RecvStream;
use ringway_api::{Blame, BodyError, BodyStream, Chunk, Frame};

use crate::{fault, head};

/// The content of a message. The peer may send more as fast as it is taken: windows are given back here.
pub(crate) struct RecvBody {
    stream: RecvStream,
    /// Who sends it.
    peer: Blame,
    remaining: Option<u64>,
    received: Rc<Cell<u64>>,
    data_ended: bool,
}

impl RecvBody {
    /// `length` is what `content-length` says. `received` is told what has come.
    pub(crate) fn new(stream: RecvStream, peer: Blame, length: Option<u64>, received: Rc<Cell<u64>>) -> Self {
        Self { stream, peer, remaining: length, received, data_ended: false }
    }

    /// True once nothing more can come.
    pub(crate) fn is_over(&self) -> bool {
        self.stream.is_end_stream()
    }

    fn take(&mut self, chunk: Chunk) -> Result<Frame, BodyError> {
        // RFC 9113, section 5.2: what the consumer has taken may be sent anew.
        let released = self.stream.flow_control().release_capacity(chunk.len());
        released.map_err(|error| fault::body(&error, self.peer))?;
        let len = chunk.len() as u64;
        self.remaining = self.remaining.map(|remaining| remaining.saturating_sub(len));
        self.received.set(self.received.get() + len);
        Ok(Frame::Data(chunk))
    }
}

impl BodyStream for RecvBody {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        while !self.data_ended {
            match ready!(self.stream.poll_data(cx)) {
                Some(Ok(bytes)) if bytes.is_empty() => {}
                Some(Ok(bytes)) => {
                    let frame = self.take(Chunk::from(bytes));
                    return Poll::Ready(Some(frame));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(fault::body(&error, self.peer)))),
                None => self.data_ended = true,
            }
        }
        Poll::Ready(match ready!(self.stream.poll_trailers(cx)) {
            Ok(Some(fields)) => {
                let fields = head::trailers(&fields).map_err(|details| BodyError::new(self.peer, details));
                Some(fields.map(Frame::Trailers))
            }
            Ok(None) => None,
            Err(error) => Some(Err(fault::body(&error, self.peer))),
        })
    }

    fn remaining(&self) -> Option<u64> {
        self.remaining
    }
}
