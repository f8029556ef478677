//! A bucket for each of many keys, in a fixed amount of memory and without a lock.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use ringway_api::Time;

use super::{Quota, Rate};

/// Buckets that are found by key. Each has a place among [`WAYS`] that its key's hash chooses; when none of these is free,
/// the fullest bucket there goes, which is the one that was used the longest ago, and knows the least.
///
/// Keys are known by 64 bits of a hash that nobody outside can compute. When two workers give a place to a new key at
/// the same moment, a grant or two are lost or counted twice; nothing else is inexact.
#[derive(Debug)]
pub(crate) struct KeyedBuckets {
    rate: Rate,
    origin: Time,
    hash: RandomState,
    sets: Box<[Set]>,
}

/// What became of a request for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Taken {
    pub(crate) granted: bool,
    /// A key that had not got all of its tokens back was forgotten to make room.
    pub(crate) evicted: bool,
    pub(crate) quota: Quota,
}

/// Places that a key can be at: a pair of cache lines.
const WAYS: usize = 8;

#[derive(Debug, Default)]
#[repr(align(128))]
struct Set([Slot; WAYS]);

#[derive(Debug, Default)]
struct Slot {
    /// The key's hash; 0 for none.
    key: AtomicU64,
    /// As in a bucket of its own.
    taken: AtomicU64,
}

impl KeyedBuckets {
    /// Room for `keys`, rounded up to a multiple of [`WAYS`].
    pub(crate) fn new(rate: Rate, keys: usize, now: Time) -> Self {
        let sets = (0..keys.max(1).div_ceil(WAYS)).map(|_| Set::default()).collect();
        Self { rate, origin: now, hash: RandomState::new(), sets }
    }

    /// How each of them fills.
    pub(crate) fn rate(&self) -> Rate {
        self.rate
    }

    /// How many keys there is room for.
    pub(crate) fn capacity(&self) -> usize {
        self.sets.len() * WAYS
    }

    /// Takes a token of a key's bucket, which is a full one if the key is new.
    pub(crate) fn try_take(&self, key: impl Hash, now: Time) -> Taken {
        let filled = self.rate.filled(now.since(self.origin));
        let hash = self.hash.hash_one(key).max(1);
        let mut evicted = false;
        // Bounded: each failure is another worker's success in the same set.
        for _ in 0..WAYS {
            let Some(slots) = self.sets.get((hash % self.sets.len().max(1) as u64) as usize) else { break };
            let (slot, known) = slots.find(hash);
            if !known {
                let (before, taken) = (slot.key.load(Relaxed), slot.taken.load(Relaxed));
                if slot.key.compare_exchange(before, hash, Relaxed, Relaxed).is_err() {
                    continue;
                }
                evicted = before != 0 && taken > filled;
                slot.taken.store(filled, Relaxed);
            }
            let granted = self.rate.take(&slot.taken, filled, 1) > 0;
            return Taken { granted, evicted, quota: self.rate.quota(slot.taken.load(Relaxed), filled, 0) };
        }
        // Not to be counted is better than to be refused for what others do.
        Taken { granted: true, evicted, quota: self.rate.quota(0, filled, 0) }
    }
}

impl Set {
    /// The place of a key, or the one it should get.
    fn find(&self, hash: u64) -> (&Slot, bool) {
        let [first, rest @ ..] = &self.0;
        let mut oldest = first;
        for slot in std::iter::once(first).chain(rest) {
            match slot.key.load(Relaxed) {
                key if key == hash => return (slot, true),
                // Places are taken in order: behind a free one there is nothing.
                0 => return (slot, false),
                _ if slot.taken.load(Relaxed) < oldest.taken.load(Relaxed) => oldest = slot,
                _ => {}
            }
        }
        (oldest, false)
    }
}
