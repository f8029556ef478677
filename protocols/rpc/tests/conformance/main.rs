//! Codecs under the kit's conformance suite, with frames by hand.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod bolt;
mod dubbo;
mod tars;
mod thrift;
