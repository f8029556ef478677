//! The health of hosts: what active checks and outlier detection find, and who is told.

mod outliers;
mod secure;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use ringway_api::{Address, Time};
use ringway_config::{Cluster, HealthCheck, Snapshot};
use ringway_control::{CheckFailure, ClusterCheck, HealthChecker, HostTarget, Report, SecureFor};
use ringway_io::tls::ClientTls;
use ringway_proxy::Plan;
use ringway_telemetry::{HealthCheckStats, Registry, Scope};
use ringway_upstream::{HealthBell, HealthFlags, HealthSignals, HostHealth, HostParams, PassiveParams};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::tls::Contexts;
use outliers::Outliers;
pub(super) use secure::Secured;

/// What is known of the hosts of clusters that want it known. Outlives plans.
pub(crate) struct Health {
    registry: Arc<Registry>,
    workers: usize,
    began: Instant,
    seed: u64,
    /// Told when there is something to do.
    wake: Arc<Notify>,
    checker: HealthChecker,
    clusters: BTreeMap<String, ClusterHealth>,
}

struct ClusterHealth {
    /// Rung by workers.
    bell: Arc<HealthBell>,
    hosts: HashMap<Address, Arc<HostHealth>>,
    outliers: Option<Outliers>,
    checks: Option<Arc<Scope<HealthCheckStats>>>,
    /// How checks are secured, and the context it was made of.
    secured: Option<(Arc<ClientTls>, Arc<dyn SecureFor>)>,
}

/// What workers must know of a cluster's health.
pub(super) fn passive(cluster: &Cluster) -> Option<PassiveParams> {
    let outliers = cluster.raw.outlier_detection.as_ref().map(|raw| outliers::config(raw).passive());
    match (outliers, &cluster.health_check) {
        (None, None) => None,
        (outliers, check) => Some(PassiveParams { immediate_fail: check.is_some(), ..outliers.unwrap_or_default() }),
    }
}

