//! System calls that no crate at hand wraps.

use std::io;
use std::os::fd::{BorrowedFd, RawFd};
use std::time::Duration;

use socket2::SockRef;

/// Makes the close of a TCP socket a reset. Best effort: a unix socket has none.
pub(crate) fn reset_on_close(fd: RawFd) {
    if let Some(fd) = borrow(fd)
        && let Err(error) = SockRef::from(&fd).set_linger(Some(Duration::ZERO))
    {
        debug_assert!(error.raw_os_error() != Some(libc::EBADF), "{error}");
    }
}

/// A borrowed file descriptor for a call; `None` for a negative number.
#[allow(unsafe_code, reason = "the driver holds descriptors as numbers")]
pub(crate) fn borrow<'a>(fd: RawFd) -> Option<BorrowedFd<'a>> {
    // SAFETY: the driver owns `fd` and closes it only when its slot goes, which cannot happen during a call.
    (fd >= 0).then(|| unsafe { BorrowedFd::borrow_raw(fd) })
}

/// Bytes that the peer's kernel has acknowledged on a TCP connection (`tcpi_bytes_acked`).
#[allow(unsafe_code, reason = "getsockopt(TCP_INFO) has no wrapper")]
pub(crate) fn bytes_acked(fd: RawFd) -> Option<u64> {
    /// Offset of `tcpi_bytes_acked` in `struct tcp_info`, which only ever grows at its end.
    const BYTES_ACKED: usize = 120;
    let mut info = [0u8; 256];
    let mut len = info.len() as libc::socklen_t;
    // SAFETY: the kernel writes at most `len` bytes into the live local array and sets `len` to what it wrote.
    let done =
        unsafe { libc::getsockopt(fd, libc::IPPROTO_TCP, libc::TCP_INFO, info.as_mut_ptr().cast(), &raw mut len) };
    let field = info.get(BYTES_ACKED..BYTES_ACKED + 8)?;
    (done == 0 && len as usize >= BYTES_ACKED + 8).then(|| u64::from_ne_bytes(field.try_into().unwrap_or_default()))
}

/// Pins the calling thread to a CPU.
///
/// # Errors
/// The kernel's error, such as a CPU this process may not use.
#[allow(unsafe_code, reason = "sched_setaffinity has no wrapper in the crates at hand")]
pub(crate) fn pin_to(cpu: usize) -> io::Result<()> {
    // SAFETY: an all-zero cpu_set_t is the empty set; CPU_SET checks its index; the set is a live local.
    let done = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Lowers the priority of the calling thread (nice level 0 to 19).
#[allow(unsafe_code, reason = "setpriority has no wrapper in the crates at hand")]
pub fn lower_priority(nice: i32) -> io::Result<()> {
    // SAFETY: no memory is passed. On Linux, PRIO_PROCESS with a thread's id concerns that thread alone.
    let done = unsafe {
        let thread = libc::gettid();
        libc::setpriority(libc::PRIO_PROCESS, thread as libc::id_t, nice)
    };
    if done == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// CPU time that the calling thread has used.
#[allow(unsafe_code, reason = "clock_gettime has no wrapper in the crates at hand")]
pub fn thread_cpu_time() -> Duration {
    // SAFETY: the kernel writes one timespec, a live local.
    let spent = unsafe {
        let mut spent: libc::timespec = std::mem::zeroed();
        if libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut spent) != 0 {
            return Duration::ZERO;
        }
        spent
    };
    Duration::new(u64::try_from(spent.tv_sec).unwrap_or(0), u32::try_from(spent.tv_nsec).unwrap_or(0))
}

/// The CPUs this process may run on.
#[allow(unsafe_code, reason = "sched_getaffinity has no wrapper in the crates at hand")]
pub fn allowed_cpus() -> Vec<usize> {
    // SAFETY: the kernel writes one cpu_set_t, a live local; CPU_ISSET reads it below its size.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        if libc::sched_getaffinity(0, size_of::<libc::cpu_set_t>(), &raw mut set) != 0 {
            return vec![0];
        }
        (0..libc::CPU_SETSIZE as usize).filter(|cpu| libc::CPU_ISSET(*cpu, &set)).collect()
    }
}
