//! What users write of faults, and its checks.

use std::time::Duration;

use http::StatusCode;
use ringway_api::{ByteSize, Millis};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::header_match::HeaderMatchConfig;
use crate::percent::Percent;
use crate::token_bucket::Rate;

/// The options of [`Fault`](super::Fault): at least one fault.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct FaultConfig {
    /// Requests wait before they go on.
    pub delay: Option<DelayConfig>,
    /// Requests are answered with an error.
    pub abort: Option<AbortConfig>,
    /// Responses come slowly.
    pub response_rate_limit: Option<ResponseRateLimitConfig>,
    /// Streams end without a response.
    pub reset: Option<ResetConfig>,
    /// Requests are never answered.
    pub blackhole: Option<BlackholeConfig>,
    /// Faults under way at most, on all workers; further requests meet none. Without a limit by default.
    pub max_active_faults: Option<u32>,
    /// Only requests that meet all of these conditions.
    pub headers: Vec<HeaderMatchConfig>,
    /// Makes decisions reproducible: the same seed and the same order of requests on a worker give the same decisions.
    pub seed: Option<u64>,
}

/// A delay: exactly one of `fixed` and `header_controlled`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DelayConfig {
    /// How long.
    pub fixed: Option<Millis>,
    /// As many milliseconds as the request's `x-envoy-fault-delay-request` says, if it has one.
    #[serde(default)]
    pub header_controlled: bool,
    /// The longest delay that a request may ask for.
    #[serde(default = "minute")]
    pub max: Millis,
    /// How many of the requests.
    #[serde(default)]
    pub percentage: Percent,
}

/// An abort: exactly one of the first three.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AbortConfig {
    /// The status, from 200 to 599. gRPC clients and callers of framed protocols get the status of theirs that it maps to.
    pub http_status: Option<u16>,
    /// The gRPC status, from 0 to 16; others get what it maps to.
    pub grpc_status: Option<u8>,
    /// What the request's `x-envoy-fault-abort-request` (an HTTP status) or `x-envoy-fault-abort-grpc-request` says, if it has one.
    #[serde(default)]
    pub header_controlled: bool,
    /// How many of the requests.
    #[serde(default)]
    pub percentage: Percent,
}

/// A limit of each response's content: exactly one of the first two.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResponseRateLimitConfig {
    /// Bytes per second.
    pub bytes_per_second: Option<ByteSize>,
    /// As many KiB per second as the request's `x-envoy-fault-throughput-response` says, if it has one.
    #[serde(default)]
    pub header_controlled: bool,
    /// How many of the responses.
    #[serde(default)]
    pub percentage: Percent,
}

/// A reset: HTTP/1.1 and framed protocols close the connection, HTTP/2 resets the stream.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ResetConfig {
    /// How many of the requests.
    #[serde(default)]
    pub percentage: Percent,
}

/// Silence.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BlackholeConfig {
    /// How many of the requests.
    #[serde(default)]
    pub percentage: Percent,
    /// After so long the stream is reset; `0` for never.
    #[serde(default = "five_minutes")]
    pub max_duration: Millis,
}

/// The faults, checked.
#[derive(Debug)]
pub(super) struct Options {
    pub(super) delay: Option<(Setting<Duration>, Percent)>,
    pub(super) max_delay: Duration,
    pub(super) abort: Option<(Setting<Abort>, Percent)>,
    pub(super) rate: Option<(Setting<u64>, Percent)>,
    pub(super) reset: Option<Percent>,
    pub(super) blackhole: Option<(Option<Duration>, Percent)>,
}

/// Where a fault's measure comes from.
#[derive(Debug)]
pub(super) enum Setting<T> {
    Fixed(T),
    Header,
}

/// How an aborted request is answered.
#[derive(Clone, Copy, Debug)]
pub(super) enum Abort {
    Http(StatusCode),
    Grpc(u8),
}

fn minute() -> Millis {
    Millis(60_000)
}

fn five_minutes() -> Millis {
    Millis(300_000)
}

impl Options {
    /// Checks all but the conditions.
    pub(super) fn compile(config: FaultConfig) -> Result<Self, String> {
        let FaultConfig { delay, abort, response_rate_limit, reset, blackhole, .. } = config;
        if delay.is_none() && abort.is_none() && response_rate_limit.is_none() && reset.is_none() && blackhole.is_none()
        {
            return Err("one of `delay`, `abort`, `response_rate_limit`, `reset`, `blackhole` is needed".to_owned());
        }
        let max_delay = delay.as_ref().map_or(Duration::ZERO, |delay| delay.max.duration());
        let delay = delay.map(|delay| {
            let fixed = delay.fixed.map(Millis::duration);
            let setting = Setting::compile(fixed, delay.header_controlled, "delay: exactly one of `fixed` and")?;
            Ok::<_, String>((setting, delay.percentage))
        });
        let rate = response_rate_limit.map(|limit| {
            if let Some(rate) = limit.bytes_per_second {
                Rate::per_second(rate.0, 1)
                    .map_err(|error| format!("response_rate_limit.bytes_per_second: {error}"))?;
            }
            let fixed = limit.bytes_per_second.map(|rate| rate.0);
            let needed = "response_rate_limit: exactly one of `bytes_per_second` and";
            Ok::<_, String>((Setting::compile(fixed, limit.header_controlled, needed)?, limit.percentage))
        });
        Ok(Self {
            delay: delay.transpose()?,
            max_delay,
            abort: abort.map(compile_abort).transpose()?,
            rate: rate.transpose()?,
            reset: reset.map(|reset| reset.percentage),
            blackhole: blackhole.map(|hole| (hole.max_duration.limit(), hole.percentage)),
        })
    }
}

fn compile_abort(abort: AbortConfig) -> Result<(Setting<Abort>, Percent), String> {
    let fixed = match (abort.http_status, abort.grpc_status) {
        (Some(_), Some(_)) => return Err("abort: only one of `http_status` and `grpc_status`".to_owned()),
        (Some(code), None) => {
            Some(Abort::http(code).ok_or_else(|| format!("abort.http_status: {code} is not from 200 to 599"))?)
        }
        (None, Some(code)) => {
            Some(Abort::grpc(code).ok_or_else(|| format!("abort.grpc_status: {code} is not from 0 to 16"))?)
        }
        (None, None) => None,
    };
    let needed = "abort: exactly one of `http_status`, `grpc_status` and";
    Ok((Setting::compile(fixed, abort.header_controlled, needed)?, abort.percentage))
}

impl<T> Setting<T> {
    fn compile(fixed: Option<T>, header: bool, needed: &str) -> Result<Self, String> {
        match (fixed, header) {
            (Some(fixed), false) => Ok(Self::Fixed(fixed)),
            (None, true) => Ok(Self::Header),
            _ => Err(format!("{needed} `header_controlled` is needed")),
        }
    }
}

impl Abort {
    pub(super) fn http(code: u16) -> Option<Self> {
        let status = StatusCode::from_u16(code).ok()?;
        (200..600).contains(&code).then_some(Self::Http(status))
    }

    pub(super) fn grpc(code: u8) -> Option<Self> {
        (code <= 16).then_some(Self::Grpc(code))
    }
}
