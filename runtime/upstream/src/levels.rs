//! Priorities and localities: which group of hosts a request goes to.

use std::cell::Cell;

use ringway_api::{DynBalancer, HostState, Hosts, PickCx};

use crate::grouping::{Grouping, Locality, ZoneAware};
use crate::host::Shared;
use crate::{ClusterParams, HostParams};

/// Hosts by priority, the most wanted first.
pub(crate) struct Levels {
    levels: Vec<Level>,
    /// The [`Shared::changes`] that the loads are of.
    seen: Cell<u64>,
}

/// The hosts of a priority.
struct Level {
    priority: u32,
    /// How much of all requests it could take, in percent.
    health: Cell<u32>,
    groups: Vec<Group>,
    hosts: usize,
    /// Its share of the requests, in percent.
    load: Cell<u32>,
    /// All of its hosts are taken to be usable.
    panic: Cell<bool>,
}

/// Hosts among which one balancer picks.
struct Group {
    /// Which they are; `None` for all there are.
    members: Option<Box<[u32]>>,
    /// Where they are, if that counts.
    locality: Option<Locality>,
    weight: u32,
    /// The weight, less for what is not usable.
    effective: Cell<f64>,
    balancer: Box<dyn DynBalancer>,
}

impl Levels {
    /// The levels of these of a cluster's hosts.
    pub(crate) fn build(
        members: Vec<u32>,
        params: &[HostParams],
        states: &[HostState],
        cluster: &ClusterParams,
        seed: u64,
    ) -> Self {
        let everybody = members.len() == params.len();
        let weights = &cluster.grouping.locality_weights;
        let counts = !weights.is_empty() || cluster.grouping.zone_aware.is_some();
        let mut sorted: Vec<(u32, Option<&Locality>, u32)> = Vec::with_capacity(members.len());
        for at in members {
            let Some(host) = params.get(at as usize) else { continue };
            let locality = host.locality.as_deref().filter(|_| counts);
            sorted.push((host.priority, locality, at));
        }
        // Stable: within a group hosts stay in their order.
        sorted.sort_by(|one, other| (one.0, one.1).cmp(&(other.0, other.1)));
        let levels = sorted.chunk_by(|one, other| one.0 == other.0).map(|level| {
            let groups = level.chunk_by(|one, other| one.1 == other.1).map(|group| {
                let locality = group.first().and_then(|(_, locality, _)| *locality);
                let named = weights.iter().find(|(named, _)| Some(named) == locality);
                let weight = named.map_or(1, |(_, weight)| *weight);
                let members: Box<[u32]> = group.iter().map(|(_, _, at)| *at).collect();
                let members = Some(members).filter(|members| !everybody || members.len() < states.len());
                Group::build(members, (locality, weight), states, cluster, seed)
            });
            Level {
                priority: level.first().map_or(0, |(priority, ..)| *priority),
                health: Cell::new(0),
                groups: groups.flatten().collect(),
                hosts: level.len(),
                load: Cell::new(0),
                panic: Cell::new(false),
            }
        });
        Self { levels: levels.collect(), seen: Cell::new(u64::MAX) }
    }

    /// Picks a host; `None` when there is none. Not one of the `avoided` priorities (a bit for each), if others can take
    /// anything.
    pub(crate) fn pick(
        &self,
        states: &[HostState],
        shared: &Shared,
        rules: &Grouping,
        avoided: u128,
        cx: PickCx,
    ) -> Option<usize> {
        if self.seen.replace(shared.changes.get()) != shared.changes.get() {
            self.weigh(states, rules);
        }
        let level = match self.levels.as_slice() {
            [only] => only,
            several => {
                let other = |level: &Level| 1_u128.checked_shl(level.priority).is_none_or(|bit| avoided & bit == 0);
                let avoids = avoided != 0 && several.iter().any(|level| other(level) && level.health.get() > 0);
                let load = |level: &Level| match avoids {
                    false => f64::from(level.load.get()),
                    true if other(level) => f64::from(level.health.get()),
                    true => 0.0,
                };
                choose(several, load, cx.hash.unwrap_or(cx.random))?
            }
        };
        let group = match level.groups.as_slice() {
            [only] => only,
            several => choose(several, |group| group.effective.get(), cx.hash.unwrap_or(cx.random).rotate_left(17))?,
        };
        let mut hosts = group.hosts(states).with_active(shared.active.get());
        if level.panic.get() {
            shared.panics.set(shared.panics.get() + 1);
            if rules.fail_on_panic {
                return None;
            }
            hosts = hosts.in_panic();
        }
        let at = group.balancer.pick(hosts, cx)?;
        match &group.members {
            None => Some(at),
            Some(members) => Some(*members.get(at)? as usize),
        }
    }

