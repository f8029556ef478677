//! What the driver keeps for one connected socket.

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

/// A connected socket: what was received and not delivered, what is to be sent, what the kernel is doing.
pub(crate) struct Socket {
    pub(crate) fd: RawFd,
    pub(crate) rx: ChunkQueue,
    pub(crate) tx: ChunkQueue,
    /// Bytes of the send that the kernel works on; 0 when there is none.
    pub(crate) sending: usize,
    pub(crate) recv: Recv,
    /// It was paused, or receives much at once: it receives one buffer at a time, so that a burst cannot run far ahead
    /// of its consumer.
    pub(crate) bulk: bool,
    pub(crate) fin: Fin,
    pub(crate) recv_error: Option<i32>,
    pub(crate) send_error: Option<i32>,
    /// The stream was dropped; what is queued is still sent, then the socket is closed.
    pub(crate) closing: bool,
    /// The peer is to see a reset.
    pub(crate) aborted: bool,
    /// Bytes given to the kernel to send, in all.
    pub(crate) sent: u64,
    /// `sent` when the owner last marked it.
    pub(crate) mark: Option<u64>,
    pub(crate) reader: Interest,
    pub(crate) writer: Interest,
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
            fd,
            rx: ChunkQueue::new(),
            tx: ChunkQueue::new(),
            sending: 0,
            recv: Recv::Idle,
            bulk: false,
            fin: Fin::Open,
            recv_error: None,
            send_error: None,
            closing: false,
            aborted: false,
            sent: 0,
            mark: None,
            reader: Interest::default(),
            writer: Interest::default(),
        }
    }

    /// Bytes accepted for sending that the kernel has not taken.
    pub(crate) fn queued(&self) -> usize {
        self.tx.bytes() + self.sending
    }

    /// Has the kernel receive.
    pub(crate) fn arm(&mut self, ring: &mut Ring, token: u64) {
        self.recv = Recv::Armed;
        if self.bulk { ring.recv_once(self.fd, token) } else { ring.recv(self.fd, token) }
    }

    /// Notes that a send of `bytes` was given to the kernel.
    pub(crate) fn begun(&mut self, bytes: usize) {
        self.sending = bytes;
        self.sent += bytes as u64;
    }
}
