//! The health of a host, shared by all workers and the control plane.
//!
//! Nobody looks here to pick a host: workers copy [`HostHealth::is_usable`] into the state that their balancers read,
//! when the control plane tells them that something has changed ([`Cluster::sync_health`](crate::Cluster)). What a
//! worker writes here is what outlier detection needs: a cell of its own for every outcome, and counts of failures in
//! a row, which all workers share and which a success touches only if they are not zero.

use std::fmt;
use std::ops::BitOr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering::Relaxed};

use ringway_api::Counter;

/// What is known of the health of one host of one cluster. It outlives plans; whoever asks for equality asks for
/// identity.
pub struct HostHealth {
    flags: AtomicU8,
    signals: AtomicU8,
    /// 5xx in a row.
    streak_5xx: AtomicU32,
    /// Gateway failures in a row.
    streak_gateway: AtomicU32,
    /// Failures of this side to reach the host, in a row.
    streak_local: AtomicU32,
    tallies: Box<[Tally]>,
    bell: Arc<HealthBell>,
}

/// Why a host may not be picked, as a set. Names are those of Envoy's `/clusters`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HealthFlags(u8);

/// What a worker wants the control plane to look at, as a set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HealthSignals(u8);

/// Wakes the control plane when a worker has seen something that it must decide upon. One per cluster.
pub struct HealthBell {
    rung: AtomicBool,
    wake: Box<dyn Fn() + Send + Sync>,
}

/// What workers need to know of a cluster's outlier detection and health checks. A threshold of 0 is never reached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PassiveParams {
    /// Outcomes are counted at all.
    pub outliers: bool,
    /// 5xx in a row.
    pub consecutive_5xx: u32,
    /// 502, 503 and 504 in a row.
    pub consecutive_gateway_failure: u32,
    /// Failures of this side in a row; used when they are told apart.
    pub consecutive_local_origin_failure: u32,
    /// Failures of this side (connects, resets, timeouts) are told apart from what hosts answer.
    pub split_local_origin: bool,
    /// A response may take its host out by `x-envoy-immediate-health-check-fail`: the cluster is actively checked.
    pub immediate_fail: bool,
}

/// What an attempt came to, as far as its host is concerned. Names follow Envoy's outlier detection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The host answered with this status: HTTP's, or the one that an RPC's or gRPC's stands for.
    Answered(u16),
    /// The host answered with something that is no answer. Counts as 500.
    Malformed,
    /// A connection for bytes is there, and no more will be known. Counts as 200.
    Connected,
    /// No connection came about, or it was cut before the answer was complete. Counts as 503.
    ConnectFailed,
    /// The answer took too long. Counts as 504.
    TimedOut,
}

/// Requests of a host over all workers since it became one; both only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Those that succeeded.
    pub successes: u64,
    /// Those that failed.
    pub failures: u64,
}

/// One worker's cells, in a cache line of their own.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Tally {
    external: Pair,
    local: Pair,
}

#[derive(Debug, Default)]
struct Pair {
    successes: Counter,
    failures: Counter,
}

// === impl HostHealth ===

impl HostHealth {
    /// A healthy host whose outcomes are counted on `workers` workers; 0 where nobody wants them.
    pub fn new(workers: usize, bell: Arc<HealthBell>) -> Arc<Self> {
        Arc::new(Self {
            flags: AtomicU8::new(0),
            signals: AtomicU8::new(0),
            streak_5xx: AtomicU32::new(0),
            streak_gateway: AtomicU32::new(0),
            streak_local: AtomicU32::new(0),
            tallies: (0..workers).map(|_| Tally::default()).collect(),
            bell,
        })
    }

    /// Whether outcomes are counted.
    pub fn counts_outcomes(&self) -> bool {
        !self.tallies.is_empty()
    }

    /// Whether it may be picked: no flag but `pending` is set.
    pub fn is_usable(&self) -> bool {
        self.flags().is_usable()
    }

    /// Its flags.
    pub fn flags(&self) -> HealthFlags {
        HealthFlags(self.flags.load(Relaxed))
    }

