//! The stream of plaintext.

use std::fmt;
use std::io;
use std::task::{Context, Poll, Waker, ready};

use ringway_api::{Chunk, ChunkQueue, Io};
use rustls::AlertDescription;
use rustls::crypto::cipher::OutboundChunks;

use super::fault::Fault;
use super::record::{Incoming, MAX_PLAINTEXT};
use super::session::{Opened, Session};

/// Plaintext that is sealed before the stream below is asked to take it.
const BATCH: usize = 8 * MAX_PLAINTEXT;
/// Chunks that one record gathers at most.
const MAX_PARTS: usize = 16;

/// TLS over a byte stream: plaintext above, records below.
///
/// - What arrives is decrypted where it lies when a whole record lies in one chunk of an engine's, in a copy of just
///   that record otherwise. One record at a time is decrypted: what waits below stays the stream's below.
/// - What is sent becomes records of up to 16 KiB; small chunks share one. Besides what the stream below holds, at most
///   128 KiB of sealed records wait.
/// - [`poll_shutdown`](Io::poll_shutdown) and dropping send the closure alert (RFC 8446, section 6.1). The peer's makes
///   [`poll_recv`](Io::poll_recv) return `None`; an end without it is an error of kind
///   [`UnexpectedEof`](io::ErrorKind::UnexpectedEof): what came before may be cut short. Sending works after either.
/// - An idle connection holds its keys and no buffer.
/// - [`provably_unseen`](Io::provably_unseen) speaks of the stream below, and so of ciphertext.
///
/// Other errors: `InvalidData` when the peer broke the protocol (it has been sent the alert), `ConnectionReset` when it
/// sent a fatal alert; [`details`](super::details) has the word for each. All are sticky.
pub struct TlsStream<I: Io> {
    io: I,
    session: Session,
    incoming: Incoming,
    /// Put back by the owner.
    unread: Vec<Chunk>,
    /// Records that the stream below has not taken.
    sealed: ChunkQueue,
    failed: Option<Fault>,
    /// The peer's side.
    peer: Peer,
    /// We have closed ours.
    closed: bool,
    /// The sending task waits for the stream below, so that the receiving one must not take its place.
    sender_waits: bool,
}

/// What the peer's side is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    Open,
    /// It said that nothing more will come.
    Closed,
    /// Its transport ended without a word. Ours may still work.
    Cut,
}

impl<I: Io> TlsStream<I> {
    pub(super) fn new(io: I, session: Session, incoming: Incoming) -> Self {
        Self {
            io,
            session,
            incoming,
            unread: Vec::new(),
            sealed: ChunkQueue::new(),
            failed: None,
            peer: Peer::Open,
            closed: false,
            sender_waits: false,
        }
    }

    /// The stream below.
    pub fn inner(&self) -> &I {
        &self.io
    }

    /// Seals the closure alert and has the stream below take what it will; returns the rest. For a stream that is
    /// dropped: nobody looks at what becomes of it any more.
    pub(crate) fn farewell(&mut self) -> (&I, &mut ChunkQueue) {
        if self.failed.is_none()
            && let Err(fault) = self.seal_close()
        {
            self.failed = Some(fault);
        }
        if !self.sealed.is_empty() {
            let _sent_or_waits = self.io.poll_send(&mut Context::from_waker(Waker::noop()), &mut self.sealed);
        }
        (&self.io, &mut self.sealed)
    }

    /// The next plaintext that is there already.
    fn next_plaintext(&mut self) -> Result<Option<Chunk>, Fault> {
        while let Some(record) = self.incoming.next()? {
            let (mut chunk, opened) = record.change(|bytes| self.session.open(bytes, &mut self.sealed));
            match opened? {
                Opened::Data(range) => {
                    chunk.truncate(range.end);
                    chunk.advance(range.start);
                    return Ok(Some(chunk));
                }
                Opened::Nothing => {}
                Opened::Closed => {
                    self.peer = Peer::Closed;
                    // Whatever follows is ignored (RFC 8446, section 6.1).
                    self.incoming.clear();
                    return Ok(None);
                }
            }
        }
        Ok(None)
    }

    /// Remembers a fault and tells the peer.
    fn fail(&mut self, fault: Fault, cx: &mut Context<'_>) -> io::Error {
        self.failed = Some(fault);
        self.incoming.clear();
        if let Some(alert) = fault.alert
            && !self.closed
            && self.session.seal_alert(alert, &mut self.sealed).is_ok()
        {
            self.closed = true;
            self.send_asides(cx);
        }
        fault.into()
    }

    /// Sends what receiving has made necessary, if the stream below takes it: the sender does so otherwise.
    fn send_asides(&mut self, cx: &mut Context<'_>) {
        if !self.sealed.is_empty() && !self.sender_waits {
            // An error shows itself to whoever receives or sends next.
            let _sent_or_waits = self.io.poll_send(cx, &mut self.sealed);
        }
    }

