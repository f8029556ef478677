//! Active health checks, compiled.

use std::ops::RangeInclusive;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};

/// How the hosts of a cluster are asked whether they are well.
#[derive(Clone, Debug, PartialEq)]
pub struct HealthCheck {
    /// How long a check may take.
    pub timeout: Duration,
    /// From the end of a check to the next.
    pub interval: Duration,
    /// Added to each interval, at random up to this.
    pub interval_jitter: Duration,
    /// The first check waits at random up to this.
    pub initial_jitter: Duration,
    /// The same of a host that is out.
    pub unhealthy_interval: Duration,
    /// The interval as long as the cluster has had no request at all.
    pub no_traffic_interval: Duration,
    /// Failures in a row that take a host out; at least 1.
    pub unhealthy_threshold: u32,
    /// Successes in a row that bring it back; at least 1.
    pub healthy_threshold: u32,
    /// Keep the connection from one check to the next.
    pub reuse_connection: bool,
    /// The port to ask, if it is not the endpoint's.
    pub port: Option<u16>,
    /// What is asked.
    pub kind: HealthCheckKind,
}

/// What a host is asked.
#[derive(Clone, Debug, PartialEq)]
pub enum HealthCheckKind {
    /// An HTTP request.
    Http {
        /// The method.
        method: Method,
        /// Path and query.
        path: String,
        /// The authority, if it is said.
        host: Option<String>,
        /// Further fields.
        headers: Vec<(HeaderName, HeaderValue)>,
        /// Statuses of a host that is well.
        expected: Vec<RangeInclusive<u16>>,
        /// Statuses of which it takes several.
        retriable: Vec<RangeInclusive<u16>>,
        /// By HTTP/2.
        http2: bool,
    },
    /// `grpc.health.v1.Health/Check`.
    Grpc {
        /// The service; empty for the whole server.
        service: String,
        /// The authority, if it is said.
        authority: Option<String>,
    },
    /// A connection, and bytes.
    Tcp {
        /// What is sent; nothing if a connection is enough.
        send: Vec<u8>,
        /// What must come, in order.
        receive: Vec<Vec<u8>>,
    },
    /// A heartbeat.
    Rpc(Heartbeat),
}

/// The heartbeat of a protocol of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heartbeat {
    /// Dubbo2's.
    Dubbo,
    /// Bolt's, version 1.
    Bolt,
    /// Bolt's, version 2.
    BoltV2,
}
