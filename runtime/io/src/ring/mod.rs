//! A worker's io_uring, wrapped so that all memory the kernel may still use is owned here.
//!
//! This is the floor everything stands on: sockets, timers and tasks are built on it, and so is the raw byte pump
//! that the bench measures it with. Callers hand in chunks and tokens and get completions; they never see memory
//! that is in flight.

#![allow(unsafe_code, reason = "submission entries carry raw pointers; this module owns what they point to")]

mod bufs;
mod enter;
mod owned;

use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::time::Duration;

use io_uring::types::{CancelBuilder, Fd, TimeoutFlags, Timespec};
use io_uring::{IoUring, cqueue, opcode, squeue};
use ringway_api::{Chunk, ChunkQueue};
use socket2::SockAddr;

pub use bufs::BufConfig;
use bufs::{BufRing, GROUP};
use enter::Entrance;
use owned::{Outcome, OwnedOps};

/// Set in the `user_data` of operations whose memory [`OwnedOps`] keeps.
const OWNED: u64 = 1 << 63;
/// `user_data` of operations whose completion nobody waits for.
const IGNORED: u64 = u64::MAX;

/// Sizes of a ring.
#[derive(Clone, Copy, Debug)]
pub struct RingConfig {
    /// Submission entries; a power of two. The completion queue is four times as long.
    pub entries: u32,
    /// Receive buffers.
    pub buffers: BufConfig,
}

impl Default for RingConfig {
    fn default() -> Self {
        Self { entries: 1024, buffers: BufConfig::default() }
    }
}

/// What a completion says.
pub struct Completion {
    /// What the operation was submitted with.
    pub token: u64,
    /// A non-negative result, or the error.
    pub result: Result<u32, i32>,
    /// The operation goes on and will complete again.
    pub more: bool,
    /// What was received, for receives.
    pub chunk: Option<Chunk>,
}

/// One io_uring with its buffers. Belongs to the thread that made it.
pub struct Ring {
    ring: IoUring,
    entrance: Entrance,
    bufs: BufRing,
    owned: OwnedOps,
    tick: Box<Timespec>,
    /// Operations the kernel has not completed for good; counted so that the ring is not dropped under them.
    outstanding: usize,
}

impl Ring {
    /// A ring on this thread.
    ///
    /// # Errors
    /// The kernel's error; [`probe`](crate::probe) turns it into one that says what to do.
    pub fn new(config: &RingConfig) -> io::Result<Self> {
        let ring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_coop_taskrun()
            .setup_submit_all()
            .setup_cqsize(config.entries.saturating_mul(4))
            .dontfork()
            .build(config.entries)?;
        let entrance = Entrance::register(ring.as_raw_fd());
        let bufs = BufRing::register(&ring, &config.buffers)?;
        let tick = Box::new(Timespec::new());
        Ok(Self { ring, entrance, bufs, owned: OwnedOps::default(), tick, outstanding: 0 })
    }

    /// Whether the kernel consumes receive buffers incrementally.
    pub fn incremental_buffers(&self) -> bool {
        self.bufs.incremental()
    }

    /// Bytes of receive memory that chunks hold at the moment.
    pub fn held_bytes(&self) -> usize {
        self.bufs.held()
    }

    /// True when the kernel holds receive buffers; gives it more if there are any.
    pub fn has_buffers(&mut self) -> bool {
        self.bufs.replenish()
    }

    /// Returns the memory of unused receive buffers to the system.
    pub fn trim(&mut self) {
        self.bufs.trim();
    }

    // === operations ===

    /// Accepts connections until cancelled: one completion with a file descriptor each.
    pub fn accept(&mut self, listener: RawFd, token: u64) {
        self.push(opcode::AcceptMulti::new(Fd(listener)).flags(libc::SOCK_CLOEXEC).build(), token);
    }

    /// Receives until the end of the stream, an error, a cancel, or until buffers run out (`ENOBUFS`).
    pub fn recv(&mut self, socket: RawFd, token: u64) {
        self.push(opcode::RecvMulti::new(Fd(socket), GROUP).build(), token);
    }

    /// Receives once, one buffer at most: for a stream whose consumer is slower than its sender.
    pub fn recv_once(&mut self, socket: RawFd, token: u64) {
        let entry = opcode::Recv::new(Fd(socket), std::ptr::null_mut(), 0).buf_group(GROUP).build();
        self.push(entry.flags(squeue::Flags::BUFFER_SELECT), token);
    }

