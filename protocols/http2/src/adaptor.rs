//! Our `Io` as h2 wants it: tokio's traits, which need no runtime.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use ringway_api::{Chunk, ChunkQueue, Env, Io};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::scan::{Breach, FrameLimits, Scanner};

/// Bytes that h2 may hand over before the stream has taken those before.
const OUT: usize = 64 << 10;
/// Room for what most turns send.
const OUT_FIRST: usize = 4 << 10;

/// What the transport and the loop that drives it tell each other.
#[derive(Default)]
pub(crate) struct Watch {
    /// The peer has exceeded a limit or broken a rule; nothing of it is read any more.
    pub(crate) breach: Cell<Option<Breach>>,
    /// The peer has said that it takes no more streams.
    pub(crate) goaway: Cell<bool>,
    /// Bytes received so far.
    pub(crate) received: Cell<u64>,
    /// Bytes of content received so far.
    pub(crate) content: Cell<u64>,
    /// `DATA` frames sent and not yet told to the scanner.
    pub(crate) data_sent: Cell<u32>,
    /// Streams opened by us and not yet told to the scanner.
    pub(crate) asked: Cell<u32>,
}

/// A stream with its frames scanned.
pub(crate) struct Transport<I> {
    io: I,
    inn: Chunk,
    out: Vec<u8>,
    queue: ChunkQueue,
    /// What was written last was taken to its end, so that a frame may follow.
    whole: bool,
    /// A breach is answered here.
    goodbye: bool,
    scanner: Scanner,
    env: Rc<dyn Env>,
    watch: Rc<Watch>,
}

impl<I: Io> Transport<I> {
    pub(crate) fn new(io: I, limits: FrameLimits, preface: usize, env: Rc<dyn Env>, watch: Rc<Watch>) -> Self {
        let scanner = Scanner::new(limits, preface, env.now());
        Self {
            io,
            inn: Chunk::EMPTY,
            out: Vec::new(),
            queue: ChunkQueue::new(),
            whole: true,
            goodbye: preface == 0,
            scanner,
            env,
            watch,
        }
    }

    /// Hands what was written to the stream; ready when there is room for more.
    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.out.is_empty() {
            self.queue.push(Chunk::from(std::mem::take(&mut self.out)));
        }
        if self.queue.is_empty() {
            return Poll::Ready(Ok(()));
        }
        self.io.poll_send(cx, &mut self.queue)
    }

    /// Tells a server that it has broken a rule (RFC 9113, section 5.4.1); a client is told by h2, which knows its
    /// streams.
    fn say_goodbye(&mut self, breach: Breach) {
        if self.goodbye && self.whole {
            self.out.extend_from_slice(&[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
            self.out.extend_from_slice(&breach.code.to_be_bytes());
        }
    }
}

impl<I: Io> AsyncRead for Transport<I> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        while this.inn.is_empty() {
            if this.watch.breach.get().is_some() {
                // The loop says goodbye; until then the peer is not listened to.
                return Poll::Pending;
            }
            match ready!(this.io.poll_recv(cx))? {
                Some(mut chunk) => {
                    for _ in 0..this.watch.data_sent.take() {
                        this.scanner.data_sent();
                    }
                    for _ in 0..this.watch.asked.take() {
                        this.scanner.asked();
                    }
                    this.watch.received.set(this.watch.received.get() + chunk.len() as u64);
                    if let Err(breach) = this.scanner.scan(&chunk, this.env.now()) {
                        this.watch.breach.set(Some(breach));
                        // What came before it is still taken: a connection that has just begun could not be told
                        // goodbye without it.
                        chunk = chunk.split_to(breach.at);
                        this.say_goodbye(breach);
                    }
                    this.watch.goaway.set(this.scanner.goaway());
                    this.watch.content.set(this.scanner.content());
                    this.inn = chunk;
                }
                None => return Poll::Ready(Ok(())),
            }
        }
        let part = this.inn.split_to(buf.remaining());
        buf.put_slice(&part);
        Poll::Ready(Ok(()))
    }
}

impl<I: Io> AsyncWrite for Transport<I> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.out.len() >= OUT {
            ready!(this.poll_out(cx))?;
        }
        if this.out.capacity() == 0 {
            this.out.reserve(OUT_FIRST);
        }
        let mut written = 0;
        for buf in bufs {
            let room = OUT.saturating_sub(this.out.len());
            let part = buf.get(..room.min(buf.len())).unwrap_or_default();
            this.out.extend_from_slice(part);
            written += part.len();
            if part.len() < buf.len() {
                break;
            }
        }
        this.whole = bufs.iter().map(|buf| buf.len()).sum::<usize>() == written;
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_out(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_out(cx))?;
        this.io.poll_shutdown(cx)
    }
}
