//! Outlier detection of one cluster: the detector of `ringway-upstream` with a clock, statistics and a log.

use std::collections::HashMap;
use std::sync::Arc;

use ringway_api::{Address, Time};
use ringway_config::raw;
use ringway_telemetry::{Counter, OutlierStats, Scope};
use ringway_upstream::outlier::{Detector, OutlierAction, OutlierCause, OutlierConfig, OutlierEvent};
use ringway_upstream::{HealthFlags, HealthSignals, HostHealth};

/// One cluster's.
pub(super) struct Outliers {
    detector: Detector<Address>,
    stats: Arc<Scope<OutlierStats>>,
    due: Time,
    events: Vec<OutlierEvent<Address>>,
}

/// The detector's settings.
pub(super) fn config(raw: &raw::OutlierDetection) -> OutlierConfig {
    OutlierConfig {
        consecutive_5xx: raw.consecutive_5xx,
        consecutive_gateway_failure: raw.consecutive_gateway_failure,
        consecutive_local_origin_failure: raw.consecutive_local_origin_failure,
        split_external_local_origin_errors: raw.split_external_local_origin_errors,
        interval: raw.interval.duration(),
        base_ejection_time: raw.base_ejection_time.duration(),
        max_ejection_time: raw.max_ejection_time.duration(),
        max_ejection_time_jitter: raw.max_ejection_time_jitter.duration(),
        max_ejection_percent: raw.max_ejection_percent,
        enforcing_consecutive_5xx: raw.enforcing_consecutive_5xx,
        enforcing_consecutive_gateway_failure: raw.enforcing_consecutive_gateway_failure,
        enforcing_consecutive_local_origin_failure: raw.enforcing_consecutive_local_origin_failure,
        enforcing_success_rate: raw.enforcing_success_rate,
        enforcing_local_origin_success_rate: raw.enforcing_local_origin_success_rate,
        success_rate_minimum_hosts: raw.success_rate_minimum_hosts,
        success_rate_request_volume: raw.success_rate_request_volume,
        success_rate_stdev_factor: raw.success_rate_stdev_factor,
        failure_percentage_threshold: raw.failure_percentage_threshold,
        enforcing_failure_percentage: raw.enforcing_failure_percentage,
        enforcing_failure_percentage_local_origin: raw.enforcing_failure_percentage_local_origin,
        failure_percentage_minimum_hosts: raw.failure_percentage_minimum_hosts,
        failure_percentage_request_volume: raw.failure_percentage_request_volume,
        successful_active_health_check_uneject_host: raw.successful_active_health_check_uneject_host,
    }
}

impl Outliers {
    pub(super) fn new(raw: &raw::OutlierDetection, stats: Arc<Scope<OutlierStats>>, seed: u64, now: Time) -> Self {
        let config = config(raw);
        Self { detector: Detector::new(config, seed), stats, due: now + config.interval, events: Vec::new() }
    }

    /// When the next interval ends.
    pub(super) fn due(&self) -> Time {
        self.due
    }

    pub(super) fn success_rates(&self, host: &Address) -> [Option<f64>; 2] {
        self.detector.success_rates(host)
    }

    pub(super) fn configure(&mut self, raw: &raw::OutlierDetection, now: Time) {
        let config = config(raw);
        self.detector.configure(config);
        self.due = self.due.min(now + config.interval);
    }

    pub(super) fn set_hosts(&mut self, hosts: &HashMap<Address, Arc<HostHealth>>) {
        self.detector.set_hosts(hosts.iter().map(|(address, host)| (address.clone(), host.totals())));
        self.count_active();
    }

    /// Takes what workers have signalled of a host.
    pub(super) fn hear(&mut self, address: &Address, signals: HealthSignals, host: &HostHealth, now: Time) {
        for (signal, cause) in [
            (HealthSignals::GATEWAY_FAILURES, OutlierCause::ConsecutiveGatewayFailure),
            (HealthSignals::FAILURES_5XX, OutlierCause::Consecutive5xx),
            (HealthSignals::LOCAL_ORIGIN_FAILURES, OutlierCause::ConsecutiveLocalOriginFailure),
        ] {
            if signals.contains(signal) {
                self.detector.failed_in_a_row(now, address, cause, &mut self.events);
                host.reset_streaks(signal);
            }
        }
    }

    /// An active check of a host has succeeded.
    pub(super) fn health_check_passed(&mut self, address: &Address, now: Time) {
        self.detector.health_check_passed(now, address, &mut self.events);
    }

