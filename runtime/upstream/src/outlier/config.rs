//! What outlier detection goes by.

use std::time::Duration;

use super::OutlierCause;
use crate::PassiveParams;

/// The settings of a cluster's outlier detection, with Envoy's meanings and defaults. Percentages are 0 to 100;
/// `enforcing_*` says in how many of a hundred cases a host that is found out is ejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OutlierConfig {
    /// 5xx in a row that make an outlier; 0 for never.
    pub consecutive_5xx: u32,
    /// 502, 503, 504 in a row; 0 for never.
    pub consecutive_gateway_failure: u32,
    /// Failures of this side in a row; 0 for never. Used when they are told apart.
    pub consecutive_local_origin_failure: u32,
    /// Failures of this side are told apart from what hosts answer.
    pub split_external_local_origin_errors: bool,
    /// How often success rates are compared and hosts are let back.
    pub interval: Duration,
    /// How long the first ejection of a host takes; the n-th takes n times as long.
    pub base_ejection_time: Duration,
    /// The longest ejection.
    pub max_ejection_time: Duration,
    /// Added to each ejection, at random up to this.
    pub max_ejection_time_jitter: Duration,
    /// The share of hosts that may be ejected at once; one always may.
    pub max_ejection_percent: u32,
    /// Of 5xx in a row.
    pub enforcing_consecutive_5xx: u32,
    /// Of gateway failures in a row.
    pub enforcing_consecutive_gateway_failure: u32,
    /// Of failures of this side in a row.
    pub enforcing_consecutive_local_origin_failure: u32,
    /// Of success rates.
    pub enforcing_success_rate: u32,
    /// Of success rates of this side's connections.
    pub enforcing_local_origin_success_rate: u32,
    /// Hosts with enough requests that it takes to compare success rates.
    pub success_rate_minimum_hosts: u32,
    /// Requests of an interval that are enough.
    pub success_rate_request_volume: u32,
    /// An outlier is below the mean by this many thousandths of the standard deviation.
    pub success_rate_stdev_factor: u32,
    /// An outlier fails at this percentage of requests or above.
    pub failure_percentage_threshold: u32,
    /// Of failure percentages.
    pub enforcing_failure_percentage: u32,
    /// Of failure percentages of this side's connections.
    pub enforcing_failure_percentage_local_origin: u32,
    /// Hosts with enough requests that it takes.
    pub failure_percentage_minimum_hosts: u32,
    /// Requests of an interval that are enough.
    pub failure_percentage_request_volume: u32,
    /// A successful active health check lets a host back.
    pub successful_active_health_check_uneject_host: bool,
}

impl Default for OutlierConfig {
    fn default() -> Self {
        Self {
            consecutive_5xx: 5,
            consecutive_gateway_failure: 5,
            consecutive_local_origin_failure: 5,
            split_external_local_origin_errors: false,
            interval: Duration::from_secs(10),
            base_ejection_time: Duration::from_secs(30),
            max_ejection_time: Duration::from_secs(300),
            max_ejection_time_jitter: Duration::ZERO,
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

impl OutlierConfig {
    /// What workers must know of it.
    pub fn passive(&self) -> PassiveParams {
        PassiveParams {
            outliers: true,
            consecutive_5xx: self.consecutive_5xx,
            consecutive_gateway_failure: self.consecutive_gateway_failure,
            consecutive_local_origin_failure: self.consecutive_local_origin_failure,
            split_local_origin: self.split_external_local_origin_errors,
            immediate_fail: false,
        }
    }

    /// The longest ejection: never shorter than the first.
    pub(super) fn longest(&self) -> Duration {
        self.max_ejection_time.max(self.base_ejection_time)
    }

    /// How long an ejection of `times` the base takes, without jitter.
    pub(super) fn span(&self, times: u32) -> Duration {
        self.base_ejection_time.saturating_mul(times).min(self.longest())
    }

    pub(super) fn enforcing(&self, cause: OutlierCause) -> u32 {
        match cause {
            OutlierCause::Consecutive5xx => self.enforcing_consecutive_5xx,
            OutlierCause::ConsecutiveGatewayFailure => self.enforcing_consecutive_gateway_failure,
            OutlierCause::ConsecutiveLocalOriginFailure => self.enforcing_consecutive_local_origin_failure,
            OutlierCause::SuccessRate => self.enforcing_success_rate,
            OutlierCause::LocalOriginSuccessRate => self.enforcing_local_origin_success_rate,
            OutlierCause::FailurePercentage => self.enforcing_failure_percentage,
            OutlierCause::LocalOriginFailurePercentage => self.enforcing_failure_percentage_local_origin,
        }
    }
}
