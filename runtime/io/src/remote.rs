//! How other threads reach a worker: a queue and an eventfd that the worker's ring reads.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crossbeam::queue::SegQueue;

/// The part of a worker that other threads may touch.
pub(crate) struct Remote {
    worker: u64,
    event: OwnedFd,
    /// Set once the eventfd was written and the worker has not looked since.
    signalled: AtomicBool,
    /// Tasks woken from other threads. Unbounded, but a task is in it only once per poll and waker.
    wakes: SegQueue<u32>,
}

impl Remote {
    pub(crate) fn new() -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Ok(Self {
            worker: NEXT.fetch_add(1, Ordering::Relaxed),
            event: eventfd()?,
            signalled: AtomicBool::new(false),
            wakes: SegQueue::new(),
        })
    }

    /// A number no other worker of the process has.
    pub(crate) fn worker(&self) -> u64 {
        self.worker
    }

    pub(crate) fn event(&self) -> RawFd {
        self.event.as_raw_fd()
    }

    /// Wakes a task of the worker, from any thread.
    pub(crate) fn wake(&self, task: u32) {
        self.wakes.push(task);
        self.signal();
    }

    /// Has the worker look at its mailboxes. Cheap while an earlier signal is still unseen.
    pub(crate) fn signal(&self) {
        if !self.signalled.swap(true, Ordering::AcqRel) {
            write_event(&self.event);
        }
    }

    /// Called by the worker before it looks: signals from now on write again.
    pub(crate) fn seen(&self) {
        self.signalled.store(false, Ordering::Release);
        // Orders the store before the reads of the queues that follow, against `signal`'s push before its swap.
        std::sync::atomic::fence(Ordering::SeqCst);
    }

    pub(crate) fn take_wake(&self) -> Option<u32> {
        self.wakes.pop()
    }
}

#[allow(unsafe_code, reason = "eventfd has no wrapper in the crates at hand")]
fn eventfd() -> io::Result<OwnedFd> {
    // SAFETY: no memory is passed; the result is checked and then owned here alone.
    unsafe {
        let fd = libc::eventfd(0, libc::EFD_CLOEXEC);
        if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(OwnedFd::from_raw_fd(fd)) }
    }
}

#[allow(unsafe_code, reason = "eventfd has no wrapper in the crates at hand")]
fn write_event(event: &OwnedFd) {
    let one = 1u64;
    // SAFETY: eight bytes of a live local are read. The write can fail only by overflowing a counter that is read and
    // reset at each signal.
    let written = unsafe { libc::write(event.as_raw_fd(), (&raw const one).cast(), size_of::<u64>()) };
    debug_assert_eq!(written, 8);
}
