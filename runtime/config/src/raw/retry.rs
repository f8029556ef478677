//! When a request is sent again.

use std::num::NonZeroU32;

use ringway_api::{ByteSize, Millis};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::FieldMatch;

/// When a request is sent again. Without it nothing is repeated but what an idle connection lost before its host saw it.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct Retry {
    /// What is retried, in Envoy's words.
    pub on: Vec<RetryOn>,
    /// Retries, the first try not counted.
    pub attempts: u32,
    /// How long each try may take until the head of its response, from the end of the request. `0`, the default,
    /// leaves only the route's timeout.
    pub per_try_timeout: Millis,
    /// Give a try up in which nothing has moved for this long. `0`, the default, never.
    pub per_try_idle_timeout: Millis,
    /// The pauses before retries.
    pub back_off: BackOff,
    /// The status codes of `retriable-status-codes`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub retriable_status_codes: Vec<u16>,
    /// The response fields of `retriable-headers`; one condition that holds is enough.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub retriable_headers: Vec<FieldMatch>,
    /// Wait for as long as a response asks.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rate_limited_back_off: Option<RateLimitedBackOff>,
    /// Which hosts a retry avoids.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub host_selection: Vec<HostSelection>,
    /// Retries go to hosts of other priorities than the tries before, if any of them are well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous_priorities: Option<PreviousPriorities>,
    /// How often another host is picked for a retry before one that is to be avoided is taken after all.
    pub host_selection_retry_max_attempts: u32,
    /// Bytes of a request's content that are kept for its repetition. A request with more is sent once.
    pub buffer_limit: ByteSize,
    /// At the per-try timeout another try begins, and the one before goes on: what answers first wins. Only once the
    /// request has arrived as a whole.
    pub hedge_on_per_try_timeout: bool,
    /// Tell hosts by `x-envoy-attempt-count` which try it is, 1 for the first.
    pub include_attempt_count: bool,
    /// Let requests say themselves when they are retried: `x-envoy-retry-on`, `x-envoy-retry-grpc-on`,
    /// `x-envoy-max-retries`, `x-envoy-retriable-status-codes`, `x-envoy-retriable-header-names`,
    /// `x-envoy-upstream-rq-per-try-timeout-ms`, `x-envoy-hedge-on-per-try-timeout`. Only for callers that are trusted.
    pub from_headers: bool,
    /// Retry also what is a retry already (a request that arrives with an `x-envoy-attempt-count` above 1), and what
    /// an overloaded proxy has refused (a response with `x-envoy-overloaded`). Retries of retries multiply.
    pub nested: bool,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            on: Vec::new(),
            attempts: 1,
            per_try_timeout: Millis(0),
            per_try_idle_timeout: Millis(0),
            back_off: BackOff::default(),
            retriable_status_codes: Vec::new(),
            retriable_headers: Vec::new(),
            rate_limited_back_off: None,
            host_selection: Vec::new(),
            previous_priorities: None,
            host_selection_retry_max_attempts: 1,
            buffer_limit: ByteSize(64 << 10),
            hedge_on_per_try_timeout: false,
            include_attempt_count: false,
            from_headers: false,
            nested: false,
        }
    }
}

/// A reason for a retry, as Envoy's `x-envoy-retry-on` and `x-envoy-retry-grpc-on` have them.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema, PartialEq, Eq, Hash)]
#[serde(rename_all = "kebab-case")]
pub enum RetryOn {
    /// A status of class 5xx, or no response: a reset, a connection that failed, a per-try timeout.
    #[serde(rename = "5xx")]
    Status5xx,
    /// 502, 503 or 504, or no response.
    GatewayError,
    /// No response: a reset, a connection that failed, a per-try timeout.
    Reset,
    /// No response, and the host has provably not seen the request.
    ResetBeforeRequest,
    /// No connection to the host came about.
    ConnectFailure,
    /// The host refused the stream (HTTP/2 `REFUSED_STREAM`).
    RefusedStream,
    /// A response with `x-envoy-ratelimited`.
    EnvoyRatelimited,
    /// 409.
    #[serde(rename = "retriable-4xx")]
    Retriable4xx,
    /// A status of `retriable_status_codes`.
    RetriableStatusCodes,
    /// A field of `retriable_headers`.
    RetriableHeaders,
    /// gRPC status 1.
    Cancelled,
    /// gRPC status 4.
    DeadlineExceeded,
    /// gRPC status 13.
    Internal,
    /// gRPC status 8.
    ResourceExhausted,
    /// gRPC status 14.
    Unavailable,
}

/// The pauses before retries: before the nth, a random time below `(2^n - 1) * base_interval`.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct BackOff {
    /// The unit.
    pub base_interval: Millis,
    /// The longest pause; ten times the unit by default.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_interval: Option<Millis>,
}

impl Default for BackOff {
    fn default() -> Self {
        Self { base_interval: Millis(25), max_interval: None }
    }
}

/// Pauses that responses ask for.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq)]
#[serde(default, deny_unknown_fields)]
pub struct RateLimitedBackOff {
    /// Where a response says how long; the first that does counts.
    pub reset_headers: Vec<ResetHeader>,
    /// A longer pause than this is not believed; the usual back-off applies.
    pub max_interval: Millis,
}

impl Default for RateLimitedBackOff {
    fn default() -> Self {
        let header = |name: &str, format| ResetHeader { name: name.into(), format };
        Self {
            reset_headers: vec![
                header("retry-after", ResetFormat::Seconds),
                header("x-ratelimit-reset", ResetFormat::UnixTimestamp),
            ],
            max_interval: Millis(300_000),
        }
    }
}

/// A response field that says when to come again.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct ResetHeader {
    /// Its name.
    pub name: String,
    /// What its number means.
    #[serde(default)]
    pub format: ResetFormat,
}

/// What the number in such a field means.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum ResetFormat {
    /// Seconds from now.
    #[default]
    Seconds,
    /// Seconds since 1970.
    UnixTimestamp,
}

/// How retries avoid priorities.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(default, deny_unknown_fields)]
pub struct PreviousPriorities {
    /// After so many tries it is looked at anew which priorities were tried.
    pub update_frequency: NonZeroU32,
}

impl Default for PreviousPriorities {
    fn default() -> Self {
        Self { update_frequency: NonZeroU32::MIN }
    }
}

/// Hosts that a retry avoids.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum HostSelection {
    /// Those that were tried before.
    PreviousHosts,
}
