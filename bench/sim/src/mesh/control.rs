//! The part of the control plane that outlier detection needs: it hears workers, asks the detectors, tells workers.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use ringway_api::{Address, Time};
use ringway_upstream::outlier::{Detector, OutlierAction, OutlierCause, OutlierConfig, OutlierEvent};
use ringway_upstream::{HealthBell, HealthFlags, HealthSignals, HostHealth, HostParams, PassiveParams};

/// The health of hosts. Without a configuration nothing is detected.
pub(super) struct Control {
    config: Option<OutlierConfig>,
    seed: u64,
    rung: Arc<AtomicBool>,
    clusters: BTreeMap<String, Watched>,
}

struct Watched {
    bell: Arc<HealthBell>,
    /// In the order of the configuration.
    hosts: Vec<(Address, Arc<HostHealth>)>,
    detector: Detector<Address>,
    due: Option<Time>,
}

impl Control {
    pub(super) fn new(config: Option<OutlierConfig>, seed: u64) -> Self {
        Self { config, seed, rung: Arc::default(), clusters: BTreeMap::new() }
    }

    pub(super) fn passive(&self) -> Option<PassiveParams> {
        self.config.map(|config| config.passive())
    }

    /// Gives the hosts of a cluster their health: the one they had, if they had one.
    pub(super) fn attach(&mut self, cluster: &str, hosts: &mut [HostParams], workers: usize) {
        let Some(config) = self.config else { return };
        let watched = self.clusters.entry(cluster.to_owned()).or_insert_with(|| {
            let rung = Arc::clone(&self.rung);
            Watched {
                bell: HealthBell::new(move || rung.store(true, Relaxed)),
                hosts: Vec::new(),
                detector: Detector::new(config, self.seed),
                due: None,
            }
        });
        let before = std::mem::take(&mut watched.hosts);
        for host in hosts {
            let fresh = || HostHealth::new(workers, Arc::clone(&watched.bell));
            let health = find(&before, &host.address).cloned().unwrap_or_else(fresh);
            watched.hosts.push((host.address.clone(), Arc::clone(&health)));
            host.health = Some(health);
        }
        let totals = watched.hosts.iter().map(|(address, health)| (address.clone(), health.totals()));
        watched.detector.set_hosts(totals);
    }

    /// Decides what there is to decide; the clusters whose hosts may now be picked or not.
    pub(super) fn round(&mut self, now: Time) -> Vec<String> {
        let rung = self.rung.swap(false, Relaxed);
        let clusters = self.clusters.iter_mut();
        clusters.filter_map(|(name, watched)| watched.round(rung, now).then(|| name.clone())).collect()
    }
}

impl Watched {
    fn round(&mut self, rung: bool, now: Time) -> bool {
        let mut events = Vec::new();
        if rung && self.bell.take() {
            for (address, health) in &self.hosts {
                let signals = health.take_signals();
                for (signal, cause) in [
                    (HealthSignals::GATEWAY_FAILURES, OutlierCause::ConsecutiveGatewayFailure),
                    (HealthSignals::FAILURES_5XX, OutlierCause::Consecutive5xx),
                    (HealthSignals::LOCAL_ORIGIN_FAILURES, OutlierCause::ConsecutiveLocalOriginFailure),
                ] {
                    if signals.contains(signal) {
                        self.detector.failed_in_a_row(now, address, cause, &mut events);
                        health.reset_streaks(signal);
                    }
                }
            }
        }
        let interval = self.detector.config().interval;
        if now >= *self.due.get_or_insert(now + interval) {
            self.due = Some(now + interval);
            let totals =
                |address: &Address| find(&self.hosts, address).map_or_else(Default::default, |host| host.totals());
            self.detector.interval(now, totals, &mut events);
        }
        // All of them, whatever the first came to.
        events.iter().filter(|event| self.carry_out(event)).count() > 0
    }

    fn carry_out(&self, event: &OutlierEvent<Address>) -> bool {
        let Some(health) = find(&self.hosts, &event.host) else { return false };
        match event.what {
            OutlierAction::Ejected { enforced: true, .. } => health.set(HealthFlags::FAILED_OUTLIER_CHECK, true),
            OutlierAction::Unejected { .. } => {
                health.reset_streaks(HealthSignals::STREAKS);
                health.set(HealthFlags::FAILED_OUTLIER_CHECK, false)
            }
            OutlierAction::Ejected { .. } | OutlierAction::Overflow { .. } => false,
        }
    }
}

fn find<'a>(hosts: &'a [(Address, Arc<HostHealth>)], address: &Address) -> Option<&'a Arc<HostHealth>> {
    hosts.iter().find(|(known, _)| known == address).map(|(_, health)| health)
}
