//! Ringway's configuration: from text to an immutable snapshot, and the store of published ones.
//!
//! Twice: [`raw`] is what people write, [`Snapshot`] is what is used. [`compile()`] goes from one to the other and is
//! the only part that can fail; its errors show the place in the text.

#![forbid(unsafe_code)]

mod chain;
mod compile;
mod error;
mod exporter;
mod health_check;
mod locate;
mod metrics;
pub mod raw;
mod retry;
mod route;
mod schema;
mod snapshot;
mod store;
mod tracing;

pub use chain::{ChainMatcher, ConnFacts, Fit};
pub use compile::{Catalog, compile, endpoints, header_matcher, parse};
pub use error::ConfigError;
pub use exporter::{Collector, Exporter, ExporterKind, Signal};
pub use health_check::{HealthCheck, HealthCheckKind, Heartbeat};
pub use metrics::IstioMetrics;
pub use retry::{RateLimited, ResetFormat, RetryOn, RetryOns, RetryPolicy};
pub use route::{
    Asked, Destinations, DirectResponse, Edit, Edits, FallbackCluster, FieldMatcher, Forward, HashKey, HashPolicy,
    HostRewrite, Mirror, PathRewrite, Picked, Redirect, Rewrite, Route, RouteAction, RouteAt, RouteFilters, RouteTable,
    Routing, Template, Value, VirtualHost, cookie, parameter,
};
pub use schema::json_schema;
pub use snapshot::{Candidate, Chain, Cluster, Endpoint, Filter, Listener, Options, Service, Snapshot, Target};
pub use store::{HISTORY, Published, Store, diff};
pub use tracing::{TraceSampling, TraceTail, Tracing};
