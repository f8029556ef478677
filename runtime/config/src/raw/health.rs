//! How a cluster finds out which of its hosts are well.

use std::collections::BTreeMap;

use ringway_api::Millis;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Hosts that fail requests are ejected for a while. Meanings and defaults are Envoy's.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct OutlierDetection {
    /// Answers of class 5xx in a row that make a host an outlier; `0` for never. RPC and gRPC statuses count as the
    /// HTTP statuses that they stand for, failed connects and resets as 503, timeouts as 504.
    pub consecutive_5xx: u32,
    /// Of 502, 503 and 504.
    pub consecutive_gateway_failure: u32,
    /// Of failed connects, resets and timeouts, when they are told apart.
    pub consecutive_local_origin_failure: u32,
    /// Tell what this side failed at (connects, resets, timeouts) apart from what hosts answered.
    pub split_external_local_origin_errors: bool,
    /// How often success rates are compared, and hosts let back whose time is over.
    pub interval: Millis,
    /// How long a host's first ejection takes; the n-th takes n times as long. n shrinks while the host is well.
    pub base_ejection_time: Millis,
    /// The longest ejection.
    pub max_ejection_time: Millis,
    /// Added to each ejection, at random up to this.
    pub max_ejection_time_jitter: Millis,
    /// The share of the hosts, in percent, that may be ejected at once; one always may.
    pub max_ejection_percent: u32,
    /// In how many of 100 cases 5xx in a row eject. `0` only counts and tells.
    pub enforcing_consecutive_5xx: u32,
    /// Likewise.
    pub enforcing_consecutive_gateway_failure: u32,
    /// Likewise.
    pub enforcing_consecutive_local_origin_failure: u32,
    /// Likewise.
    pub enforcing_success_rate: u32,
    /// Likewise.
    pub enforcing_local_origin_success_rate: u32,
    /// Success rates are compared when so many hosts had enough requests in an interval.
    pub success_rate_minimum_hosts: u32,
    /// How many requests are enough.
    pub success_rate_request_volume: u32,
    /// An outlier's success rate is below the mean by more than this many thousandths of the standard deviation.
    pub success_rate_stdev_factor: u32,
    /// An outlier fails at this percentage of its requests, or more.
    pub failure_percentage_threshold: u32,
    /// In how many of 100 cases that ejects.
    pub enforcing_failure_percentage: u32,
    /// Likewise.
    pub enforcing_failure_percentage_local_origin: u32,
    /// Failure percentages are looked at when so many hosts had enough requests in an interval.
    pub failure_percentage_minimum_hosts: u32,
    /// How many requests are enough.
    pub failure_percentage_request_volume: u32,
    /// A successful active health check lets an ejected host back.
    pub successful_active_health_check_uneject_host: bool,
}

impl Default for OutlierDetection {
    fn default() -> Self {
        Self {
            consecutive_5xx: 5,
            consecutive_gateway_failure: 5,
            consecutive_local_origin_failure: 5,
            split_external_local_origin_errors: false,
            interval: Millis(10_000),
            base_ejection_time: Millis(30_000),
            max_ejection_time: Millis(300_000),
            max_ejection_time_jitter: Millis(0),
            max_ejection_percent: 10,
            enforcing_consecutive_5xx: 100,
            enforcing_consecutive_gateway_failure: 0,
            enforcing_consecutive_local_origin_failure: 100,
            enforcing_success_rate: 100,
            enforcing_local_origin_success_rate: 100,
            success_rate_minimum_hosts: 5,
            success_rate_request_volume: 100,
            success_rate_stdev_factor: 1900,
            failure_percentage_threshold: 85,
            enforcing_failure_percentage: 0,
            enforcing_failure_percentage_local_origin: 0,
            failure_percentage_minimum_hosts: 5,
            failure_percentage_request_volume: 50,
            successful_active_health_check_uneject_host: true,
        }
    }
}

/// Each host is asked, again and again, whether it is well. Exactly one of `http`, `grpc`, `tcp` and `rpc` says how.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct HealthCheck {
    /// How long a check may take, its connection included.
    #[serde(default = "one_second")]
    pub timeout: Millis,
    /// From the end of a check to the next. The first is made at once.
    #[serde(default = "five_seconds")]
    pub interval: Millis,
    /// Added to each interval, at random up to this.
    #[serde(default)]
    pub interval_jitter: Millis,
    /// The first check of a host waits at random up to this.
    #[serde(default)]
    pub initial_jitter: Millis,
    /// The interval of a host that is out; `interval` by default.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unhealthy_interval: Option<Millis>,
    /// The interval as long as the cluster has had no request at all.
    #[serde(default = "one_minute")]
    pub no_traffic_interval: Millis,
    /// Failures in a row that take a host out. An answer that says "not well" does so alone.
    #[serde(default = "three")]
    pub unhealthy_threshold: u32,
    /// Successes in a row that bring it back. A new host needs one.
    #[serde(default = "two")]
    pub healthy_threshold: u32,
    /// Keep the connection from one check to the next.
    #[serde(default = "yes")]
    pub reuse_connection: bool,
    /// The port to ask, if it is not the endpoint's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<u16>,
    /// By an HTTP request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<HttpHealthCheck>,
    /// By gRPC's health checking protocol, `grpc.health.v1.Health/Check`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grpc: Option<GrpcHealthCheck>,
    /// By a connection, and bytes if there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<TcpHealthCheck>,
    /// By the heartbeat of a protocol of calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rpc: Option<RpcHealthCheck>,
}

/// A health check by an HTTP request.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct HttpHealthCheck {
    /// The path, with a query if wanted.
    pub path: String,
    /// The authority to ask for; by default the endpoint's host name, or else the cluster's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<String>,
    /// The method.
    #[serde(default = "get")]
    pub method: String,
    /// Statuses of a host that is well: `200`, or a range such as `200-299`. Any other takes it out at once.
    #[serde(default = "ok")]
    pub expected_statuses: Vec<String>,
    /// Statuses that take a host out only after `unhealthy_threshold` of them, as no answer does.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retriable_statuses: Vec<String>,
    /// Fields added to the request.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub request_headers: BTreeMap<String, String>,
    /// By HTTP/2. By default if the cluster's protocol is `http2`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http2: Option<bool>,
}

/// A health check by gRPC's health checking protocol.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct GrpcHealthCheck {
    /// The service to ask about; by default the whole server.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub service: String,
    /// The authority to ask for; by default the endpoint's host name, or else the cluster's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authority: Option<String>,
}

/// A health check by a connection. Both are text, or bytes in hexadecimal after `0x`.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct TcpHealthCheck {
    /// What is sent. Without it, a connection is all that is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub send: Option<String>,
    /// What must be found in the answer, one after the other, with anything between them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub receive: Vec<String>,
}

/// A health check by a heartbeat.
#[derive(Clone, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct RpcHealthCheck {
    /// `dubbo`, `bolt` or `boltv2`; by default the cluster's protocol.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub protocol: Option<String>,
}

fn one_second() -> Millis {
    Millis(1_000)
}

fn five_seconds() -> Millis {
    Millis(5_000)
}

fn one_minute() -> Millis {
    Millis(60_000)
}

fn three() -> u32 {
    3
}

fn two() -> u32 {
    2
}

fn yes() -> bool {
    true
}

fn get() -> String {
    "GET".into()
}

fn ok() -> Vec<String> {
    vec!["200".into()]
}
