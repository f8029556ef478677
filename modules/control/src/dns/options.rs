//! The times and limits of the resolver.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher as _, Hasher as _};
use std::time::Duration;

use super::Families;

/// The times and limits of a [`Resolver`](super::Resolver).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolverOptions {
    /// Which addresses are used. Default: all.
    pub families: Families,
    /// How long [`Resolver::warm_up`](super::Resolver::warm_up) waits for a name, from when it was set. Default 5 s.
    pub warm_up: Duration,
    /// How long one lookup may take, all servers and the search list included. Default 15 s.
    pub timeout: Duration,
    /// The least time between two lookups of a host, however short its TTL. Default 1 s.
    pub ttl_floor: Duration,
    /// The most time between two lookups of a host, however long its TTL. Default 5 min.
    pub ttl_ceiling: Duration,
    /// The longest wait after failures in a row; the first is one to two times the TTL floor. Default 30 s.
    pub retry_ceiling: Duration,
    /// Lookups at the same time; further ones wait. Default 64.
    pub concurrency: usize,
}

// === impl ResolverOptions ===

impl Default for ResolverOptions {
    fn default() -> Self {
        Self {
            families: Families::default(),
            warm_up: Duration::from_secs(5),
            timeout: Duration::from_secs(15),
            ttl_floor: Duration::from_secs(1),
            ttl_ceiling: Duration::from_secs(5 * 60),
            retry_ceiling: Duration::from_secs(30),
            concurrency: 64,
        }
    }
}

impl ResolverOptions {
    /// Half to all of `floor * 2^failures`, at most the ceiling: many hosts that failed together, because their
    /// server did, must not come back together.
    pub(super) fn retry_after(&self, failures: u32) -> Duration {
        let whole = self.ttl_floor.saturating_mul(1 << failures.min(16)).min(self.retry_ceiling.max(self.ttl_floor));
        let half = whole / 2;
        let random = RandomState::new().build_hasher().finish() >> 32;
        half + half.mul_f64(random as f64 / f64::from(u32::MAX))
    }
}
