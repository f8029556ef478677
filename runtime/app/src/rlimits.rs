//! Resource limits that workers need, raised as far as they may be.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// File descriptors a proxy should be able to open.
const FILES: u64 = 1 << 20;
/// Lockable memory: io_uring's, where the kernel accounts it.
const MEMLOCK: u64 = 64 << 20;

/// Raises soft limits up to what is wanted, or to the hard limit. What cannot be raised shows when it is needed.
pub(crate) fn raise() {
    for (resource, wanted) in [(Resource::Nofile, FILES), (Resource::Memlock, MEMLOCK)] {
        let now = getrlimit(resource);
        let ceiling = now.maximum.map_or(wanted, |maximum| wanted.min(maximum));
        if now.current.is_some_and(|current| current < ceiling) {
            let raised = Rlimit { current: Some(ceiling), maximum: now.maximum };
            if let Err(error) = setrlimit(resource, raised) {
                eprintln!("ringway: cannot raise {resource:?} to {ceiling}: {error}");
            }
        }
    }
}
