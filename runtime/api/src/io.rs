//! A byte stream as codecs see it: owned chunks in, owned chunks out.

use std::io;
use std::task::{Context, Poll};

use crate::{Chunk, ChunkQueue};

/// A connected byte stream. Poll style, because this is where bytes move and no future may be allocated.
///
/// At most one task polls each direction. Dropping it closes the stream in order: what was accepted by
/// [`poll_send`](Self::poll_send) is still delivered, within the implementation's linger limit.
pub trait Io: Unpin + 'static {
    /// The next bytes received, or `None` at the peer's end of stream (half-close: sending still works).
    ///
    /// # Errors
    /// The transport's error, such as a reset. Errors are sticky.
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Chunk>>>;

    /// Puts bytes back that were received: they come first at the next [`poll_recv`](Self::poll_recv). For a stage
    /// that looks at the beginning of a connection before it knows who will serve it, or that read too far.
    fn unread(&mut self, chunk: Chunk);

    /// Takes chunks from the front of `out`. `Ready` means that all were taken and that there is room for more:
    /// queue space, not delivery. `Pending` may leave some in `out`; call again when woken.
    ///
    /// # Errors
    /// The transport's error. Errors are sticky.
    fn poll_send(&mut self, cx: &mut Context<'_>, out: &mut ChunkQueue) -> Poll<io::Result<()>>;

    /// Ready once everything that was taken has reached the kernel (or the peer of a pair).
    ///
    /// # Errors
    /// The transport's error. Errors are sticky.
    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Flushes, then ends the sending side (FIN).
    ///
    /// # Errors
    /// The transport's error. Errors are sticky.
    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;

    /// Gives the stream up at once: queued bytes are dropped and the peer sees a reset where the transport has one.
    fn abort(&mut self);

    /// Whether the peer's kernel provably acknowledged none of the bytes sent since the last call of
    /// [`mark_sent`](Self::mark_sent). `false` when unknown.
    fn provably_unseen(&self) -> bool {
        false
    }

    /// Remembers how much the peer had acknowledged by now, for [`provably_unseen`](Self::provably_unseen).
    fn mark_sent(&mut self) {}
}
