//! Whether this machine can run a worker, found out by doing what a worker does.

use std::fmt;
use std::io;
use std::time::Duration;

use crate::ring::{Ring, RingConfig};

/// Why it cannot, and what to do about it.
#[derive(Debug)]
pub struct Unsupported {
    what: &'static str,
    advice: &'static str,
    source: io::Error,
}

/// What a worker will be able to use.
#[derive(Clone, Copy, Debug)]
pub struct Support {
    /// Receive buffers are filled message by message (Linux 6.12); elsewhere a message takes a whole buffer.
    pub incremental_buffers: bool,
}

/// Makes a ring as workers do and tries the operations they need.
///
/// # Errors
/// The feature that is missing, or what forbids it.
pub fn probe(config: &RingConfig) -> Result<Support, Unsupported> {
    let mut ring = Ring::new(config).map_err(explain)?;
    try_tick(&mut ring).map_err(|source| Unsupported {
        what: "io_uring has no multishot timeout",
        advice: "Linux 6.4 or newer is needed",
        source,
    })?;
    Ok(Support { incremental_buffers: ring.incremental_buffers() })
}

/// One tick that repeats, then its end.
fn try_tick(ring: &mut Ring) -> io::Result<()> {
    let mut ticks = 0;
    let mut failed = None;
    ring.tick(Duration::from_millis(1), 1);
    for _ in 0..64 {
        ring.enter(true, Some(Duration::from_millis(100)))?;
        ring.reap(|completion| match completion.result {
            Err(libc::ETIME) if completion.more => ticks += 1,
            Err(error) => failed = Some(error),
            Ok(_) => failed = Some(libc::EINVAL),
        });
        match failed {
            Some(error) => return Err(io::Error::from_raw_os_error(error)),
            None if ticks >= 2 => return Ok(()),
            None => {}
        }
    }
    Err(io::ErrorKind::TimedOut.into())
}

fn explain(source: io::Error) -> Unsupported {
    let (what, advice) = match source.raw_os_error() {
        Some(libc::ENOSYS) => ("this kernel has no io_uring", "Linux 6.4 or newer is needed"),
        Some(libc::EPERM | libc::EACCES) => (
            "io_uring is forbidden here",
            "a container's seccomp profile blocks it (deploy/seccomp.json allows it) or the sysctl \
             kernel.io_uring_disabled is set",
        ),
        Some(libc::ENOMEM) => {
            ("not enough lockable memory for io_uring", "raise RLIMIT_MEMLOCK (ulimit -l) to 8 MiB or more")
        }
        Some(libc::EMFILE | libc::ENFILE) => ("no file descriptor left", "raise RLIMIT_NOFILE (ulimit -n)"),
        Some(libc::EINVAL) => ("io_uring lacks a feature that is needed", "Linux 6.4 or newer is needed"),
        _ => ("io_uring cannot be set up", "see the error"),
    };
    Unsupported { what, advice, source }
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({}; kernel {})", self.what, self.advice, self.source, kernel_release())
    }
}

impl std::error::Error for Unsupported {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

fn kernel_release() -> String {
    std::fs::read_to_string("/proc/sys/kernel/osrelease").map_or_else(|_| "unknown".into(), |text| text.trim().into())
}
