//! What `ring_hash` and `maglev` have in common.

use std::sync::{Arc, Mutex, PoisonError};

use ringway_api::{Hosts, PickCx};

use super::Draw;

/// What was made for hosts: large, the same on all workers, and so made once, on the control plane if it can be.
#[derive(Debug)]
pub(super) struct Made<T: ?Sized>(Mutex<Vec<(u64, Arc<T>)>>);

/// Those of the hosts now and before.
const KEPT: usize = 2;

impl<T: ?Sized> Default for Made<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl<T: ?Sized> Made<T> {
    /// What belongs to hosts with these weights and keys; made if it has not been.
    pub(super) fn of(&self, hosts: &[(u32, u64)], make: impl FnOnce() -> Arc<T>) -> Arc<T> {
        let key = hosts.iter().fold(hosts.len() as u64, |key, (weight, host)| mix(mix(key, *host), u64::from(*weight)));
        let lock = || self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let known = lock().iter().find(|(known, _)| *known == key).map(|(_, made)| Arc::clone(made));
        known.unwrap_or_else(|| {
            let made = make();
            let mut all = lock();
            all.push((key, Arc::clone(&made)));
            if all.len() > KEPT {
                all.remove(0);
            }
            made
        })
    }
}

/// Weights and keys.
pub(super) fn keys(hosts: Hosts<'_>) -> Vec<(u32, u64)> {
    hosts.iter().map(|host| (host.weight, host.key)).collect()
}

/// The hash of a request; of one that has none, a random one.
pub(super) fn hash_of(cx: PickCx) -> u64 {
    cx.hash.unwrap_or_else(|| Draw(cx.random).below(u64::MAX))
}

/// Mixes two numbers into one (SplitMix64's finaliser over their sum).
pub(super) fn mix(one: u64, other: u64) -> u64 {
    Draw(one ^ other.wrapping_mul(0xd134_2543_de82_ef95)).below(u64::MAX)
}

/// Whether a host has room, when no host may have more than this percentage of what is under way on average.
pub(super) fn has_room(hosts: Hosts<'_>, at: usize, factor: Option<u32>) -> bool {
    let Some(factor) = factor else { return true };
    let Some(host) = hosts.get(at) else { return false };
    let weights = hosts.len().max(1) as u64;
    // The one that is about to be under way counts.
    let most = ((u64::from(hosts.active()) + 1) * u64::from(factor)).div_ceil(100 * weights);
    u64::from(host.active.get()) < most.max(1)
}

/// The first host of a sequence that is usable and has room; without room anywhere the first that is usable.
pub(super) fn first_with_room(
    hosts: Hosts<'_>,
    factor: Option<u32>,
    sequence: impl Iterator<Item = usize>,
) -> Option<usize> {
    let mut usable = None;
    for at in sequence {
        if hosts.is_usable(at) {
            if has_room(hosts, at, factor) {
                return Some(at);
            }
            usable.get_or_insert(at);
        }
    }
    usable
}

/// Checks Envoy's `hash_balance_factor`.
pub(super) fn check_factor(factor: Option<u32>) -> Result<(), String> {
    match factor {
        Some(0..100) => Err("hash_balance_factor: at least 100, which leaves no slack at all".into()),
        _ => Ok(()),
    }
}
