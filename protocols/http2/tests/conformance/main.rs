//! HTTP/2 against peers that write their frames by hand, over in-memory streams and under a fake clock: what RFC 9113
//! says a server and a client must do with what they are sent.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests fail by panicking")]

mod connection;
mod floods;
mod flow;
mod frames;
mod garbage;
mod hpack;
mod hpack_rules;
mod messages;
mod server;
mod settings;
mod streams;
mod upstream;
mod upstream_connection;
mod upstream_flow;
mod upstream_messages;
mod wire;
