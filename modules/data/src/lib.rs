//! The stream filters of Ringway: one file each, behind [`StreamFilter`](ringway_api::StreamFilter).
//!
//! - [`Buffer`] collects requests; [`RequestLimits`] refuses large ones.
//! - [`Fallback`] stands in for an upstream that has failed, [`StaleCache`] answers with what it
//!   knew before, [`MapLocalReplies`] words what the proxy itself answers.
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

mod dubbo_to_triple;
mod active;
mod buffer;
mod compressor;
mod content_coding;
mod cors;
mod csrf;
mod decompressor;
mod fallback;
mod field_list;
mod fraction;
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
mod upstream_failure;

pub use dubbo_to_triple::{DubboToTriple, DubboToTripleConfig, SerializeType};
pub use buffer::{Buffer, BufferConfig};
pub use compressor::{Compressor, CompressorConfig, EtagRule};
pub use content_coding::Coding;
pub use cors::{Cors, CorsConfig};
pub use csrf::{Csrf, CsrfConfig};
pub use decompressor::{Decompressor, DecompressorConfig};
pub use fallback::{Fallback, FallbackConfig};
pub use fraction::Percent;
pub use grpc_health_check::{GrpcHealthCheck, GrpcHealthCheckConfig, Serving};
pub use grpc_json::{GrpcJson, GrpcJsonConfig, GrpcJsonStreams};
pub use grpc_web::{GrpcWeb, GrpcWebConfig};
pub use header_mutation::{FieldMutationConfig, HeaderMutation, HeaderMutationConfig, QueryMutationConfig};
pub use http_to_dubbo::{HttpToDubbo, HttpToDubboConfig, MappingConfig, ParameterConfig};
pub use local_reply::{
    LocalReplyConfig, LocalReplyMappingConfig, LocalReplyMatchConfig, MapLocalReplies, StatusRangeConfig,
};
pub use page::PageConfig;
pub use request_limits::{RequestLimits, RequestLimitsConfig};
pub use stale_cache::{StaleCache, StaleCacheConfig};
pub use text_match::TextMatchConfig;
pub use upstream_failure::UpstreamFailure;

/// Compiles and runs the example of the document.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/filters.md")]
struct Document;
