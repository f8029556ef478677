//! Ringway's engine: io_uring driver, buffers, timers, sockets.
pub mod ring;