impl Health {
    pub(super) fn new(registry: Arc<Registry>, workers: usize) -> Self {
        let wake = Arc::new(Notify::new());
        // Two processes must not move in step; within one, everything follows from this.
        let seed = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), std::process::id());
        Self {
            registry,
            workers,
            began: Instant::now(),
            seed,
            checker: HealthChecker::new(seed, Arc::clone(&wake)),
            wake,
            clusters: BTreeMap::new(),
        }
    }

    /// Notified when a [round](Self::round) has something to do.
    pub(crate) fn wake(&self) -> Arc<Notify> {
        Arc::clone(&self.wake)
    }

    /// When the next round is due by itself.
    pub(crate) fn due(&self) -> Option<Instant> {
        let due = self.clusters.values().filter_map(|cluster| Some(cluster.outliers.as_ref()?.due())).min()?;
        Some(self.began + due.since(Time(0)))
    }

    /// Whether a host waits for its first check.
    pub(crate) fn is_pending(&self) -> bool {
        let mut hosts = self.clusters.values().flat_map(|cluster| cluster.hosts.values());
        hosts.any(|host| host.flags().contains(HealthFlags::PENDING_ACTIVE_HC))
    }

    /// The success rates of a cluster's host in the last interval of outlier detection; `None` without it.
    pub(crate) fn success_rates(&self, cluster: &str, host: &Address) -> Option<[Option<f64>; 2]> {
        Some(self.clusters.get(cluster)?.outliers.as_ref()?.success_rates(host))
    }

    /// Gives a cluster's hosts their health, if anything decides about that: the one they had, if they had one.
    pub(super) fn attach(&mut self, cluster: &Cluster, hosts: &mut [HostParams]) {
        let (raw, checked) = (&cluster.raw, cluster.health_check.is_some());
        if raw.outlier_detection.is_none() && !checked {
            return;
        }
        let known = self.clusters.entry(raw.name.clone()).or_insert_with(|| {
            let wake = Arc::clone(&self.wake);
            ClusterHealth {
                bell: HealthBell::new(move || wake.notify_one()),
                hosts: HashMap::new(),
                outliers: None,
                checks: None,
                secured: None,
            }
        });
        let counting = raw.outlier_detection.is_some();
        let bell = &known.bell;
        let fresh = || HostHealth::new(if counting { self.workers } else { 0 }, Arc::clone(bell));
        for host in hosts {
            let health = known.hosts.entry(host.address.clone()).or_insert_with(|| {
                let health = fresh();
                // As in Envoy, a host is out until its first check has succeeded.
                health.set(HealthFlags::FAILED_ACTIVE_HC | HealthFlags::PENDING_ACTIVE_HC, checked);
                health
            });
            if counting && !health.counts_outcomes() {
                let before = std::mem::replace(health, fresh());
                health.set(before.flags(), true);
            }
            host.health = Some(Arc::clone(health));
        }
    }

    /// Checks these hosts of a cluster from now on.
    pub(super) fn check(
        &mut self,
        cluster: &Cluster,
        check: &Arc<HealthCheck>,
        hosts: &[HostParams],
        contexts: &Contexts,
    ) {
        let name = &cluster.raw.name;
        let Some(known) = self.clusters.get_mut(name) else { return };
        known.checks.get_or_insert_with(|| self.registry.health_checks(name));
        let context = contexts.client(name);
        let same = |context: &Arc<ClientTls>| matches!(&known.secured, Some((of, _)) if Arc::ptr_eq(of, context));
        match context {
            Some(context) if same(context) => {}
            context => known.secured = context.map(|context| (Arc::clone(context), Secured::with(context))),
        }
        let traffic = self.registry.cluster(name);
        let how = ClusterCheck {
            check: Arc::clone(check),
            secure: known.secured.as_ref().map(|(_, secure)| Arc::clone(secure)),
            preamble: secure::preamble(cluster.raw.proxy_protocol),
            has_traffic: Arc::new(move || traffic.blocks().any(|block| block.upstream_cx_total.value() > 0)),
        };
        let target = |host: &HostParams| HostTarget { address: host.address.clone(), name: host.name.clone() };
        self.checker.set(name, how, hosts.iter().map(target));
    }

    /// A plan is about to be put in force: what it does not have is forgotten.
    pub(super) fn settle(&mut self, snapshot: &Snapshot, plan: &Plan, contexts: &Contexts) {
        let mut stays = BTreeSet::new();
        for (cluster, planned) in snapshot.clusters.iter().zip(&*plan.clusters) {
            let name = &cluster.raw.name;
            let now = self.now();
            let Some(known) = self.clusters.get_mut(name).filter(|_| planned.passive.is_some()) else { continue };
            stays.insert(name.clone());
            let members: HashSet<&Address> = planned.hosts.iter().map(|host| &host.address).collect();
            known.hosts.retain(|address, _| members.contains(address));
            match &cluster.raw.outlier_detection {
                Some(raw) => {
                    let fresh = || Outliers::new(raw, self.registry.outliers(name), self.seed, now);
                    let outliers = known.outliers.get_or_insert_with(fresh);
                    outliers.configure(raw, now);
                    outliers.set_hosts(&known.hosts);
                }
                None => {
                    if let Some(mut outliers) = known.outliers.take() {
                        outliers.release_all(name, &known.hosts, now);
                    }
                }
            }
            match &cluster.health_check {
                Some(check) => self.check(cluster, check, &planned.hosts, contexts),
                None => {
                    known.checks = None;
                    for host in known.hosts.values() {
                        host.set(HealthFlags::BY_CHECKS, false);
                    }
                }
            }
        }
        self.clusters.retain(|name, _| stays.contains(name));
        let clusters = &self.clusters;
        self.checker.retain(|name| clusters.get(name).is_some_and(|cluster| cluster.checks.is_some()));
        self.clusters.values().for_each(ClusterHealth::count_healthy);
    }

    /// Hears reports and signals, and lets hosts back whose time is over. The clusters of which another host may be
    /// picked now, or one less.
    pub(super) fn round(&mut self) -> BTreeSet<String> {
        let mut changed = BTreeSet::new();
        let now = self.now();
        while let Some(report) = self.checker.try_report() {
            if let Some(cluster) = self.clusters.get_mut(&*report.cluster)
                && cluster.hear(&report, now)
            {
                changed.insert(String::from(&*report.cluster));
            }
        }
        for (name, cluster) in &mut self.clusters {
            if cluster.bell.take() {
                for (address, host) in &cluster.hosts {
                    let signals = host.take_signals();
                    if signals.contains(HealthSignals::IMMEDIATE_FAIL) {
                        self.checker.fail_immediately(name, address);
                    }
                    if let Some(outliers) = &mut cluster.outliers {
                        outliers.hear(address, signals, host, now);
                    }
                }
            }
            if let Some(outliers) = &mut cluster.outliers
                && outliers.decide(name, &cluster.hosts, now)
            {
                changed.insert(name.clone());
            }
        }
        changed
    }

    fn now(&self) -> Time {
        Time(0) + self.began.elapsed()
    }
}

