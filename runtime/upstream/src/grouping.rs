//! How the hosts of a cluster are grouped: priorities, localities, subsets, and what becomes of the unhealthy.

use std::sync::Arc;
use std::time::Duration;

use ringway_api::Metadata;

/// The rules by which a group of hosts is chosen, before the balancer picks one of it. Defaults are Envoy's.
#[derive(Clone, Debug, PartialEq)]
pub struct Grouping {
    /// A priority with a smaller share of usable hosts, in percent, spreads its requests over all of its hosts, usable or
    /// not, when the others cannot take them either. `0` never.
    pub panic_percent: u32,
    /// A priority with this many hundredths of the hosts that it needs has all of its load: 140 means that it can lose 2
    /// of 7.
    pub overprovisioning: u32,
    /// The shares of localities. Those that are not named have 1; when none is, localities do not count.
    pub locality_weights: Vec<(Locality, u32)>,
    /// New hosts get their share little by little.
    pub slow_start: Option<SlowStart>,
    /// Hosts are chosen by metadata.
    pub subsets: Option<Subsets>,
}

/// Where hosts are. Empty parts say nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Locality {
    /// The region.
    pub region: Box<str>,
    /// The zone in it.
    pub zone: Box<str>,
    /// The part of that.
    pub sub_zone: Box<str>,
}

/// How hosts that are new, or well again, come into their share.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SlowStart {
    /// In how long.
    pub window: Duration,
    /// 1 is linear; with more the share grows faster at first.
    pub aggression: f64,
    /// The share to begin with, from 0 to 1.
    pub least: f64,
}

/// Which metadata routes may choose hosts by.
#[derive(Clone, Debug, PartialEq)]
pub struct Subsets {
    /// Sets of keys. A route must name exactly the keys of one.
    pub selectors: Vec<Vec<Box<str>>>,
    /// What happens when no host has what a route wants.
    pub fallback: Fallback,
}

/// What happens when no host has the metadata that is wanted.
#[derive(Clone, Debug, PartialEq)]
pub enum Fallback {
    /// There is no host.
    None,
    /// Any host will do.
    Any,
    /// One with this metadata.
    Default(Arc<Metadata>),
}

impl Default for Grouping {
    fn default() -> Self {
        Self { panic_percent: 50, overprovisioning: 140, locality_weights: Vec::new(), slow_start: None, subsets: None }
    }
}

impl SlowStart {
    /// The share of a host that has been there for `age`, from 0 to 1.
    pub fn share(&self, age: Duration) -> f64 {
        if age >= self.window {
            return 1.0;
        }
        let progress = age.as_secs_f64() / self.window.as_secs_f64();
        progress.powf(1.0 / self.aggression).max(self.least)
    }
}