    /// Sets or clears flags; true when that changed whether the host may be picked. For the control plane, which
    /// then tells the workers.
    pub fn set(&self, flags: HealthFlags, on: bool) -> bool {
        let before = match on {
            true => self.flags.fetch_or(flags.0, Relaxed),
            false => self.flags.fetch_and(!flags.0, Relaxed),
        };
        HealthFlags(before).is_usable() != self.is_usable()
    }

    /// Takes what workers have signalled.
    pub fn take_signals(&self) -> HealthSignals {
        HealthSignals(self.signals.swap(0, Relaxed))
    }

    /// Begins counting the failures in a row anew that these signals are about.
    pub fn reset_streaks(&self, which: HealthSignals) {
        for (streak, signal) in [
            (&self.streak_gateway, HealthSignals::GATEWAY_FAILURES),
            (&self.streak_5xx, HealthSignals::FAILURES_5XX),
            (&self.streak_local, HealthSignals::LOCAL_ORIGIN_FAILURES),
        ] {
            if which.contains(signal) {
                streak.store(0, Relaxed);
                self.signals.fetch_and(!signal.0, Relaxed);
            }
        }
    }

    /// What hosts answered, and what this side failed at where that is told apart.
    pub fn totals(&self) -> [Totals; 2] {
        let mut sums = [Totals::default(); 2];
        let [external, local] = &mut sums;
        for tally in &self.tallies {
            tally.external.add_to(external);
            tally.local.add_to(local);
        }
        sums
    }

    /// Counts an outcome. `worker` is the number of the worker that calls.
    pub fn record(&self, params: &PassiveParams, worker: usize, outcome: Outcome) {
        let split = params.split_local_origin;
        if split && matches!(outcome, Outcome::Answered(_) | Outcome::Malformed | Outcome::Connected) {
            // The host was reached. Known only now: a connection whose requests all take too long is no success.
            self.tally(worker, |tally| tally.local.successes.inc());
            clear(&self.streak_local);
        }
        match outcome {
            Outcome::Answered(status) => self.external(params, worker, status),
            Outcome::Malformed => self.external(params, worker, 500),
            Outcome::Connected if split => {}
            Outcome::Connected => self.external(params, worker, 200),
            Outcome::ConnectFailed | Outcome::TimedOut if split => {
                self.tally(worker, |tally| tally.local.failures.inc());
                let limit = params.consecutive_local_origin_failure;
                self.grow(&self.streak_local, limit, HealthSignals::LOCAL_ORIGIN_FAILURES);
            }
            Outcome::ConnectFailed => self.external(params, worker, 503),
            Outcome::TimedOut => self.external(params, worker, 504),
        }
    }

    /// The host said that it must not get more requests.
    pub(crate) fn fail_immediately(&self) {
        self.signal(HealthSignals::IMMEDIATE_FAIL);
    }

    fn external(&self, params: &PassiveParams, worker: usize, status: u16) {
        if !(500..600).contains(&status) {
            self.tally(worker, |tally| tally.external.successes.inc());
            clear(&self.streak_5xx);
            clear(&self.streak_gateway);
            return;
        }
        self.tally(worker, |tally| tally.external.failures.inc());
        if matches!(status, 502..=504) {
            let limit = params.consecutive_gateway_failure;
            self.grow(&self.streak_gateway, limit, HealthSignals::GATEWAY_FAILURES);
        } else {
            clear(&self.streak_gateway);
        }
        self.grow(&self.streak_5xx, params.consecutive_5xx, HealthSignals::FAILURES_5XX);
    }

    /// A locked instruction, but only for failures: a row must be one row over all workers.
    fn grow(&self, streak: &AtomicU32, limit: u32, signal: HealthSignals) {
        let now = streak.fetch_add(1, Relaxed).saturating_add(1);
        if limit > 0 && now >= limit {
            self.signal(signal);
        }
    }

    fn signal(&self, signal: HealthSignals) {
        if self.signals.load(Relaxed) & signal.0 != signal.0 {
            self.signals.fetch_or(signal.0, Relaxed);
            self.bell.ring();
        }
    }

    fn tally(&self, worker: usize, count: impl FnOnce(&Tally)) {
        debug_assert!(worker < self.tallies.len(), "worker {worker} of {}", self.tallies.len());
        if let Some(tally) = self.tallies.get(worker) {
            count(tally);
        }
    }
}

