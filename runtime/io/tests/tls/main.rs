//! TLS against rustls's ordinary connections as the peer.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test may fail, wait and look at the clock"
)]

mod handshakes;
mod peer;
mod raw;
mod records;
mod sockets;
mod streams;
