//! Outlier detection: which hosts are ejected for what they did to requests, and for how long. Envoy's rules.
//!
//! Sans-I/O: time is passed in, outcomes arrive as [`Totals`] that somebody else counted, and decisions leave as
//! [`OutlierEvent`]s. The control plane drives one [`Detector`] per cluster; a simulator can do the same.

mod config;
mod rates;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use ringway_api::Time;

pub use config::OutlierConfig;

use crate::Totals;
use rates::Judged;

/// Decides about the hosts of one cluster, known by `K`.
#[derive(Debug)]
pub struct Detector<K> {
    config: OutlierConfig,
    hosts: Vec<Monitor<K>>,
    places: HashMap<K, usize>,
    ejected: usize,
    dice: Dice,
}

/// What makes a host an outlier.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum OutlierCause {
    /// 5xx in a row.
    Consecutive5xx,
    /// 502, 503, 504 in a row.
    ConsecutiveGatewayFailure,
    /// Failures of this side to reach it, in a row.
    ConsecutiveLocalOriginFailure,
    /// A success rate far below the mean of the cluster.
    SuccessRate,
    /// The same of connections rather than answers.
    LocalOriginSuccessRate,
    /// A share of failures above the threshold.
    FailurePercentage,
    /// The same of connections rather than answers.
    LocalOriginFailurePercentage,
}

/// What was decided.
#[derive(Clone, Debug, PartialEq)]
pub struct OutlierEvent<K> {
    /// The host.
    pub host: K,
    /// What about it.
    pub what: OutlierAction,
}

/// What was decided about a host.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum OutlierAction {
    /// It is an outlier.
    Ejected {
        /// Why.
        cause: OutlierCause,
        /// It must not be picked for this long (and until the next interval); zero if it stays, because the cause is
        /// not enforced.
        span: Duration,
        /// Whether it must not be picked.
        enforced: bool,
        /// How often it has been ejected so far, this time included.
        times: u32,
    },
    /// It is an outlier, and stays because too many hosts are ejected already.
    Overflow {
        /// Why.
        cause: OutlierCause,
    },
    /// It may be picked again.
    Unejected {
        /// It was out for this long.
        after: Duration,
    },
}

#[derive(Debug)]
struct Monitor<K> {
    host: K,
    /// When it was ejected, while it is, and what is added to its time.
    out: Option<(Time, Duration)>,
    /// An ejection takes so many times the base. Grows with each, and shrinks at each interval without.
    backoff: u32,
    times: u32,
    /// The totals at the last interval.
    seen: [Totals; 2],
    /// In percent, of the last interval, if it had enough requests.
    success_rates: [Option<f64>; 2],
}

/// A small generator (splitmix64): what is random here must be repeatable, not secret.
#[derive(Debug)]
struct Dice(u64);

impl OutlierCause {
    /// As Envoy's statistics and event logs name it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Consecutive5xx => "consecutive_5xx",
            Self::ConsecutiveGatewayFailure => "consecutive_gateway_failure",
            Self::ConsecutiveLocalOriginFailure => "consecutive_local_origin_failure",
            Self::SuccessRate => "success_rate",
            Self::LocalOriginSuccessRate => "local_origin_success_rate",
            Self::FailurePercentage => "failure_percentage",
            Self::LocalOriginFailurePercentage => "local_origin_failure_percentage",
        }
    }
}

impl<K: Clone + Eq + Hash> Detector<K> {
    /// A detector without hosts. `seed` decides what is random: enforcement below 100 %, and jitter.
    pub fn new(config: OutlierConfig, seed: u64) -> Self {
        Self { config, hosts: Vec::new(), places: HashMap::new(), ejected: 0, dice: Dice(seed) }
    }

    /// Goes by this configuration from now on, also for how long hosts that are ejected stay so.
    pub fn configure(&mut self, config: OutlierConfig) {
        self.config = config;
    }

    /// The configuration.
    pub fn config(&self) -> &OutlierConfig {
        &self.config
    }

    /// These are the hosts now, with their totals so far. Those that stay keep their history.
    pub fn set_hosts(&mut self, hosts: impl IntoIterator<Item = (K, [Totals; 2])>) {
        let mut known: HashMap<K, Monitor<K>> =
            self.hosts.drain(..).map(|monitor| (monitor.host.clone(), monitor)).collect();
        self.places.clear();
        for (host, seen) in hosts {
            if self.places.contains_key(&host) {
                continue;
            }
            let fresh =
                || Monitor { host: host.clone(), out: None, backoff: 0, times: 0, seen, success_rates: [None; 2] };
            let monitor = known.remove(&host).unwrap_or_else(fresh);
            self.places.insert(host, self.hosts.len());
            self.hosts.push(monitor);
        }
        self.ejected = self.hosts.iter().filter(|monitor| monitor.out.is_some()).count();
    }

    /// Hosts that are ejected.
    pub fn ejections_active(&self) -> usize {
        self.ejected
    }

    /// Whether a host is ejected.
    pub fn is_ejected(&self, host: &K) -> bool {
        self.monitor(host).is_some_and(|monitor| monitor.out.is_some())
    }

    /// The success rates of a host in the last interval, in percent: of what it answered, and of what this side tried
    /// where that is told apart. `None` if there were too few requests.
    pub fn success_rates(&self, host: &K) -> [Option<f64>; 2] {
        self.monitor(host).map_or([None; 2], |monitor| monitor.success_rates)
    }

