//! Ringway's engine: an io_uring driver with its buffers, timers, sockets and tasks, one per worker thread.
//!
//! From the bottom up: [`ring`] owns all memory the kernel may use; the driver keeps sockets and timers on it; a
//! [`Core`] is a worker with tasks, lent to everything above as [`Env`](ringway_api::Env). This is the only crate
//! that names io_uring or glommio, and the only one with `unsafe`.

mod allocator;
mod clock;
mod connect;
mod core;
mod driver;
mod exec;
mod listen;
mod mailbox;
mod probe;
mod remote;
pub mod ring;
mod slab;
mod slots;
mod socket;
mod stream;
mod sys;
mod timer;
pub mod tls;
mod wheel;

pub use self::core::{Core, CoreConfig, CoreStats, Executor, run};
pub use allocator::release_heap;
pub use driver::DriverStats;
pub use listen::{Accepted, BindOptions, Bound, Listener};
pub use mailbox::{Full, Receiver, Sender, mailbox};
pub use probe::{Support, Unsupported, probe};
pub use stream::Stream;
pub use sys::{allowed_cpus, lower_priority, thread_cpu_time};
