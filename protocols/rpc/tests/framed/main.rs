//! The driver of framed calls, with bolt for a codec: frames through a proxy in memory, under a fake clock.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod dubbo;
mod frames;
mod through;