    /// Works out how much each level gets, after Envoy's "Priority levels" and "Panic threshold".
    fn weigh(&self, states: &[HostState], rules: &Grouping) {
        let usable: Vec<usize> = self.levels.iter().map(|level| level.usable(states, rules)).collect();
        let health = |(level, usable): (&Level, &usize)| {
            let percent = *usable as u64 * u64::from(rules.overprovisioning) / level.hosts.max(1) as u64;
            u32::try_from(percent).unwrap_or(100).min(100)
        };
        let health: Vec<u32> = self.levels.iter().zip(&usable).map(health).collect();
        let total = health.iter().sum::<u32>().min(100);
        let hosts: usize = self.levels.iter().map(|level| level.hosts).sum();
        let mut left = 100;
        for ((level, usable), health) in self.levels.iter().zip(&usable).zip(&health) {
            let percent = (100 * usable / level.hosts.max(1)) as u32;
            // Levels that can take everything between them need none of the ill.
            level.panic.set(total < 100 && percent < rules.panic_percent);
            let load = if total > 0 {
                (health * 100).div_ceil(total).min(left)
            } else {
                // Nobody is well: everyone gets what their number says.
                (100 * level.hosts / hosts.max(1)) as u32
            };
            level.health.set(*health);
            level.load.set(load);
            left -= load.min(left);
        }
        if let Some(zones) = &rules.zone_aware {
            for (at, level) in self.levels.iter().enumerate() {
                level.weigh_zones(zones, at == 0 && !level.panic.get(), states);
            }
        }
        if let Some(first) = self.levels.iter().find(|level| level.load.get() > 0).or(self.levels.first()) {
            // What rounding has left over.
            first.load.set(first.load.get() + left);
        }
    }
}

impl Level {
    /// Weighs groups that are localities: by this process's zone if it is `aware`, otherwise by their hosts.
    fn weigh_zones(&self, zones: &ZoneAware, aware: bool, states: &[HostState]) {
        let panic = self.panic.get();
        let count = |group: &Group| match group.hosts(states) {
            hosts if panic => hosts.len(),
            hosts => hosts.usable().count(),
        };
        let hosts: Vec<_> = self.groups.iter().map(|group| (group.locality.as_ref(), count(group))).collect();
        let weights = match aware {
            true => zones.weights(&hosts),
            false => hosts.iter().map(|(_, usable)| *usable as f64).collect(),
        };
        for (group, weight) in self.groups.iter().zip(weights) {
            group.effective.set(weight);
        }
    }

    /// How many hosts are usable; weighs the groups on the way.
    fn usable(&self, states: &[HostState], rules: &Grouping) -> usize {
        let mut all = 0;
        for group in &self.groups {
            let hosts = group.hosts(states);
            let usable = hosts.usable().count();
            let kept = usable as f64 * f64::from(rules.overprovisioning) / (100.0 * hosts.len().max(1) as f64);
            group.effective.set(f64::from(group.weight) * kept.min(1.0));
            all += usable;
        }
        all
    }
}

impl Group {
    fn build(
        members: Option<Box<[u32]>>,
        (locality, weight): (Option<&Locality>, u32),
        states: &[HostState],
        cluster: &ClusterParams,
        seed: u64,
    ) -> Option<Self> {
        let hosts = members.as_deref().map_or(Hosts::all(states), |members| Hosts::of(states, members));
        let balancer = cluster.balancer.build(hosts, seed);
        debug_assert!(balancer.is_some(), "options are compiled by the same specification");
        let locality = locality.cloned();
        Some(Self { locality, weight, effective: Cell::new(f64::from(weight)), balancer: balancer?, members })
    }

    fn hosts<'a>(&'a self, states: &'a [HostState]) -> Hosts<'a> {
        self.members.as_deref().map_or(Hosts::all(states), |members| Hosts::of(states, members))
    }
}

/// One of several, by their weights; any of them when no weight is left.
fn choose<T>(several: &[T], weight: impl Fn(&T) -> f64, random: u64) -> Option<&T> {
    let sum: f64 = several.iter().map(&weight).sum();
    let mut point = (random >> 11) as f64 / (1_u64 << 53) as f64 * sum;
    for one in several {
        if point < weight(one) {
            return Some(one);
        }
        point -= weight(one);
    }
    several.iter().find(|one| weight(one) > 0.0).or(several.first())
}