impl ClusterHealth {
    /// Takes what a check came to; true when it decides whether the host may be picked.
    fn hear(&mut self, report: &Report, now: Time) -> bool {
        let (Some(host), Some(stats)) = (self.hosts.get(&report.address), &self.checks) else { return false };
        let cells = stats.control();
        match &report.outcome {
            Ok(()) => cells.success.inc(),
            Err(failure) => {
                cells.failure.inc();
                match failure {
                    CheckFailure::Network(_) => cells.network_failure.inc(),
                    CheckFailure::Unhealthy(_) => {}
                    CheckFailure::Immediate => cells.passive_failure.inc(),
                }
            }
        }
        if !matches!(report.outcome, Err(CheckFailure::Immediate)) {
            cells.attempt.inc();
        }
        let before = host.is_usable();
        let first = host.flags().contains(HealthFlags::PENDING_ACTIVE_HC);
        host.set(HealthFlags::PENDING_ACTIVE_HC, false);
        host.set(HealthFlags::FAILED_ACTIVE_HC, !report.healthy);
        match &report.outcome {
            Err(CheckFailure::Immediate) => {
                host.set(HealthFlags::EXCLUDED_VIA_IMMEDIATE_HC_FAIL, true);
            }
            Ok(()) if report.healthy => {
                host.set(HealthFlags::EXCLUDED_VIA_IMMEDIATE_HC_FAIL, false);
            }
            _ => {}
        }
        if report.outcome.is_ok()
            && report.healthy
            && let Some(outliers) = &mut self.outliers
        {
            outliers.health_check_passed(&report.address, now);
        }
        let after = host.is_usable();
        // That a new host is well is no news.
        if report.changed != first {
            tell(report);
        }
        if report.changed || first {
            self.count_healthy();
        }
        before != after
    }

    fn count_healthy(&self) {
        if let Some(stats) = &self.checks {
            let failed = |host: &&Arc<HostHealth>| !host.flags().contains(HealthFlags::FAILED_ACTIVE_HC);
            stats.control().healthy.set(self.hosts.values().filter(failed).count() as u64);
        }
    }
}

/// A line in the process's log.
fn tell(report: &Report) {
    let (cluster, host, healthy) = (&report.cluster, &report.address, report.healthy);
    match &report.outcome {
        Ok(()) => eprintln!("ringway: health_check cluster={cluster} host={host} healthy={healthy}"),
        Err(why) => {
            let why = why.to_string();
            eprintln!("ringway: health_check cluster={cluster} host={host} healthy={healthy} reason={why:?}");
        }
    }
}
