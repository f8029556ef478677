//! Who is an outlier among hosts, by their success rates in one interval.

use super::OutlierConfig;
use crate::Totals;

/// A host's interval.
#[derive(Clone, Copy, Debug)]
pub(super) struct Judged {
    pub(super) at: usize,
    requests: u64,
    /// In percent.
    success_rate: f64,
}

impl Judged {
    pub(super) fn of(at: usize, volume: Totals) -> Self {
        let requests = volume.successes.saturating_add(volume.failures);
        let success_rate = if requests == 0 { 100.0 } else { volume.successes as f64 * 100.0 / requests as f64 };
        Self { at, requests, success_rate }
    }

    /// The success rate, if there were requests enough for either comparison.
    pub(super) fn shown(&self, config: &OutlierConfig) -> Option<f64> {
        let enough = config.success_rate_request_volume.min(config.failure_percentage_request_volume);
        (self.requests > 0 && self.requests >= u64::from(enough)).then_some(self.success_rate)
    }
}

/// The outliers among hosts that are not ejected, and whether each is one by its success rate (or else by its failure
/// percentage). `hosts` counts those that are ejected, too.
pub(super) fn outliers(config: &OutlierConfig, hosts: usize, judged: &[Judged]) -> Vec<(usize, bool)> {
    let mut found = Vec::new();
    let enough =
        |volume: u32| judged.iter().filter(move |host| host.requests > 0 && host.requests >= u64::from(volume));

    let least = config.success_rate_minimum_hosts.max(1) as usize;
    let valid: Vec<f64> = enough(config.success_rate_request_volume).map(|host| host.success_rate).collect();
    if hosts >= least && valid.len() >= least {
        let threshold = threshold(&valid, f64::from(config.success_rate_stdev_factor) / 1000.0);
        let outliers = enough(config.success_rate_request_volume).filter(|host| host.success_rate < threshold);
        found.extend(outliers.map(|host| (host.at, true)));
    }

    let least = config.failure_percentage_minimum_hosts.max(1) as usize;
    if hosts >= least && enough(config.failure_percentage_request_volume).count() >= least {
        let most = f64::from(config.failure_percentage_threshold);
        let outliers =
            enough(config.failure_percentage_request_volume).filter(|host| 100.0 - host.success_rate >= most);
        found.extend(outliers.map(|host| (host.at, false)));
    }
    found
}

/// The mean less so many standard deviations (of the whole, not of a sample).
fn threshold(rates: &[f64], factor: f64) -> f64 {
    let count = rates.len() as f64;
    let mean = rates.iter().sum::<f64>() / count;
    let variance = rates.iter().map(|rate| (rate - mean) * (rate - mean)).sum::<f64>() / count;
    mean - factor * variance.sqrt()
}
