//! The stream filters of Ringway: one file each, behind [`StreamFilter`](ringway_api::StreamFilter).
//!
//! - [`Fault`] injects faults.
//! - [`LocalRateLimit`] lets requests pass at a rate.
//! - [`IpAccess`] lets clients in by their addresses.
//! - [`AdaptiveConcurrency`], [`ConcurrencyLimit`] and [`LoadShed`] refuse requests that are too many at once.
//! - [`BandwidthLimit`] lets content pass at a rate.
//! - [`GrpcWeb`] lets gRPC-Web clients call gRPC servers.
//! - [`GrpcHealthCheck`] answers gRPC health checks.
//! - [`HttpToDubbo`] makes HTTP requests with JSON calls of Dubbo services.
//!
//! `docs/filters.md` says what their options are and how to write another.

#![forbid(unsafe_code)]

mod adaptive_concurrency;
mod bandwidth_limit;
mod concurrency_limit;
mod fault;
mod grpc_health_check;
mod grpc_web;
mod header_match;
mod held;
mod http_to_dubbo;
mod ip_access;
mod load_shed;
mod local_rate_limit;
mod media_type;
mod pace;
mod percent;
mod token_bucket;

pub use adaptive_concurrency::{AdaptiveConcurrency, AdaptiveConcurrencyConfig, ConcurrencyLimitParams, MinRttParams};
pub use bandwidth_limit::{BandwidthConfig, BandwidthLimit, BandwidthLimitConfig};
pub use concurrency_limit::{ConcurrencyLimit, ConcurrencyLimitConfig};
pub use fault::{AbortConfig, BlackholeConfig, DelayConfig, Fault, FaultConfig, ResetConfig, ResponseRateLimitConfig};
pub use grpc_health_check::{GrpcHealthCheck, GrpcHealthCheckConfig, Serving};
pub use grpc_web::{GrpcWeb, GrpcWebConfig};
pub use header_match::HeaderMatchConfig;
pub use http_to_dubbo::{HttpToDubbo, HttpToDubboConfig, MappingConfig, ParameterConfig};
pub use ip_access::{IpAccess, IpAccessConfig};
pub use load_shed::{LoadShed, LoadShedConfig, PriorityConfig};
pub use local_rate_limit::{DescriptorConfig, EntryConfig, LocalRateLimit, LocalRateLimitConfig};
pub use percent::Percent;
pub use token_bucket::TokenBucketConfig;

/// Compiles and runs the example of the document.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/filters.md")]
struct Document;