    /// Has the stream below take all records; ready when it has room for more.
    fn poll_sealed(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = self.io.poll_send(cx, &mut self.sealed);
        self.sender_waits = polled.is_pending();
        polled
    }

    /// Seals some of `out`.
    fn seal(&mut self, out: &mut ChunkQueue) -> Result<(), Fault> {
        self.session.settle(&mut self.sealed)?;
        let mut sealed = 0;
        while sealed < BATCH && !out.is_empty() {
            let mut parts = [&[][..]; MAX_PARTS];
            let (mut count, mut len) = (0, 0);
            for (part, chunk) in parts.iter_mut().zip(out.iter()) {
                let room = MAX_PLAINTEXT - len;
                *part = chunk.get(..room).unwrap_or(chunk);
                (count, len) = (count + 1, len + part.len());
                if len == MAX_PLAINTEXT {
                    break;
                }
            }
            let content = match &parts[..count] {
                [one] => OutboundChunks::Single(one),
                more => OutboundChunks::Multiple { chunks: more, start: 0, end: len },
            };
            self.session.seal(content, &mut self.sealed)?;
            out.advance(len);
            sealed += len;
        }
        Ok(())
    }

    fn seal_close(&mut self) -> Result<(), Fault> {
        if !self.closed {
            self.closed = true;
            self.session.settle(&mut self.sealed)?;
            self.session.seal_alert(AlertDescription::CloseNotify, &mut self.sealed)?;
        }
        Ok(())
    }
}

impl<I: Io> Io for TlsStream<I> {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Chunk>>> {
        if let Some(chunk) = self.unread.pop() {
            if self.unread.is_empty() {
                self.unread = Vec::new();
            }
            return Poll::Ready(Ok(Some(chunk)));
        }
        if let Some(fault) = self.failed {
            return Poll::Ready(Err(fault.into()));
        }
        loop {
            match self.peer {
                Peer::Open => {}
                Peer::Closed => return Poll::Ready(Ok(None)),
                Peer::Cut => return Poll::Ready(Err(Fault::TRUNCATED.into())),
            }
            match self.next_plaintext() {
                Ok(Some(chunk)) => {
                    self.send_asides(cx);
                    return Poll::Ready(Ok(Some(chunk)));
                }
                Ok(None) if self.peer == Peer::Closed => continue,
                Ok(None) => {}
                Err(fault) => return Poll::Ready(Err(self.fail(fault, cx))),
            }
            self.send_asides(cx);
            match ready!(self.io.poll_recv(cx))? {
                Some(chunk) => self.incoming.push(chunk),
                None => {
                    self.incoming.clear();
                    self.peer = Peer::Cut;
                }
            }
        }
    }

    fn unread(&mut self, chunk: Chunk) {
        if !chunk.is_empty() {
            self.unread.push(chunk);
        }
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, out: &mut ChunkQueue) -> Poll<io::Result<()>> {
        if let Some(fault) = self.failed {
            out.clear();
            return Poll::Ready(Err(fault.into()));
        }
        if self.closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        loop {
            if !self.sealed.is_empty() || out.is_empty() {
                ready!(self.poll_sealed(cx))?;
                if out.is_empty() {
                    self.sealed.shrink();
                    return Poll::Ready(Ok(()));
                }
            }
            if let Err(fault) = self.seal(out) {
                out.clear();
                return Poll::Ready(Err(self.fail(fault, cx)));
            }
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(fault) = self.failed {
            return Poll::Ready(Err(fault.into()));
        }
        if !self.sealed.is_empty() {
            ready!(self.poll_sealed(cx))?;
        }
        self.io.poll_flush(cx)
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(fault) = self.failed
            && fault.kind == io::ErrorKind::ConnectionAborted
        {
            return Poll::Ready(Err(fault.into()));
        }
        // After a fault there is still its alert to deliver.
        if self.failed.is_none()
            && let Err(fault) = self.seal_close()
        {
            return Poll::Ready(Err(self.fail(fault, cx)));
        }
        while !self.sealed.is_empty() {
            ready!(self.poll_sealed(cx))?;
        }
        ready!(self.io.poll_shutdown(cx))?;
        Poll::Ready(self.failed.map_or(Ok(()), |fault| Err(fault.into())))
    }

    fn abort(&mut self) {
        self.failed = Some(Fault::ABORTED);
        self.closed = true;
        self.sealed.clear();
        self.incoming.clear();
        self.unread = Vec::new();
        self.io.abort();
    }

    fn provably_unseen(&self) -> bool {
        self.io.provably_unseen()
    }

    fn mark_sent(&mut self) {
        self.io.mark_sent();
    }
}

impl<I: Io> Drop for TlsStream<I> {
    fn drop(&mut self) {
        self.farewell();
    }
}

impl<I: Io> fmt::Debug for TlsStream<I> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsStream").field("peer", &self.peer).field("closed", &self.closed).finish_non_exhaustive()
    }
}
