//! The filters as the proxy drives them: from their specifications, on messages in memory.

#![expect(clippy::unwrap_used, clippy::panic, reason = "all of this crate is a test")]

mod fault;
mod grpc_health_check;
mod grpc_web;
mod http_to_dubbo;
mod limits;
mod load;
mod site;
mod world;
