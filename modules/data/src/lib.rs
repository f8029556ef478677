//! The stream filters of Ringway: one file each, behind [`StreamFilter`](ringway_api::StreamFilter).
//!
//! - [`Buffer`] collects requests; [`RequestLimits`] refuses large ones.
//! - [`Fallback`] stands in for an upstream that has failed, [`StaleCache`] answers with what it
//!   knew before, [`MapLocalReplies`] words what the proxy itself answers.
//! - [`Fault`] injects faults.
//! - [`LocalRateLimit`] lets requests pass at a rate.
//! - [`IpAccess`] lets clients in by their addresses.
//! - [`AdaptiveConcurrency`], [`ConcurrencyLimit`] and [`LoadShed`] refuse requests that are too many at once.
//! - [`BandwidthLimit`] lets content pass at a rate.
//! - [`GrpcWeb`] lets gRPC-Web clients call gRPC servers.
//! - [`GrpcHealthCheck`] answers gRPC health checks.
//! - [`DubboToTriple`] makes calls that came as Dubbo2 calls of Triple.
//! - [`GrpcJson`] makes HTTP requests with JSON calls of gRPC services.
//! - [`Cors`] tells browsers which origins may use what is served; [`Csrf`] refuses what another site makes them send.
//! - [`Compressor`] and [`Decompressor`] put content codings on and take them off.
//! - [`HeaderMutation`] edits fields and queries.
//! - [`HttpToDubbo`] makes HTTP requests with JSON calls of Dubbo services.
//!
//! `docs/filters.md` says what their options are and how to write another.

#![forbid(unsafe_code)]

mod active;
mod adaptive_concurrency;
mod bandwidth_limit;
mod buffer;
mod compressor;
mod concurrency_limit;
mod content_coding;
mod cors;
mod csrf;
mod decompressor;
mod dubbo_to_triple;
mod fallback;
mod fault;
mod field_list;
mod grpc_health_check;
mod grpc_json;
mod grpc_message;
mod grpc_web;
mod header_mutation;
mod http_to_dubbo;
mod local_reply;
mod media_type;
mod page;
mod request_limits;
mod stale_cache;
mod template;
mod text_match;
mod transcoding;
mod upstream_failure;

pub use buffer::{Buffer, BufferConfig};
pub use compressor::{Compressor, CompressorConfig, EtagRule};
pub use content_coding::Coding;
pub use cors::{Cors, CorsConfig};
pub use csrf::{Csrf, CsrfConfig};
pub use decompressor::{Decompressor, DecompressorConfig};
pub use dubbo_to_triple::{DubboToTriple, DubboToTripleConfig, SerializeType};
pub use fallback::{Fallback, FallbackConfig};
mod header_match;
mod held;
mod ip_access;
mod load_shed;
mod local_rate_limit;
mod pace;
mod percent;
mod token_bucket;

pub use adaptive_concurrency::{AdaptiveConcurrency, AdaptiveConcurrencyConfig, ConcurrencyLimitParams, MinRttParams};
pub use bandwidth_limit::{BandwidthConfig, BandwidthLimit, BandwidthLimitConfig};
pub use concurrency_limit::{ConcurrencyLimit, ConcurrencyLimitConfig};
pub use fault::{AbortConfig, BlackholeConfig, DelayConfig, Fault, FaultConfig, ResetConfig, ResponseRateLimitConfig};
pub use grpc_health_check::{GrpcHealthCheck, GrpcHealthCheckConfig, Serving};
pub use grpc_json::{GrpcJson, GrpcJsonConfig, GrpcJsonStreams};
pub use grpc_web::{GrpcWeb, GrpcWebConfig};
pub use header_match::HeaderMatchConfig;
pub use header_mutation::{FieldMutationConfig, HeaderMutation, HeaderMutationConfig, QueryMutationConfig};
pub use http_to_dubbo::{HttpToDubbo, HttpToDubboConfig, MappingConfig, ParameterConfig};
pub use ip_access::{IpAccess, IpAccessConfig};
pub use load_shed::{LoadShed, LoadShedConfig, PriorityConfig};
pub use local_rate_limit::{DescriptorConfig, EntryConfig, LocalRateLimit, LocalRateLimitConfig};
pub use local_reply::{
    LocalReplyConfig, LocalReplyMappingConfig, LocalReplyMatchConfig, MapLocalReplies, StatusRangeConfig,
};
pub use page::PageConfig;
pub use percent::Percent;
pub use request_limits::{RequestLimits, RequestLimitsConfig};
pub use stale_cache::{StaleCache, StaleCacheConfig};
pub use text_match::TextMatchConfig;
pub use token_bucket::TokenBucketConfig;
pub use upstream_failure::UpstreamFailure;

/// Compiles and runs the example of the document.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/filters.md")]
struct Document;
