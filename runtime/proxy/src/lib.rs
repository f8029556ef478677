//! Ringway's worker: accept, route, relay, drain.

#![forbid(unsafe_code)]

mod relay;

pub use relay::{Relayed, relay};
