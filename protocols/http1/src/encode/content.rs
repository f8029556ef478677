//! Content on its way out.

use std::io;
use std::task::{Context, Poll};

use ringway_api::{Blame, Body, BodyError, Chunk, ChunkQueue, Frame};

use super::{COPY_LIMIT, Delimit, field_section};
use crate::options::HeaderCase;

/// Frames content behind a head and joins small pieces.
#[derive(Debug)]
pub(crate) struct ContentWriter {
    /// Written bytes that wait for more to go with them: the head at first.
    pending: Vec<u8>,
    framing: Framing,
    case: HeaderCase,
    /// Nothing more will be written.
    pub(crate) done: bool,
    /// Content bytes written, without framing.
    pub(crate) written: u64,
    /// The last poll waited for the peer to take bytes, not for content.
    pub(crate) blocked: bool,
    /// The peer has taken bytes since this was last cleared.
    pub(crate) moved: bool,
    /// Written and not yet taken by the transport.
    pub(crate) out: ChunkQueue,
}

#[derive(Clone, Copy, Debug)]
enum Framing {
    Exactly(u64),
    Chunked,
    UntilClose,
}

/// Why content could not be written to its end.
#[derive(Debug)]
pub(crate) enum ContentEnd {
    /// The transport failed.
    Transport,
    /// The content's source failed.
    Source(BodyError),
}

impl ContentWriter {
    /// A writer of content so delimited, behind this head and what `out` holds. `body` is taken into the first piece where it is small;
    /// what is left of it must be given to [`poll_content`].
    pub(crate) fn new(head: Vec<u8>, delimit: Delimit, case: HeaderCase, body: &mut Body, out: ChunkQueue) -> Self {
        let framing = match delimit {
            Delimit::Nothing | Delimit::AsDeclared => Framing::Exactly(0),
            Delimit::Length(length) => Framing::Exactly(length),
            Delimit::Chunked => Framing::Chunked,
            Delimit::UntilClose => Framing::UntilClose,
        };
        let mut writer =
            Self { pending: head, framing, case, done: false, written: 0, blocked: false, moved: false, out };
        match (&*body, delimit) {
            (_, Delimit::Nothing | Delimit::AsDeclared) => *body = Body::Empty,
            (Body::Full(_), _) => {
                if let Body::Full(chunk) = std::mem::take(body) {
                    writer.written = chunk.len() as u64;
                    writer.raw(chunk);
                }
            }
            (Body::Stream(_), _) => return writer,
            (Body::Empty, _) => {}
        }
        writer.flush();
        writer.done = true;
        writer
    }

    /// A writer of a tunnel's bytes behind a head.
    pub(crate) fn tunnel(head: Vec<u8>, case: HeaderCase, out: ChunkQueue) -> Self {
        let mut writer = Self::new(head, Delimit::Nothing, case, &mut Body::Empty, out);
        (writer.framing, writer.done) = (Framing::UntilClose, false);
        writer
    }

    /// Room for content in a head's buffer, so that it need not grow when a small body follows.
    pub(crate) fn room(head: usize, body: &Body) -> usize {
        match body {
            Body::Full(chunk) if head + chunk.len() <= COPY_LIMIT => head + chunk.len(),
            _ => head,
        }
    }

    fn frame(&mut self, frame: Frame) -> Result<(), BodyError> {
        match frame {
            Frame::Data(chunk) if chunk.is_empty() => {}
            Frame::Data(chunk) => {
                let len = chunk.len() as u64;
                match &mut self.framing {
                    Framing::Exactly(left) if *left < len => {
                        return Err(BodyError::new(Blame::Local, "content_exceeds_length"));
                    }
                    Framing::Exactly(left) => *left -= len,
                    Framing::Chunked => hex(len, &mut self.pending),
                    Framing::UntilClose => {}
                }
                self.written += len;
                self.raw(chunk);
                match self.framing {
                    Framing::Chunked => self.pending.extend_from_slice(b"\r\n"),
                    // The length says that nothing follows; no need to hear it from the source too.
                    Framing::Exactly(0) => {
                        self.flush();
                        self.done = true;
                    }
                    Framing::Exactly(_) | Framing::UntilClose => {}
                }
            }
            Frame::Trailers(trailers) => {
                // Other framings have no place for them.
                if matches!(self.framing, Framing::Chunked) {
                    self.pending.extend_from_slice(b"0\r\n");
                    field_section(&trailers, self.case, &mut self.pending);
                    self.pending.extend_from_slice(b"\r\n");
                    self.flush();
                    self.done = true;
                }
            }
        }
        Ok(())
    }

