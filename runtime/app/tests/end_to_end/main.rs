//! The binary, used from outside: real sockets, real files, real signals.

#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test may fail, wait and look at the clock"
)]

mod access_log;
mod admin;
mod configs;
mod edge;
mod explain;
mod exporters;
mod faults;
mod filters_http;
mod health;
mod http2;
mod life;
mod live;
mod local;
mod metrics;
mod proxy;
mod refusals;
mod renewal;
mod retries;
mod rpc;
mod secrets;
mod swap;
mod tracing;
mod traffic;
mod transcode;
mod transcode_grpc;
mod truncation;
mod tunnels;
