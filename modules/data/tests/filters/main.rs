//! The filters as the proxy drives them: from their specifications, on messages in memory.

#![expect(clippy::unwrap_used, clippy::panic, reason = "all of this crate is a test")]

mod buffer;
mod codings;
mod cors;
mod csrf;
mod dubbo_to_triple;
mod failures;
mod fault;
mod grpc_health_check;
mod grpc_json;
mod grpc_web;
mod header_mutation;
mod http_to_dubbo;
mod limits;
mod load;
mod request_limits;
mod site;
mod stale_cache;
mod world;
