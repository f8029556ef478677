//! Earliest deadline first: the next host is the one whose turn is due first, and a turn costs 1 / weight.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use ringway_api::{HostState, Hosts};

/// A schedule over weighted hosts. Hosts that become unusable leave it and come back at the current time, so that
/// they catch up on nothing.
#[derive(Debug)]
pub(super) struct Schedule {
    due: BinaryHeap<Reverse<Turn>>,
    /// Hosts that were unusable when their turn came.
    away: Vec<usize>,
    /// The one of them that was asked last.
    ask: usize,
    /// The host that goes first among turns due at once.
    first: usize,
    now: u128,
    /// What a turn of weight 1 costs. The least common multiple of the weights, while it is small enough, makes
    /// every division exact.
    scale: u128,
}

/// When a host's turn is due. Turns due at once go by `rank`, which differs from schedule to schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    at: u128,
    rank: usize,
    host: usize,
}

impl Schedule {
    /// A schedule that starts at a point of the cycle that `seed` decides.
    pub(super) fn new(hosts: Hosts<'_>, seed: u64) -> Self {
        let scale = hosts.iter().try_fold(1, |all, host| lcm(all, host.weight)).unwrap_or(1 << 40);
        // A cycle takes `scale`: each host has had as many turns as its weight.
        let now = u128::from(seed) % scale;
        let first = (seed.rotate_left(32) % hosts.len().max(1) as u64) as usize;
        let turn = |(host, state): (usize, &HostState)| {
            let cost = cost(scale, state.weight, 1.0);
            Reverse(Turn { at: (now / cost + 1) * cost, rank: rank(host, first, hosts.len()), host })
        };
        Self { due: hosts.iter().enumerate().map(turn).collect(), away: Vec::new(), ask: 0, first, now, scale }
    }

    /// The usable host whose turn is next. Its next turn costs `load` times as much as one of its weight does.
    pub(super) fn next(&mut self, hosts: Hosts<'_>, load: impl Fn(&HostState) -> f64) -> Option<usize> {
        self.ask_one(hosts);
        if let Some(found) = self.next_due(hosts, &load) {
            return Some(found);
        }
        // Everyone is away: ask them all.
        for _ in 0..self.away.len() {
            self.ask_one(hosts);
        }
        self.next_due(hosts, &load)
    }

    fn next_due(&mut self, hosts: Hosts<'_>, load: &impl Fn(&HostState) -> f64) -> Option<usize> {
        while let Some(mut turn) = self.due.peek_mut() {
            let Turn { at, host, .. } = turn.0;
            match hosts.get(host) {
                Some(state) if hosts.is_usable(host) => {
                    self.now = at;
                    turn.0.at = at + cost(self.scale, state.weight, load(state));
                    return Some(host);
                }
                _ => {
                    std::collections::binary_heap::PeekMut::pop(turn);
                    self.away.push(host);
                }
            }
        }
        None
    }

    /// Takes one of the hosts that are away back in, if it is usable again. One per pick keeps picks cheap when
    /// many are away.
    fn ask_one(&mut self, hosts: Hosts<'_>) {
        if self.away.is_empty() {
            return;
        }
        self.ask = if self.ask + 1 < self.away.len() { self.ask + 1 } else { 0 };
        let Some(&host) = self.away.get(self.ask) else { return };
        if let Some(state) = hosts.get(host).filter(|_| hosts.is_usable(host)) {
            self.away.swap_remove(self.ask);
            let at = self.now + cost(self.scale, state.weight, 1.0);
            self.due.push(Reverse(Turn { at, rank: rank(host, self.first, hosts.len()), host }));
        }
    }
}

/// The place of `host` in the order that starts at `first`.
fn rank(host: usize, first: usize, hosts: usize) -> usize {
    if host >= first { host - first } else { host + hosts - first }
}

fn cost(scale: u128, weight: u32, load: f64) -> u128 {
    // Loads are whole numbers but where a bias says otherwise: those stay exact.
    let (whole, rest) = (load.trunc() as u128, load.fract());
    let turn = scale / u128::from(weight.max(1));
    (scale * whole / u128::from(weight.max(1)) + (turn as f64 * rest) as u128).max(1)
}

/// The least common multiple, up to 2^60.
fn lcm(all: u128, weight: u32) -> Option<u128> {
    let weight = u128::from(weight.max(1));
    let (mut a, mut b) = (all, weight);
    while b > 0 {
        (a, b) = (b, a % b);
    }
    Some(all / a * weight).filter(|lcm| *lcm <= 1 << 60)
}
