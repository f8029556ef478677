//! HTTP/1.1 through its public faces, over in-memory streams and under a fake clock.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod bodies;
mod client;
mod reference;
mod semantics;
mod sizes;
mod smuggling;
mod splits;
mod through;
mod timeouts;
mod tunnel;
mod tunnel_client;
mod tunnel_ends;
mod world;
