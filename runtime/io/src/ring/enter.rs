//! `io_uring_enter`, by the ring's registered index where the kernel gives one.

use std::io;
use std::os::fd::RawFd;
use std::ptr;
use std::time::Duration;

const REGISTER_RING_FDS: libc::c_uint = 20;
const GETEVENTS: libc::c_uint = 1;
const EXT_ARG: libc::c_uint = 1 << 3;
const REGISTERED_RING: libc::c_uint = 1 << 4;

/// How to enter a ring.
pub(super) struct Entrance {
    fd: RawFd,
    flags: libc::c_uint,
}

/// `struct io_uring_rsrc_update`
#[repr(C)]
struct RsrcUpdate {
    offset: u32,
    resv: u32,
    data: u64,
}

/// `struct io_uring_getevents_arg`
#[repr(C)]
struct GetEventsArg {
    sigmask: u64,
    sigmask_size: u32,
    min_wait_usec: u32,
    timespec: u64,
}

/// `struct __kernel_timespec`
#[repr(C)]
struct KernelTimespec {
    seconds: i64,
    nanoseconds: i64,
}

impl Entrance {
    /// Registers the ring with this thread, which saves a look-up at each enter. Where that cannot be had, nothing but
    /// the saving is lost.
    pub(super) fn register(fd: RawFd) -> Self {
        let mut update = RsrcUpdate { offset: u32::MAX, resv: 0, data: fd as u64 };
        // SAFETY: the kernel reads and writes one `io_uring_rsrc_update` at the pointer, which is a live local.
        let done = unsafe { libc::syscall(libc::SYS_io_uring_register, fd, REGISTER_RING_FDS, &raw mut update, 1) };
        match (done, RawFd::try_from(update.offset)) {
            (1, Ok(index)) => Self { fd: index, flags: REGISTERED_RING },
            _ => Self { fd, flags: 0 },
        }
    }

    /// Submits `pushed` entries, runs deferred work, and with `wait` sleeps until a completion is there or `limit`
    /// has passed.
    pub(super) fn enter(&self, pushed: u32, wait: bool, limit: Option<Duration>) -> io::Result<()> {
        let want = libc::c_uint::from(wait);
        // Deferred work runs only when completions are asked for.
        let flags = self.flags | GETEVENTS;
        let entered = match limit {
            Some(limit) if wait => {
                let limit = KernelTimespec {
                    seconds: i64::try_from(limit.as_secs()).unwrap_or(i64::MAX),
                    nanoseconds: i64::from(limit.subsec_nanos()),
                };
                let arg =
                    GetEventsArg { sigmask: 0, sigmask_size: 0, min_wait_usec: 0, timespec: (&raw const limit) as u64 };
                // SAFETY: both structures are live locals of the layout the kernel expects, and are only read.
                unsafe {
                    libc::syscall(
                        libc::SYS_io_uring_enter,
                        self.fd,
                        pushed,
                        want,
                        flags | EXT_ARG,
                        &raw const arg,
                        size_of::<GetEventsArg>(),
                    )
                }
            }
            // SAFETY: no argument is passed. The memory of the submitted entries is owned by the ring.
            _ => unsafe {
                libc::syscall(libc::SYS_io_uring_enter, self.fd, pushed, want, flags, ptr::null::<u8>(), 0usize)
            },
        };
        if entered < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}
