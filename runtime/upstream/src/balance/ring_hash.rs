//! `ring_hash`: what hashes alike goes to one host; when a host comes or goes, little else moves.

use std::sync::Arc;

use ringway_api::{Hosts, LoadBalancer, PickCx};
use schemars::JsonSchema;
use serde::Deserialize;

use super::hashing::{Made, check_factor, first_with_room, hash_of, keys, mix};

/// Hosts stand on a ring at many points, by their weights (as ketama does); a request goes to the host of the next point
/// behind its hash.
#[derive(Debug)]
pub struct RingHash {
    /// Points with their hosts, in order.
    ring: Arc<[Point]>,
    factor: Option<u32>,
}

/// The options of [`RingHash`].
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RingHashConfig {
    /// Points on the ring at least.
    pub minimum_ring_size: u32,
    /// Points on the ring at most, 8,388,608 itself at most.
    pub maximum_ring_size: u32,
    /// No host has more than this percentage of the average under way (on each worker), 100 at least: what is above
    /// goes to the next on the ring. Without it hosts take what comes.
    pub hash_balance_factor: Option<u32>,
}

/// The options, and the rings that were made with them.
#[derive(Debug)]
pub struct RingHashOptions {
    config: RingHashConfig,
    made: Made<[Point]>,
}

/// A place on the ring, and its host.
type Point = (u64, u32);

/// Envoy's limit.
const MOST: u32 = 8 << 20;

impl Default for RingHashConfig {
    fn default() -> Self {
        Self { minimum_ring_size: 1024, maximum_ring_size: MOST, hash_balance_factor: None }
    }
}

impl LoadBalancer for RingHash {
    const NAME: &'static str = "ring_hash";
    type Config = RingHashConfig;
    type Compiled = RingHashOptions;

    fn compile(config: RingHashConfig) -> Result<RingHashOptions, String> {
        let RingHashConfig { minimum_ring_size: least, maximum_ring_size: most, hash_balance_factor } = config;
        if least == 0 || least > most || most > MOST {
            return Err(format!("minimum_ring_size and maximum_ring_size: 1 to {MOST}, in this order"));
        }
        check_factor(hash_balance_factor)?;
        Ok(RingHashOptions { config, made: Made::default() })
    }

    fn prepare(options: &RingHashOptions, hosts: &[(u32, u64)]) {
        options.ring(hosts);
    }

    fn build(options: &RingHashOptions, hosts: Hosts<'_>, _: u64) -> Self {
        Self { ring: options.ring(&keys(hosts)), factor: options.config.hash_balance_factor }
    }

    fn pick(&self, hosts: Hosts<'_>, cx: PickCx) -> Option<usize> {
        let hash = hash_of(cx);
        let begin = self.ring.partition_point(|(point, _)| *point < hash);
        let (before, behind) = self.ring.split_at_checked(begin)?;
        first_with_room(hosts, self.factor, behind.iter().chain(before).map(|(_, host)| *host as usize))
    }
}

impl RingHashOptions {
    fn ring(&self, hosts: &[(u32, u64)]) -> Arc<[Point]> {
        self.made.of(hosts, || points(hosts, &self.config).into())
    }
}

fn points(hosts: &[(u32, u64)], options: &RingHashConfig) -> Vec<Point> {
    let sum: u64 = hosts.iter().map(|(weight, _)| u64::from(*weight)).sum();
    let lightest = hosts.iter().map(|(weight, _)| u64::from(*weight)).min().unwrap_or(1).max(1);
    // As in Envoy the lightest host has at least one point, and the ring its size; but points come in powers of two, so
    // that a host more or less does not change how many the others have.
    let (least, most) = (f64::from(options.minimum_ring_size), f64::from(options.maximum_ring_size));
    let of_lightest = ((lightest as f64 * least / sum.max(1) as f64).ceil() as u64).next_power_of_two();
    let scale = (of_lightest as f64 * sum as f64 / lightest as f64).min(most);
    let mut ring = Vec::with_capacity(scale as usize + hosts.len());
    for (at, (weight, key)) in hosts.iter().enumerate() {
        let points = (scale * f64::from(*weight) / sum.max(1) as f64).round().max(1.0) as u64;
        ring.extend((0..points).map(|point| (mix(*key, point + 1), at as u32)));
    }
    ring.sort_unstable();
    ring
}
