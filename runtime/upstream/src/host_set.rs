//! The hosts of a cluster on one worker, in groups, and the choice among them.

use std::cell::Cell;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::rc::Rc;
use std::sync::Arc;

use ringway_api::{Address, HostState, Metadata, PickCx};
use xxhash_rust::xxh64::xxh64;

use crate::grouping::{Fallback, Grouping};
use crate::host::{Host, Seat, Settings, Shared};
use crate::levels::Levels;
use crate::{ClusterParams, HostLimits, HostParams, Want};

/// The hosts in the order of their states, and the balancers built for them.
pub(crate) struct HostSet {
    pub(crate) params: Vec<HostParams>,
    pub(crate) hosts: Vec<Rc<Host>>,
    pub(crate) states: Rc<[HostState]>,
    shared: Rc<Shared>,
    grouping: Arc<Grouping>,
    all: Levels,
    /// By the values of each selector's keys, in the keys' order.
    subsets: Vec<HashMap<Vec<Box<str>>, Levels>>,
    default: Option<Levels>,
    /// Some host is too new for its whole share.
    warming: Cell<bool>,
    /// Some of them have limits of their own.
    pub(crate) limited: bool,
}

/// How often a host that is too new for its share is drawn again.
const REDRAWS: u32 = 8;

impl HostSet {
    pub(crate) fn build(
        old: Option<&Self>,
        params: Vec<HostParams>,
        cluster: &ClusterParams,
        settings: &Rc<Settings>,
    ) -> Self {
        let mut known: HashMap<&Address, &Rc<Host>> =
            old.iter().flat_map(|old| &old.hosts).map(|host| (host.address(), host)).collect();
        let states: Rc<[HostState]> =
            params.iter().map(|host| HostState::new(host.weight, key(&host.address))).collect();
        let shared = Rc::new(Shared::default());
        let take_seat = |(index, host): (usize, &HostParams)| {
            let seat = Seat { states: Rc::clone(&states), shared: Rc::clone(&shared), index };
            match known.remove(&host.address) {
                Some(kept) => {
                    kept.move_to(host, seat);
                    Rc::clone(kept)
                }
                // Those that a cluster begins with share the beginning: none of them is new beside the others.
                None => Host::new(host, seat, Rc::clone(settings), old.is_some()),
            }
        };
        let hosts: Vec<Rc<Host>> = params.iter().enumerate().map(take_seat).collect();
        known.into_values().for_each(|gone| gone.retire());
        shared.active.set(states.iter().map(|state| state.active.get()).sum());
        let grouping = Arc::clone(&cluster.grouping);
        let levels = |members: Vec<u32>| Levels::build(members, &params, &states, cluster, settings.env.random());
        let everybody = 0..params.len() as u32;
        let having = |wanted: &Metadata| {
            let has = |at: &u32| params.get(*at as usize).is_some_and(|host| host.has(wanted));
            levels(everybody.clone().filter(has).collect())
        };
        let selectors = grouping.subsets.iter().flat_map(|subsets| &subsets.selectors);
        let subsets = selectors.map(|keys| {
            let mut members: HashMap<Vec<Box<str>>, Vec<u32>> = HashMap::new();
            for (at, host) in params.iter().enumerate() {
                let value = |key: &str| host.metadata.as_ref()?.get(key).cloned();
                if let Some(values) = keys.iter().map(|key| value(key)).collect() {
                    members.entry(values).or_default().push(at as u32);
                }
            }
            members.into_iter().map(|(values, members)| (values, levels(members))).collect()
        });
        let subsets = subsets.collect();
        let default = match grouping.subsets.as_ref().map(|subsets| &subsets.fallback) {
            Some(Fallback::Default(wanted)) => Some(having(wanted)),
            Some(Fallback::None | Fallback::Any) | None => None,
        };
        let all = levels(everybody.collect());
        let warming = Cell::new(grouping.slow_start.is_some());
        let limited = params.iter().any(|host| host.limits != HostLimits::default());
        Self { all, subsets, default, hosts, states, shared, grouping, warming, limited, params }
    }

    /// Whether it is what these parameters make.
    pub(crate) fn is_of(&self, hosts: &[HostParams], cluster: &ClusterParams, before: &ClusterParams) -> bool {
        self.params == hosts && cluster.balancer.is_same(&before.balancer) && *cluster.grouping == *self.grouping
    }

