//! The stream filters of Ringway: one file each, behind [`StreamFilter`](ringway_api::StreamFilter).
//!
//! - [`GrpcWeb`] lets gRPC-Web clients call gRPC servers.
//! - [`GrpcHealthCheck`] answers gRPC health checks.
//! - [`DubboToTriple`] makes calls that came as Dubbo2 calls of Triple.
//! - [`GrpcJson`] makes HTTP requests with JSON calls of gRPC services.
//! - [`HttpToDubbo`] makes HTTP requests with JSON calls of Dubbo services.
//!
//! `docs/filters.md` says what their options are and how to write another.

#![forbid(unsafe_code)]

mod dubbo_to_triple;
mod grpc_health_check;
mod grpc_json;
mod grpc_message;
mod grpc_web;
mod http_to_dubbo;
mod media_type;

pub use dubbo_to_triple::{DubboToTriple, DubboToTripleConfig, SerializeType};
pub use grpc_health_check::{GrpcHealthCheck, GrpcHealthCheckConfig, Serving};
pub use grpc_json::{GrpcJson, GrpcJsonConfig, GrpcJsonStreams};
pub use grpc_web::{GrpcWeb, GrpcWebConfig};
pub use http_to_dubbo::{HttpToDubbo, HttpToDubboConfig, MappingConfig, ParameterConfig};

/// Compiles and runs the example of the document.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/filters.md")]
struct Document;