/// Zeroes what all workers share, and leaves its cache line alone when it is zero already.
fn clear(streak: &AtomicU32) {
    if streak.load(Relaxed) != 0 {
        streak.store(0, Relaxed);
    }
}

impl PartialEq for HostHealth {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::eq(self, other)
    }
}

impl Eq for HostHealth {}

impl fmt::Debug for HostHealth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostHealth").field("flags", &self.flags()).finish_non_exhaustive()
    }
}

impl Pair {
    fn add_to(&self, sum: &mut Totals) {
        sum.successes = sum.successes.wrapping_add(self.successes.value());
        sum.failures = sum.failures.wrapping_add(self.failures.value());
    }
}

// === impl HealthFlags ===

impl HealthFlags {
    /// The last active check failed, or there was none yet.
    pub const FAILED_ACTIVE_HC: Self = Self(1);
    /// Ejected by outlier detection.
    pub const FAILED_OUTLIER_CHECK: Self = Self(1 << 1);
    /// No active check has ended yet. Keeps nobody away by itself.
    pub const PENDING_ACTIVE_HC: Self = Self(1 << 2);
    /// A response said `x-envoy-immediate-health-check-fail`.
    pub const EXCLUDED_VIA_IMMEDIATE_HC_FAIL: Self = Self(1 << 3);

    /// All that active checks decide about.
    pub const BY_CHECKS: Self =
        Self(Self::FAILED_ACTIVE_HC.0 | Self::PENDING_ACTIVE_HC.0 | Self::EXCLUDED_VIA_IMMEDIATE_HC_FAIL.0);

    const ALL: [(Self, &'static str); 4] = [
        (Self::FAILED_ACTIVE_HC, "failed_active_hc"),
        (Self::FAILED_OUTLIER_CHECK, "failed_outlier_check"),
        (Self::PENDING_ACTIVE_HC, "pending_active_hc"),
        (Self::EXCLUDED_VIA_IMMEDIATE_HC_FAIL, "excluded_via_immediate_hc_fail"),
    ];

    /// Whether all of these are set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    const fn is_usable(self) -> bool {
        self.0 & !Self::PENDING_ACTIVE_HC.0 == 0
    }
}

impl BitOr for HealthFlags {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// As in Envoy's `/clusters`: `healthy`, or `/failed_active_hc/failed_outlier_check`.
impl fmt::Display for HealthFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("healthy");
        }
        let mut set = Self::ALL.iter().filter(|(flag, _)| self.contains(*flag));
        set.try_for_each(|(_, name)| write!(f, "/{name}"))
    }
}

// === impl HealthSignals ===

impl HealthSignals {
    /// Enough gateway failures in a row.
    pub const GATEWAY_FAILURES: Self = Self(1);
    /// Enough 5xx in a row.
    pub const FAILURES_5XX: Self = Self(1 << 1);
    /// Enough failures of this side in a row.
    pub const LOCAL_ORIGIN_FAILURES: Self = Self(1 << 2);
    /// A response said `x-envoy-immediate-health-check-fail`.
    pub const IMMEDIATE_FAIL: Self = Self(1 << 3);

    /// All that are about failures in a row.
    pub const STREAKS: Self = Self(Self::GATEWAY_FAILURES.0 | Self::FAILURES_5XX.0 | Self::LOCAL_ORIGIN_FAILURES.0);

    /// Whether this one is set.
    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

// === impl HealthBell ===

impl HealthBell {
    /// A bell that calls `wake`, which must not block, when it is rung for the first time after
    /// [`take`](Self::take).
    pub fn new(wake: impl Fn() + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Self { rung: AtomicBool::new(false), wake: Box::new(wake) })
    }

    /// Whether it was rung since the last call. To be taken before the signals are.
    pub fn take(&self) -> bool {
        // Whoever reads `true` must see the signals that were set before.
        self.rung.swap(false, std::sync::atomic::Ordering::AcqRel)
    }

    fn ring(&self) {
        if !self.rung.swap(true, std::sync::atomic::Ordering::AcqRel) {
            (self.wake)();
        }
    }
}

impl fmt::Debug for HealthBell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HealthBell").field("rung", &self.rung).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