    /// The place of a host for a request.
    pub(crate) fn pick(&self, want: &Want<'_>, settings: &Settings, cx: PickCx) -> Option<usize> {
        let levels = self.levels(want.metadata)?;
        let before = self.shared.panics.get();
        let picked = self.draw(levels, want, settings, cx);
        if self.shared.panics.get() != before {
            settings.events.panicked();
        }
        picked
    }

    /// Picks until the host takes its share: hosts that are warming up take less of it.
    fn draw(&self, levels: &Levels, want: &Want<'_>, settings: &Settings, cx: PickCx) -> Option<usize> {
        let avoided = if want.avoid_priorities == 0 { 0 } else { self.priorities(want) };
        let draw = |cx| {
            let at = levels.pick(&self.states, &self.shared, &self.grouping, avoided, cx)?;
            Some((at, self.share(at, settings)))
        };
        let (mut at, mut share) = draw(cx)?;
        let mut redraws = 0;
        // What hashes goes where it hashes to.
        while share < 1.0 && cx.hash.is_none() && redraws < REDRAWS {
            let random = settings.env.random();
            if (random >> 11) as f64 / (1_u64 << 53) as f64 <= share {
                break;
            }
            redraws += 1;
            (at, share) = draw(PickCx { random: random.rotate_left(32), ..cx })?;
        }
        Some(at)
    }

    /// The priorities of the hosts that were tried and whose priority is avoided, a bit for each.
    fn priorities(&self, want: &Want<'_>) -> u128 {
        let of = |tried: &Rc<Host>| {
            let at = self.hosts.iter().position(|host| Rc::ptr_eq(host, tried))?;
            1_u128.checked_shl(self.params.get(at)?.priority)
        };
        want.tried.iter().take(want.avoid_priorities).filter_map(of).fold(0, |bits, bit| bits | bit)
    }

    /// How much of its share a host gets yet.
    fn share(&self, at: usize, settings: &Settings) -> f64 {
        let Some(slow_start) = self.grouping.slow_start.filter(|_| self.warming.get()) else { return 1.0 };
        let Some(host) = self.hosts.get(at) else { return 1.0 };
        host.since().map_or(1.0, |since| slow_start.share(settings.env.now().since(since)))
    }

    /// The hosts that have what is wanted, or those that will do instead.
    fn levels(&self, wanted: Option<&Metadata>) -> Option<&Levels> {
        let (Some(subsets), Some(wanted)) = (&self.grouping.subsets, wanted) else {
            // Who wants nothing in particular gets what those get who want what nobody has, as in Envoy.
            return match self.grouping.subsets.as_ref().map(|subsets| &subsets.fallback) {
                Some(Fallback::Default(_)) => self.default.as_ref(),
                Some(Fallback::None) => None,
                Some(Fallback::Any) | None => Some(&self.all),
            };
        };
        let chosen = subsets.selectors.iter().zip(&self.subsets).find_map(|(keys, by_value)| {
            let same = keys.len() == wanted.len() && keys.iter().all(|key| wanted.contains_key(key));
            let values: Vec<Box<str>> =
                keys.iter().filter(|_| same).filter_map(|key| wanted.get(key).cloned()).collect();
            by_value.get(&values).filter(|_| same)
        });
        let fallback = match &subsets.fallback {
            Fallback::None => None,
            Fallback::Any => Some(&self.all),
            Fallback::Default(_) => self.default.as_ref(),
        };
        chosen.or(fallback)
    }
}

/// What a host is known by to balancers that hash.
pub fn key(address: &Address) -> u64 {
    xxh64(address.to_string().as_bytes(), 0)
}

/// One entry per address, in the order of first mention, weights added up.
pub(crate) fn merge(hosts: &[HostParams]) -> Vec<HostParams> {
    let mut merged: Vec<HostParams> = Vec::with_capacity(hosts.len());
    let mut places = HashMap::with_capacity(hosts.len());
    for host in hosts {
        let weight = host.weight.max(1);
        match places.entry(&host.address) {
            Entry::Vacant(place) => {
                place.insert(merged.len());
                merged.push(HostParams { weight, ..host.clone() });
            }
            Entry::Occupied(place) => {
                if let Some(first) = merged.get_mut(*place.get()) {
                    first.weight = first.weight.saturating_add(weight);
                }
            }
        }
    }
    merged
}