    /// Sends chunks from the front of `out`, all of what it takes: a partial send is resubmitted here. One completion
    /// with the number of bytes, or the error. One send per socket at a time, or they may interleave.
    pub fn send(&mut self, socket: RawFd, out: &mut ChunkQueue, token: u64) {
        let (entry, at) = self.owned.send(socket, out, token);
        self.push(entry, OWNED | at);
    }

    /// Connects.
    pub fn connect(&mut self, socket: RawFd, to: &SockAddr, token: u64) {
        let (entry, at) = self.owned.connect(socket, to, token);
        self.push(entry, OWNED | at);
    }

    /// Reads an eventfd once.
    pub fn read_event(&mut self, event: RawFd, token: u64) {
        let (entry, at) = self.owned.read_event(event, token);
        self.push(entry, OWNED | at);
    }

    /// Ends both directions of a socket; its receive then completes.
    pub fn shutdown(&mut self, socket: RawFd, how: i32, token: u64) {
        self.push(opcode::Shutdown::new(Fd(socket), how).build(), token);
    }

    /// Cancels the operation with this token; its terminal completion still comes.
    pub fn cancel(&mut self, token: u64) {
        let entry = opcode::AsyncCancel2::new(CancelBuilder::user_data(token)).build();
        self.push(entry.flags(squeue::Flags::SKIP_SUCCESS), IGNORED);
    }

    /// Cancels whatever is under way on a socket; the terminal completions still come.
    pub fn cancel_fd(&mut self, socket: RawFd) {
        self.owned.give_up(socket);
        let entry = opcode::AsyncCancel2::new(CancelBuilder::fd(Fd(socket)).all()).build();
        self.push(entry.flags(squeue::Flags::SKIP_SUCCESS), IGNORED);
    }

    /// Closes a file descriptor.
    pub fn close(&mut self, fd: RawFd) {
        let entry = opcode::Close::new(Fd(fd)).build();
        self.push(entry.flags(squeue::Flags::SKIP_SUCCESS), IGNORED);
    }

    /// Completes every `period` until cancelled. One tick per ring.
    pub fn tick(&mut self, period: Duration, token: u64) {
        *self.tick = Timespec::from(period);
        // SAFETY (of the kernel's use): the kernel copies the timespec at submission, and the box lives with the ring.
        let entry = opcode::Timeout::new(&raw const *self.tick).flags(TimeoutFlags::MULTISHOT).build();
        self.push(entry, token);
    }

    /// Ends the tick with this token; its terminal completion (`ECANCELED`) still comes.
    pub fn stop_tick(&mut self, token: u64) {
        self.push(opcode::TimeoutRemove::new(token).build().flags(squeue::Flags::SKIP_SUCCESS), IGNORED);
    }

    // === the loop ===

    /// Submits what was pushed, runs the kernel's deferred work and, with `wait`, sleeps until something completes or
    /// `limit` has passed.
    ///
    /// # Errors
    /// The kernel's error; interruption and a passed limit are none.
    pub fn enter(&mut self, wait: bool, limit: Option<Duration>) -> io::Result<()> {
        self.bufs.replenish();
        let pushed = self.ring.submission().len() as u32;
        match self.entrance.enter(pushed, wait, limit) {
            Err(error) => match error.raw_os_error() {
                // EBUSY: completions overflowed and must be reaped first, which is what happens next.
                Some(libc::ETIME | libc::EINTR | libc::EBUSY | libc::EAGAIN) => Ok(()),
                _ => Err(error),
            },
            Ok(_) => Ok(()),
        }
    }

    /// True when completions wait to be reaped.
    pub fn has_completions(&mut self) -> bool {
        !self.ring.completion().is_empty()
    }

    /// Hands every completion that is there to `on`, and returns how many there were.
    pub fn reap(&mut self, mut on: impl FnMut(Completion)) -> usize {
        let mut resubmit = Vec::new();
        let mut count = 0;
        for entry in self.ring.completion() {
            count += 1;
            let (token, flags) = (entry.user_data(), entry.flags());
            let more = cqueue::more(flags);
            if token == IGNORED {
                // A cancel or close that failed: what it was for has ended already.
                continue;
            }
            if !more {
                self.outstanding -= 1;
            }
            let result = u32::try_from(entry.result()).map_err(|_| -entry.result());
            if token & OWNED != 0 {
                match self.owned.complete(token & !OWNED, result) {
                    Outcome::Done { token, result } => on(Completion { token, result, more: false, chunk: None }),
                    Outcome::Again(entry) => resubmit.push((entry, token)),
                }
                continue;
            }
            let mut chunk = None;
            if let (Some(id), Ok(len)) = (cqueue::buffer_select(flags), result) {
                chunk = self.bufs.take(id, len as usize, flags);
            }
            if result == Err(libc::ENOBUFS) {
                self.bufs.ran_out();
            }
            on(Completion { token, result, more, chunk });
        }
        for (entry, token) in resubmit {
            self.push(entry, token);
        }
        count
    }

