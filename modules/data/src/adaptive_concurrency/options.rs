//! What users write of adaptive concurrency, and its checks.

use std::sync::OnceLock;

use http::StatusCode;
use ringway_api::Millis;
use schemars::JsonSchema;
use serde::Deserialize;

use super::Compiled;
use super::gradient::Params;
use crate::percent::Percent;

/// The options of [`AdaptiveConcurrency`](super::AdaptiveConcurrency). All have defaults, which are Envoy's.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AdaptiveConcurrencyConfig {
    /// Which of an interval's times stands for all of them: a percentile. The median by default.
    pub sample_aggregate_percentile: Option<Percent>,
    /// The limit.
    pub concurrency_limit_params: ConcurrencyLimitParams,
    /// How long requests take where nothing queues, and how that is found out.
    pub min_rtt_calc_params: MinRttParams,
    /// The status of refused requests, from 400 to 599; 503 by default.
    pub concurrency_limit_exceeded_status: Option<u16>,
    /// How many of the requests are looked at.
    pub enabled: Percent,
    /// How many of those beyond the limit are refused; the others are counted.
    pub enforced: Percent,
}

/// The limit of requests under way.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct ConcurrencyLimitParams {
    /// The largest limit.
    pub max_concurrency_limit: u32,
    /// How often the limit changes.
    pub concurrency_update_interval: Millis,
}

/// The minRTT.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct MinRttParams {
    /// How often it is measured.
    pub interval: Millis,
    /// It is this, and not measured.
    pub fixed_value: Option<Millis>,
    /// Requests that a measurement takes.
    pub request_count: u32,
    /// A random part of `interval`, up to this one, that is added to it, so that not all proxies measure at once.
    pub jitter: Option<Percent>,
    /// The smallest limit, and the one while it is measured.
    pub min_concurrency: u32,
    /// By which part more than the minRTT requests may take.
    pub buffer: Option<Percent>,
}

impl Default for ConcurrencyLimitParams {
    fn default() -> Self {
        Self { max_concurrency_limit: 1000, concurrency_update_interval: Millis(100) }
    }
}

impl Default for MinRttParams {
    fn default() -> Self {
        Self {
            interval: Millis(60_000),
            fixed_value: None,
            request_count: 50,
            jitter: None,
            min_concurrency: 3,
            buffer: None,
        }
    }
}

impl AdaptiveConcurrencyConfig {
    pub(super) fn compile(self) -> Result<Compiled, String> {
        let (limits, min_rtt) = (self.concurrency_limit_params, self.min_rtt_calc_params);
        if limits.concurrency_update_interval.0 == 0 || min_rtt.interval.0 == 0 {
            return Err("concurrency_update_interval, interval: at least 1ms".to_owned());
        }
        if min_rtt.request_count == 0 || min_rtt.fixed_value.is_some_and(|time| time.0 == 0) {
            return Err("min_rtt_calc_params: request_count and fixed_value are at least 1".to_owned());
        }
        if !(1..=limits.max_concurrency_limit).contains(&min_rtt.min_concurrency) {
            return Err("min_concurrency: from 1 to max_concurrency_limit".to_owned());
        }
        let code = self.concurrency_limit_exceeded_status.unwrap_or(503);
        let status = StatusCode::from_u16(code).ok().filter(|status| (400..600).contains(&status.as_u16()));
        let fraction = |part: Option<Percent>, usual: f64| part.map_or(usual, Percent::fraction);
        let params = Params {
            percentile: fraction(self.sample_aggregate_percentile, 0.5),
            min_limit: min_rtt.min_concurrency,
            max_limit: limits.max_concurrency_limit,
            update_interval: limits.concurrency_update_interval.duration(),
            min_rtt_interval: min_rtt.interval.duration(),
            min_rtt_requests: min_rtt.request_count,
            jitter: fraction(min_rtt.jitter, 0.15),
            buffer: fraction(min_rtt.buffer, 0.25),
            fixed_min_rtt: min_rtt.fixed_value.map(Millis::duration),
        };
        Ok(Compiled {
            params,
            status: status
                .ok_or_else(|| format!("concurrency_limit_exceeded_status: {code} is not from 400 to 599"))?,
            enabled: self.enabled,
            enforced: self.enforced,
            control: OnceLock::new(),
        })
    }
}
