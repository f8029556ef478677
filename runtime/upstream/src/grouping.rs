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
    /// Requests that would be spread in this way fail instead.
    pub fail_on_panic: bool,
    /// A priority with this many hundredths of the hosts that it needs has all of its load: 140 means that it can lose 2
    /// of 7.
    pub overprovisioning: u32,
    /// The shares of localities. Those that are not named have 1; when none is, localities do not count.
    pub locality_weights: Vec<(Locality, u32)>,
    /// Requests stay in this process's zone as far as that is fair; locality weights do not count then.
    pub zone_aware: Option<ZoneAware>,
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

/// How requests stay in the zone of this process, after Envoy's "Zone aware routing". Only the first priority is aware.
#[derive(Clone, Debug, PartialEq)]
pub struct ZoneAware {
    /// Where this process is.
    pub local: Locality,
    /// How many of the processes that send such requests there are in each locality.
    pub senders: Vec<(Locality, u32)>,
    /// With fewer usable hosts than this, zones do not count.
    pub min_hosts: usize,
    /// The share of requests that zones count for, from 0 to 1.
    pub share: f64,
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
        Self {
            panic_percent: 50,
            fail_on_panic: false,
            overprovisioning: 140,
            locality_weights: Vec::new(),
            zone_aware: None,
            slow_start: None,
            subsets: None,
        }
    }
}

impl ZoneAware {
    /// The shares of localities with so many usable hosts: the weights among which a request chooses.
    ///
    /// When this zone has at least the share of the hosts that it has of the senders, everything stays; otherwise as much
    /// as its hosts can take beside those of the others, and the rest goes where there is room.
    pub fn weights(&self, hosts: &[(Option<&Locality>, usize)]) -> Vec<f64> {
        let all: usize = hosts.iter().map(|(_, usable)| usable).sum();
        let plain = |usable: usize| usable as f64 / all.max(1) as f64;
        let senders: u32 = self.senders.iter().map(|(_, count)| count).sum();
        let sends = |locality: Option<&Locality>| {
            let count = self.senders.iter().find(|(known, _)| Some(known) == locality).map_or(0, |(_, count)| *count);
            f64::from(count) / f64::from(senders.max(1))
        };
        let here = hosts.iter().position(|(locality, usable)| *locality == Some(&self.local) && *usable > 0);
        let Some(here) = here.filter(|_| all >= self.min_hosts && senders > 0) else {
            return hosts.iter().map(|(_, usable)| plain(*usable)).collect();
        };
        let (sent, has) = (sends(Some(&self.local)), hosts.get(here).map_or(0.0, |(_, usable)| plain(*usable)));
        let stays = if sent <= has { 1.0 } else { has / sent };
        let room = |at: usize, (locality, usable): &(Option<&Locality>, usize)| {
            if at == here { 0.0 } else { (plain(*usable) - sends(*locality)).max(0.0) }
        };
        let rooms: Vec<f64> = hosts.iter().enumerate().map(|(at, zone)| room(at, zone)).collect();
        let total: f64 = rooms.iter().sum();
        let zoned = |at: usize, room: f64| match at {
            _ if at == here => stays,
            // Nobody has room: everybody takes some.
            _ if total <= 0.0 => {
                (1.0 - stays) * hosts.get(at).map_or(0.0, |(_, usable)| plain(*usable)) / (1.0 - has).max(f64::EPSILON)
            }
            _ => (1.0 - stays) * room / total,
        };
        let mixed = |(at, room): (usize, &f64)| {
            let plain = hosts.get(at).map_or(0.0, |(_, usable)| plain(*usable));
            self.share * zoned(at, *room) + (1.0 - self.share) * plain
        };
        rooms.iter().enumerate().map(mixed).collect()
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
