//! Requests through a worker of the proxy: HTTP/1.1 over memory, under a fake clock.

#![forbid(unsafe_code)]
#![allow(clippy::unwrap_used, clippy::panic, missing_docs, reason = "a test may fail")]

mod bound;
mod chaos;
mod fallback;
mod hedging;
mod latencies;
mod mirrors;
mod retries;
mod timeline;
mod tracing;
mod world;