    /// A host has failed so many times in a row as its threshold says. What follows is added to `events`.
    pub fn failed_in_a_row(&mut self, now: Time, host: &K, cause: OutlierCause, events: &mut Vec<OutlierEvent<K>>) {
        // Told from another thread: it may have left, or been ejected meanwhile.
        if let Some(&at) = self.places.get(host) {
            self.eject(now, at, cause, events);
        }
    }

    /// An active health check of a host succeeded, and it is healthy.
    pub fn health_check_passed(&mut self, now: Time, host: &K, events: &mut Vec<OutlierEvent<K>>) {
        if self.config.successful_active_health_check_uneject_host
            && let Some(&at) = self.places.get(host)
        {
            self.uneject(now, at, events);
        }
    }

    /// An interval has passed: hosts come back whose time is over, and success rates are compared. `totals` says what
    /// is counted of a host by now.
    pub fn interval(
        &mut self,
        now: Time,
        mut totals: impl FnMut(&K) -> [Totals; 2],
        events: &mut Vec<OutlierEvent<K>>,
    ) {
        let mut volumes = Vec::with_capacity(self.hosts.len());
        for at in 0..self.hosts.len() {
            let Some(monitor) = self.hosts.get_mut(at) else { continue };
            match monitor.out {
                None => monitor.backoff = monitor.backoff.saturating_sub(1),
                Some((since, jitter)) if now.since(since) >= self.config.span(monitor.backoff) + jitter => {
                    self.uneject(now, at, events);
                }
                Some(_) => {}
            }
            let Some(monitor) = self.hosts.get_mut(at) else { continue };
            let reached = totals(&monitor.host);
            let volume = [0, 1].map(|kind| Judged::of(at, reached[kind].minus(monitor.seen[kind])));
            monitor.success_rates = volume.map(|judged| judged.shown(&self.config));
            volumes.push(volume);
            monitor.seen = reached;
        }
        let split = self.config.split_external_local_origin_errors;
        for kind in if split { 0..2 } else { 0..1 } {
            let present = |at: &usize| self.hosts.get(*at).is_some_and(|monitor| monitor.out.is_none());
            let judged: Vec<Judged> = (0..self.hosts.len()).filter(present).map(|at| volumes[at][kind]).collect();
            for (at, is_rate) in rates::outliers(&self.config, self.hosts.len(), &judged) {
                let cause = match (is_rate, kind) {
                    (true, 0) => OutlierCause::SuccessRate,
                    (true, _) => OutlierCause::LocalOriginSuccessRate,
                    (false, 0) => OutlierCause::FailurePercentage,
                    (false, _) => OutlierCause::LocalOriginFailurePercentage,
                };
                self.eject(now, at, cause, events);
            }
        }
    }

    /// Lets all hosts back: detection was switched off.
    pub fn release_all(&mut self, now: Time, events: &mut Vec<OutlierEvent<K>>) {
        (0..self.hosts.len()).for_each(|at| self.uneject(now, at, events));
    }

    fn monitor(&self, host: &K) -> Option<&Monitor<K>> {
        self.places.get(host).and_then(|at| self.hosts.get(*at))
    }

    fn eject(&mut self, now: Time, at: usize, cause: OutlierCause, events: &mut Vec<OutlierEvent<K>>) {
        let count = self.hosts.len();
        let Some(monitor) = self.hosts.get_mut(at).filter(|monitor| monitor.out.is_none()) else { return };
        let most = self.config.max_ejection_percent.min(100) as usize;
        // One host may always be ejected: 10 % of three hosts would be none, and protect nobody.
        if self.ejected > 0 && (self.ejected + 1) * 100 > most * count {
            events.push(OutlierEvent { host: monitor.host.clone(), what: OutlierAction::Overflow { cause } });
            return;
        }
        let enforced = self.dice.percent(self.config.enforcing(cause));
        let mut span = Duration::ZERO;
        if enforced {
            // Grows no further than it takes to reach the limit, so that it shrinks from there.
            if monitor.backoff == 0 || self.config.span(monitor.backoff) < self.config.longest() {
                monitor.backoff += 1;
            }
            let jitter = self.dice.up_to(self.config.max_ejection_time_jitter);
            span = self.config.span(monitor.backoff) + jitter;
            monitor.times = monitor.times.saturating_add(1);
            monitor.out = Some((now, jitter));
            self.ejected += 1;
        }
        let what = OutlierAction::Ejected { cause, span, enforced, times: monitor.times };
        events.push(OutlierEvent { host: monitor.host.clone(), what });
    }

    fn uneject(&mut self, now: Time, at: usize, events: &mut Vec<OutlierEvent<K>>) {
        let Some(monitor) = self.hosts.get_mut(at) else { return };
        let Some((since, _)) = monitor.out.take() else { return };
        self.ejected = self.ejected.saturating_sub(1);
        let what = OutlierAction::Unejected { after: now.since(since) };
        events.push(OutlierEvent { host: monitor.host.clone(), what });
    }
}

impl Totals {
    /// What has been added since an earlier reading.
    pub(crate) fn minus(self, earlier: Self) -> Self {
        Self {
            successes: self.successes.wrapping_sub(earlier.successes),
            failures: self.failures.wrapping_sub(earlier.failures),
        }
    }
}

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn percent(&mut self, share: u32) -> bool {
        share >= 100 || self.next() % 100 < u64::from(share)
    }

    fn up_to(&mut self, most: Duration) -> Duration {
        let millis = u64::try_from(most.as_millis()).unwrap_or(u64::MAX);
        if millis == 0 { Duration::ZERO } else { Duration::from_millis(self.next() % millis.saturating_add(1)) }
    }
}