    fn end(&mut self) -> Result<(), BodyError> {
        if self.done {
            return Ok(());
        }
        match self.framing {
            Framing::Exactly(0) | Framing::UntilClose => {}
            Framing::Exactly(_) => return Err(BodyError::new(Blame::Local, "content_short_of_length")),
            Framing::Chunked => self.pending.extend_from_slice(b"0\r\n\r\n"),
        }
        self.flush();
        self.done = true;
        Ok(())
    }

    /// Hands over what is written; ready when the transport has room for more.
    fn poll_out(
        &mut self,
        cx: &mut Context<'_>,
        send: &mut impl FnMut(&mut Context<'_>, &mut ChunkQueue) -> Poll<io::Result<()>>,
    ) -> Poll<Result<(), ContentEnd>> {
        let before = self.out.bytes();
        let sent = send(cx, &mut self.out);
        self.moved |= self.out.bytes() < before;
        match sent {
            // All taken is enough at the end; before it, the transport's room paces the source.
            Poll::Pending if !(self.done && self.out.is_empty()) => {
                self.blocked = true;
                Poll::Pending
            }
            Poll::Ready(Err(_)) => Poll::Ready(Err(ContentEnd::Transport)),
            _ => {
                self.blocked = false;
                Poll::Ready(Ok(()))
            }
        }
    }

    /// Writes bytes as they are: joined to what is pending when both are small, else on their own.
    fn raw(&mut self, chunk: Chunk) {
        if self.pending.len() + chunk.len() <= COPY_LIMIT {
            self.pending.extend_from_slice(&chunk);
        } else {
            self.flush();
            self.out.push(chunk);
        }
    }

    fn flush(&mut self) {
        if !self.pending.is_empty() {
            self.out.push(Chunk::from(std::mem::take(&mut self.pending)));
        }
    }
}

/// Moves content from `body` through `send` until all of it has been taken. Holds at most one frame beside what the
/// transport holds.
pub(crate) fn poll_content(
    cx: &mut Context<'_>,
    writer: &mut ContentWriter,
    body: &mut Body,
    mut send: impl FnMut(&mut Context<'_>, &mut ChunkQueue) -> Poll<io::Result<()>>,
) -> Poll<Result<(), ContentEnd>> {
    loop {
        if !writer.out.is_empty() && writer.poll_out(cx, &mut send)?.is_pending() {
            return Poll::Pending;
        }
        if writer.done {
            return Poll::Ready(Ok(()));
        }
        // A frame may leave bytes pending that the next one joins; those go out when the source has nothing now.
        match body.poll_frame(cx) {
            Poll::Ready(Some(frame)) => {
                frame.and_then(|frame| writer.frame(frame)).map_err(ContentEnd::Source)?;
            }
            Poll::Ready(None) => writer.end().map_err(ContentEnd::Source)?,
            Poll::Pending => {
                writer.flush();
                if !writer.out.is_empty() && writer.poll_out(cx, &mut send)?.is_ready() {
                    // Nothing more to send now, and the source will wake us.
                    writer.blocked = false;
                }
                return Poll::Pending;
            }
        }
    }
}

fn hex(number: u64, out: &mut Vec<u8>) {
    let digits = (16 - number.leading_zeros() as usize / 4).max(1);
    for place in (0..digits).rev() {
        let digit = (number >> (4 * place)) as usize & 15;
        out.push(b"0123456789abcdef".get(digit).copied().unwrap_or(b'0'));
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunk_sizes_are_hexadecimal() {
        for number in [0, 1, 15, 16, 255, 256, 0x1_0000, u64::MAX] {
            let mut out = Vec::new();
            hex(number, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), format!("{number:x}\r\n"));
        }
    }
}
