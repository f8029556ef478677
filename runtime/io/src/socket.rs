//! What the driver keeps for one connected socket.

use std::io;
use std::num::NonZeroI32;
use std::os::fd::RawFd;
use std::task::{Context, Waker};

use ringway_api::ChunkQueue;

use crate::ring::Ring;

/// Undelivered bytes at which receiving pauses, and below which it goes on.
pub(crate) const RECV_HIGH: usize = 128 << 10;
pub(crate) const RECV_LOW: usize = 32 << 10;

/// A chunk of this size says that more is on its way; a small one that it was the last.
pub(crate) const BULK: usize = 64 << 10;
pub(crate) const SMALL: usize = 16 << 10;

/// Bytes sent behind a mark at which it is given up: it says that nothing behind it was acknowledged, and so much
/// can hardly be in flight.
const MARK_RANGE: u32 = 1 << 30;

/// A connected socket: what was received and not delivered, what is to be sent, what the kernel is doing. Thousands
/// of idle ones are one of these each.
pub(crate) struct Socket {
    pub(crate) rx: ChunkQueue,
    pub(crate) tx: ChunkQueue,
    pub(crate) reader: Interest,
    pub(crate) writer: Interest,
    pub(crate) fd: RawFd,
    pub(crate) recv_error: Option<Errno>,
    pub(crate) send_error: Option<Errno>,
    /// Bytes of the send that the kernel works on; 0 when there is none.
    pub(crate) sending: u32,
    /// Bytes given to the kernel to send, in all, modulo 2^32.
    pub(crate) sent: u32,
    /// `sent` when the owner last marked it.
    pub(crate) mark: u32,
    /// There is a mark.
    pub(crate) marked: bool,
    pub(crate) recv: Recv,
    /// It was paused, or receives much at once: it receives one buffer at a time, so that a burst cannot run far ahead
    /// of its consumer.
    pub(crate) bulk: bool,
    pub(crate) fin: Fin,
    /// The stream was dropped; what is queued is still sent, then the socket is closed.
    pub(crate) closing: bool,
    /// The peer is to see a reset.
    pub(crate) aborted: bool,
}

/// The kernel's number of an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Errno(NonZeroI32);

impl Errno {
    pub(crate) fn new(number: i32) -> Self {
        Self(NonZeroI32::new(number).unwrap_or(const { NonZeroI32::new(libc::EIO).unwrap() }))
    }
}

impl From<Errno> for io::Error {
    fn from(errno: Errno) -> Self {
        Self::from_raw_os_error(errno.0.get())
    }
}

/// The state of the multishot receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recv {
    /// None is under way.
    Idle,
    /// One is.
    Armed,
    /// One was, and was asked to end.
    Cancelling,
    /// It ended for want of buffers and waits for them.
    Starved,
    /// The peer ended its side, or it failed.
    Ended,
}

/// The state of our end of stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fin {
    /// Not asked for.
    Open,
    /// Asked for; follows what is queued.
    Wanted,
    /// The kernel works on it.
    Sending,
    /// Done.
    Done,
}

/// A task that waits, and whether it does at the moment. The waker stays for the next time.
#[derive(Default)]
pub(crate) struct Interest {
    waker: Option<Waker>,
    waiting: bool,
}

impl Interest {
    pub(crate) fn register(&mut self, cx: &Context<'_>) {
        self.waiting = true;
        match &self.waker {
            Some(known) if known.will_wake(cx.waker()) => {}
            _ => self.waker = Some(cx.waker().clone()),
        }
    }

    pub(crate) fn wake(&mut self) {
        if std::mem::take(&mut self.waiting)
            && let Some(waker) = &self.waker
        {
            waker.wake_by_ref();
        }
    }

    pub(crate) fn waiting(&self) -> bool {
        self.waiting
    }

    pub(crate) fn forget(&mut self) {
        *self = Self::default();
    }
}

impl Socket {
    pub(crate) fn new(fd: RawFd) -> Self {
        Self {
            rx: ChunkQueue::new(),
            tx: ChunkQueue::new(),
            reader: Interest::default(),
            writer: Interest::default(),
            fd,
            recv_error: None,
            send_error: None,
            sending: 0,
            sent: 0,
            mark: 0,
            marked: false,
            recv: Recv::Idle,
            bulk: false,
            fin: Fin::Open,
            closing: false,
            aborted: false,
        }
    }

    /// Bytes accepted for sending that the kernel has not taken.
    pub(crate) fn queued(&self) -> usize {
        self.tx.bytes() + self.sending as usize
    }

    /// Has the kernel receive.
    pub(crate) fn arm(&mut self, ring: &mut Ring, token: u64) {
        self.recv = Recv::Armed;
        if self.bulk { ring.recv_once(self.fd, token) } else { ring.recv(self.fd, token) }
    }

    /// Notes that a send of `bytes` was given to the kernel.
    pub(crate) fn begun(&mut self, bytes: usize) {
        debug_assert!(u32::try_from(bytes).is_ok(), "a send is bounded");
        self.sending = bytes as u32;
        self.sent = self.sent.wrapping_add(bytes as u32);
        // Long before the count could come round to the mark again.
        self.marked &= self.sent.wrapping_sub(self.mark) < MARK_RANGE;
    }

    /// Remembers what has been sent by now.
    pub(crate) fn set_mark(&mut self) {
        (self.mark, self.marked) = (self.sent, true);
    }

    /// Whether the peer's kernel acknowledged nothing behind the mark, given what it has acknowledged in all.
    pub(crate) fn nothing_behind_mark(&self, acked: u64) -> bool {
        // The kernel may count our SYN as one byte.
        let behind = (acked as u32).wrapping_sub(self.mark).wrapping_sub(1) as i32;
        self.marked && behind <= 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_socket_is_small() {
        let size = size_of::<Socket>();
        assert!(size <= 160, "{size} bytes");
    }

    #[test]
    fn marks_hold_beyond_4_gib() {
        let mut socket = Socket::new(-1);
        assert!(!socket.nothing_behind_mark(0), "not marked");
        socket.set_mark();
        assert!(socket.nothing_behind_mark(0) && socket.nothing_behind_mark(1) && !socket.nothing_behind_mark(2));
        socket.sent = 5;
        socket.set_mark();
        let sent = (1 << 32) + 5;
        assert!(socket.nothing_behind_mark(sent - 100) && socket.nothing_behind_mark(sent));
        assert!(!socket.nothing_behind_mark(sent + 2));
        (0..1 << 10).for_each(|_| socket.begun(1 << 20));
        assert!(!socket.nothing_behind_mark(0), "too far to tell");
    }
}
