//! Operations whose memory must stay put until the kernel is done with it.

use std::os::fd::RawFd;

use io_uring::types::Fd;
use io_uring::{opcode, squeue};
use ringway_api::{Chunk, ChunkQueue};
use socket2::SockAddr;

/// Chunks that one send takes at most; more wait for the next.
const MAX_IOV: usize = 16;
/// Bytes that one send takes at most, so that a stalled socket does not pin everything that was queued.
const MAX_SEND: usize = 1 << 20;

/// Memory in flight, by place. Each place is a box of its own: growing the table moves no operation.
#[derive(Default)]
pub(super) struct OwnedOps {
    places: Vec<Option<Box<Owned>>>,
    free: Vec<u32>,
    /// Boxes to use again: the send path allocates nothing in the steady state.
    #[allow(clippy::vec_box, reason = "the boxes move between here and `places`; what they hold must not")]
    spare: Vec<Box<Owned>>,
}

/// The memory of one operation.
pub(super) struct Owned {
    token: u64,
    fd: RawFd,
    kind: Kind,
    chunk: Chunk,
    rest: Vec<Chunk>,
    iov: [libc::iovec; MAX_IOV],
    msg: libc::msghdr,
    total: u32,
    left: u32,
    addr: Option<SockAddr>,
    counter: u64,
    /// Given up by the caller: what is left of a partial send stays unsent.
    cancelled: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Send,
    Other,
}

/// What a completion means for the operation.
pub(super) enum Outcome {
    /// It is over.
    Done { token: u64, result: Result<u32, i32> },
    /// Part of it was done; this entry does the rest.
    Again(squeue::Entry),
}

impl OwnedOps {
    pub(super) fn send(&mut self, fd: RawFd, out: &mut ChunkQueue, token: u64) -> (squeue::Entry, u64) {
        let (at, op) = self.place(fd, token, Kind::Send);
        op.chunk = out.pop().unwrap_or_default();
        op.total = op.chunk.len() as u32;
        while op.rest.len() + 1 < MAX_IOV && (op.total as usize) < MAX_SEND {
            let Some(chunk) = out.pop() else { break };
            op.total += chunk.len() as u32;
            op.rest.push(chunk);
        }
        op.left = op.total;
        (op.send_entry(), at)
    }

    pub(super) fn connect(&mut self, fd: RawFd, to: &SockAddr, token: u64) -> (squeue::Entry, u64) {
        let (at, op) = self.place(fd, token, Kind::Other);
        let addr = op.addr.insert(to.clone());
        (opcode::Connect::new(Fd(fd), addr.as_ptr().cast(), addr.len()).build(), at)
    }

    pub(super) fn read_event(&mut self, fd: RawFd, token: u64) -> (squeue::Entry, u64) {
        let (at, op) = self.place(fd, token, Kind::Other);
        (opcode::Read::new(Fd(fd), (&raw mut op.counter).cast(), size_of::<u64>() as u32).build(), at)
    }

    pub(super) fn complete(&mut self, at: u64, result: Result<u32, i32>) -> Outcome {
        let index = at as usize;
        let Some(op) = self.places.get_mut(index).and_then(Option::as_mut) else {
            debug_assert!(false, "completion for an empty place");
            return Outcome::Done { token: u64::MAX, result };
        };
        if op.kind == Kind::Send && !op.cancelled {
            match result {
                Ok(sent) if sent < op.left && sent > 0 => {
                    op.left -= sent;
                    op.advance(sent as usize);
                    return Outcome::Again(op.send_entry());
                }
                Err(libc::EINTR | libc::EAGAIN) => return Outcome::Again(op.send_entry()),
                _ => {}
            }
        }
        let result = match result {
            // A cancelled send that had got half-way tells how far, not that it was cancelled.
            Ok(sent) if op.kind == Kind::Send && sent < op.left => Err(libc::ECANCELED),
            Ok(_) if op.kind == Kind::Send => Ok(op.total),
            other => other,
        };
        let token = op.token;
        if let Some(mut op) = self.places.get_mut(index).and_then(Option::take) {
            op.clear();
            self.free.push(index as u32);
            if self.spare.len() < 64 {
                self.spare.push(op);
            }
        }
        Outcome::Done { token, result }
    }

    /// Marks the operations on a socket as cancelled, so that none is resumed.
    pub(super) fn give_up(&mut self, fd: RawFd) {
        for op in self.places.iter_mut().flatten().filter(|op| op.fd == fd) {
            op.cancelled = true;
        }
    }

    /// Leaves everything that is in flight allocated for ever.
    pub(super) fn leak(&mut self) {
        for op in self.places.drain(..).flatten() {
            Box::leak(op);
        }
    }

    fn place(&mut self, fd: RawFd, token: u64, kind: Kind) -> (u64, &mut Owned) {
        let mut op = self.spare.pop().unwrap_or_default();
        (op.fd, op.token, op.kind, op.cancelled) = (fd, token, kind, false);
        let at = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            (self.places.len() - 1) as u32
        });
        // The place exists: it was free, or was pushed just now.
        let place = &mut self.places[at as usize];
        (u64::from(at), place.insert(op))
    }
}

impl Owned {
    fn send_entry(&mut self) -> squeue::Entry {
        // MSG_WAITALL: the kernel itself goes on with a partial send.
        let flags = libc::MSG_NOSIGNAL | libc::MSG_WAITALL;
        if self.rest.is_empty() {
            return opcode::Send::new(Fd(self.fd), self.chunk.as_ptr(), self.chunk.len() as u32).flags(flags).build();
        }
        let chunks = std::iter::once(&self.chunk).chain(&self.rest).filter(|chunk| !chunk.is_empty());
        let mut count = 0;
        for (iov, chunk) in self.iov.iter_mut().zip(chunks) {
            *iov = libc::iovec { iov_base: chunk.as_ptr().cast_mut().cast(), iov_len: chunk.len() };
            count += 1;
        }
        self.msg.msg_iov = self.iov.as_mut_ptr();
        self.msg.msg_iovlen = count;
        opcode::SendMsg::new(Fd(self.fd), &raw const self.msg).flags(flags as u32).build()
    }

    fn advance(&mut self, mut count: usize) {
        for chunk in std::iter::once(&mut self.chunk).chain(&mut self.rest) {
            let step = count.min(chunk.len());
            chunk.advance(step);
            count -= step;
        }
    }

    fn clear(&mut self) {
        self.chunk = Chunk::EMPTY;
        self.rest.clear();
        self.addr = None;
    }
}

impl Default for Owned {
    fn default() -> Self {
        let empty = libc::iovec { iov_base: std::ptr::null_mut(), iov_len: 0 };
        Self {
            token: 0,
            fd: -1,
            kind: Kind::Other,
            chunk: Chunk::EMPTY,
            rest: Vec::new(),
            iov: [empty; MAX_IOV],
            // SAFETY: a msghdr of zeroes is the empty one: null pointers with zero lengths.
            msg: unsafe { std::mem::zeroed() },
            total: 0,
            left: 0,
            addr: None,
            counter: 0,
            cancelled: false,
        }
    }
}