    /// Does what an interval's end asks for if it is due, and carries out what has been decided; true when another
    /// host may be picked, or one less.
    pub(super) fn decide(&mut self, cluster: &str, hosts: &HashMap<Address, Arc<HostHealth>>, now: Time) -> bool {
        if now >= self.due {
            // From now: an interval that was missed is not made up for.
            self.due = now + self.detector.config().interval;
            let totals = |address: &Address| hosts.get(address).map_or_else(Default::default, |host| host.totals());
            self.detector.interval(now, totals, &mut self.events);
        }
        let mut changed = false;
        for event in std::mem::take(&mut self.events) {
            self.count(&event.what);
            changed |= hosts.get(&event.host).is_some_and(|host| carry_out(cluster, &event, host));
        }
        self.count_active();
        changed
    }

    /// Detection was switched off.
    pub(super) fn release_all(&mut self, cluster: &str, hosts: &HashMap<Address, Arc<HostHealth>>, now: Time) {
        self.detector.release_all(now, &mut self.events);
        // Workers get a plan right after this.
        self.decide(cluster, hosts, now);
    }

    fn count_active(&self) {
        self.stats.control().ejections_active.set(self.detector.ejections_active() as u64);
    }

    fn count(&self, what: &OutlierAction) {
        let cells = self.stats.control();
        match *what {
            OutlierAction::Ejected { cause, enforced, .. } => {
                let (found, ejected) = counters(&cells, cause);
                found.inc();
                if enforced {
                    ejected.inc();
                    cells.ejections_enforced_total.inc();
                }
            }
            OutlierAction::Overflow { cause } => {
                counters(&cells, cause).0.inc();
                cells.ejections_overflow.inc();
            }
            OutlierAction::Unejected { .. } => {}
        }
    }
}

/// Hosts that were found out, and those that were ejected.
fn counters(cells: &OutlierStats, cause: OutlierCause) -> (&Counter, &Counter) {
    match cause {
        OutlierCause::Consecutive5xx => {
            (&cells.ejections_detected_consecutive_5xx, &cells.ejections_enforced_consecutive_5xx)
        }
        OutlierCause::ConsecutiveGatewayFailure => (
            &cells.ejections_detected_consecutive_gateway_failure,
            &cells.ejections_enforced_consecutive_gateway_failure,
        ),
        OutlierCause::ConsecutiveLocalOriginFailure => (
            &cells.ejections_detected_consecutive_local_origin_failure,
            &cells.ejections_enforced_consecutive_local_origin_failure,
        ),
        OutlierCause::SuccessRate => (&cells.ejections_detected_success_rate, &cells.ejections_enforced_success_rate),
        OutlierCause::LocalOriginSuccessRate => {
            (&cells.ejections_detected_local_origin_success_rate, &cells.ejections_enforced_local_origin_success_rate)
        }
        OutlierCause::FailurePercentage => {
            (&cells.ejections_detected_failure_percentage, &cells.ejections_enforced_failure_percentage)
        }
        OutlierCause::LocalOriginFailurePercentage => (
            &cells.ejections_detected_local_origin_failure_percentage,
            &cells.ejections_enforced_local_origin_failure_percentage,
        ),
    }
}

/// Ejects a host or lets it back; true when that decides whether it may be picked. What changes nothing is counted
/// and not logged: a host that fails and stays would fill the log.
fn carry_out(cluster: &str, event: &OutlierEvent<Address>, health: &HostHealth) -> bool {
    let host = &event.host;
    match event.what {
        OutlierAction::Ejected { cause, span, enforced: true, times } => {
            let (cause, millis) = (cause.name(), span.as_millis());
            eprintln!(
                "ringway: outlier_detection cluster={cluster} host={host} action=eject type={cause} \
                 ejection_ms={millis} num_ejections={times}"
            );
            health.set(HealthFlags::FAILED_OUTLIER_CHECK, true)
        }
        OutlierAction::Unejected { after } => {
            let millis = after.as_millis();
            eprintln!("ringway: outlier_detection cluster={cluster} host={host} action=uneject after_ms={millis}");
            // What happened meanwhile is not held against it.
            health.reset_streaks(HealthSignals::STREAKS);
            health.set(HealthFlags::FAILED_OUTLIER_CHECK, false)
        }
        OutlierAction::Ejected { .. } | OutlierAction::Overflow { .. } => false,
    }
}