    /// Operations that the kernel has not completed for good.
    pub fn outstanding(&self) -> usize {
        self.outstanding
    }

    fn push(&mut self, entry: squeue::Entry, user_data: u64) {
        let entry = entry.user_data(user_data);
        // Ignored ones complete only when they fail; they hold no memory.
        if user_data != IGNORED {
            self.outstanding += 1;
        }
        loop {
            // SAFETY: entries are made in this module only; what they point to is owned by `OwnedOps`, by `tick`, or
            // is copied at submission.
            if unsafe { self.ring.submission().push(&entry) }.is_ok() {
                return;
            }
            // Full: submit. The kernel takes all of it (SUBMIT_ALL); should it be short of memory, try again.
            if let Err(error) = self.enter(false, None) {
                debug_assert!(false, "{error}");
            }
        }
    }
}

impl AsRawFd for Ring {
    fn as_raw_fd(&self) -> RawFd {
        self.ring.as_raw_fd()
    }
}

impl Drop for Ring {
    fn drop(&mut self) {
        // What is under way may still write to our memory: cancel it and wait, then let go. Should that not end, the
        // memory is leaked rather than freed under the kernel.
        let cancelled = self.ring.submitter().register_sync_cancel(None, CancelBuilder::any());
        if let Err(error) = cancelled {
            debug_assert!(matches!(error.raw_os_error(), Some(libc::ENOENT | libc::EALREADY)), "{error}");
        }
        for _ in 0..64 {
            if self.outstanding == 0 || self.enter(true, Some(Duration::from_millis(2))).is_err() {
                break;
            }
            self.reap(drop);
        }
        if self.outstanding > 0 {
            self.owned.leak();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_cancelled_send_ends_even_when_it_was_partly_sent() {
        let mut ring = Ring::new(&RingConfig::default()).unwrap();
        // TCP sends take what fits and wait for the rest; the peer reads nothing.
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let sender = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (reader, _) = listener.accept().unwrap();
        let mut out = ChunkQueue::new();
        out.push(Chunk::from(vec![7; 64 << 20]));
        ring.send(sender.as_raw_fd(), &mut out, 1);
        ring.enter(false, None).unwrap();
        reader.peek(&mut [0]).unwrap();
        ring.cancel_fd(sender.as_raw_fd());
        let mut ends = Vec::new();
        while ends.is_empty() {
            ring.enter(true, Some(Duration::from_secs(5))).unwrap();
            assert!(ring.reap(|completion| ends.push((completion.token, completion.result))) > 0, "never ends");
        }
        assert_eq!(ends, [(1, Err(libc::ECANCELED))]);
        assert_eq!(ring.outstanding(), 0);
    }

    /// What the next receive brings.
    fn receive(ring: &mut Ring) -> Chunk {
        let mut chunk = None;
        while chunk.is_none() {
            ring.enter(true, Some(Duration::from_secs(5))).unwrap();
            assert!(ring.reap(|completion| chunk = completion.chunk) > 0, "nothing comes");
        }
        chunk.unwrap()
    }

    #[test]
    fn trimming_returns_what_no_chunk_points_into_and_nothing_else() {
        for plain in [false, true] {
            let buffers = BufConfig { plain, ..BufConfig::default() };
            let mut ring = Ring::new(&RingConfig { buffers, ..RingConfig::default() }).unwrap();
            let (mut near, far) = std::os::unix::net::UnixStream::pair().unwrap();
            ring.recv(far.as_raw_fd(), 1);
            near.write_all(&[1; 3 << 12]).unwrap();
            let first = receive(&mut ring);
            assert!(ring.bufs.resident() > 0, "plain: {plain}");
            ring.trim();
            assert!(first.iter().all(|byte| *byte == 1), "plain: {plain}");
            drop(first);
            ring.trim();
            assert_eq!(ring.bufs.resident(), 0, "plain: {plain}");
            near.write_all(&[2; 100]).unwrap();
            assert_eq!(&*receive(&mut ring), &[2; 100], "plain: {plain}");
        }
    }
}
