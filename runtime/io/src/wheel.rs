//! A hierarchical timer wheel: O(1) to insert and to cancel, and to find the next deadline.
//!
//! Six levels of 64 slots; level `n` has a resolution of `64^n` ticks. Each level has a bitmap of the slots in use, so
//! that advancing jumps over empty time. Deadlines beyond the range wait in the last level and are looked at again.

use crate::slab::Slab;

const BITS: u32 = 6;
const SLOTS: usize = 1 << BITS;
const LEVELS: usize = 6;
/// No entry has this number: the table would not fit into memory.
const NONE: u32 = u32::MAX;

/// Values that become due at ticks of an integer clock.
pub(crate) struct Wheel<T> {
    now: u64,
    occupied: [u64; LEVELS],
    heads: Box<[[u32; SLOTS]; LEVELS]>,
    entries: Slab<Entry<T>>,
    armed: usize,
}

/// A place in the wheel for one value, taken once and armed as often as needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key(u32);

struct Entry<T> {
    due: u64,
    prev: u32,
    next: u32,
    /// `level * 64 + slot` while armed.
    place: u16,
    armed: bool,
    value: T,
}

impl<T> Wheel<T> {
    /// An empty wheel whose clock stands at `now`.
    pub(crate) fn new(now: u64) -> Self {
        let heads = Box::new([[NONE; SLOTS]; LEVELS]);
        Self { now, occupied: [0; LEVELS], heads, entries: Slab::default(), armed: 0 }
    }

    /// Takes a place.
    pub(crate) fn insert(&mut self, value: T) -> Key {
        Key(self.entries.insert(Entry { due: 0, prev: NONE, next: NONE, place: 0, armed: false, value }).index)
    }

    /// Gives a place up.
    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        self.disarm(key);
        self.entries.free(key.0).map(|entry| entry.value)
    }

    /// The value at a place.
    pub(crate) fn value(&mut self, key: Key) -> Option<&mut T> {
        self.entries.at_mut(key.0).map(|entry| &mut entry.value)
    }

    /// Takes what every place holds, and leaves the default there.
    pub(crate) fn take_values(&mut self) -> Vec<T>
    where
        T: Default,
    {
        self.entries.iter_mut().map(|entry| std::mem::take(&mut entry.value)).collect()
    }

    /// The tick a place is armed for.
    pub(crate) fn due(&self, key: Key) -> Option<u64> {
        self.entries.at(key.0).filter(|entry| entry.armed).map(|entry| entry.due)
    }

    /// Arms a place for a tick, in place of what it was armed for. A tick that has passed is due at the next advance.
    pub(crate) fn arm(&mut self, key: Key, due: u64) {
        self.disarm(key);
        let Some(entry) = self.entries.at_mut(key.0) else { return };
        entry.due = due.max(self.now + 1);
        self.link(key.0);
        self.armed += 1;
    }

    /// Disarms a place.
    pub(crate) fn disarm(&mut self, key: Key) {
        if self.due(key).is_some() {
            self.unlink(key.0);
            self.armed -= 1;
        }
    }

    /// How many places are armed.
    pub(crate) fn armed(&self) -> usize {
        self.armed
    }

    /// A tick at or before the earliest deadline, and after now; `None` when nothing is armed. Exact for deadlines
    /// less than 64 ticks away.
    pub(crate) fn next(&self) -> Option<u64> {
        let level = (0..LEVELS).find(|level| self.occupied[*level] != 0)?;
        Some(self.slot_start(level))
    }

    /// Moves the clock to `to` and hands every due value to `on`, disarmed, in order of their slots.
    pub(crate) fn advance(&mut self, to: u64, mut on: impl FnMut(&mut T)) {
        while let Some(next) = self.next_event().filter(|(start, _)| *start <= to) {
            let (start, level) = next;
            self.now = self.now.max(start);
            let slot = slot_of(start, level);
            let mut at = std::mem::replace(&mut self.heads[level][slot], NONE);
            self.occupied[level] &= !(1 << slot);
            while let Some(entry) = self.entries.at_mut(at) {
                let next = entry.next;
                entry.armed = false;
                if entry.due <= self.now {
                    self.armed -= 1;
                    on(&mut entry.value);
                } else {
                    self.link(at);
                }
                at = next;
            }
        }
        self.now = self.now.max(to);
    }

    /// The start of the earliest occupied slot of any level, with that level.
    fn next_event(&self) -> Option<(u64, usize)> {
        (0..LEVELS).filter(|level| self.occupied[*level] != 0).map(|level| (self.slot_start(level), level)).min()
    }

    /// When the first occupied slot of a level begins, seen from now.
    fn slot_start(&self, level: usize) -> u64 {
        let shift = BITS * level as u32;
        let current = self.now >> shift;
        // The current slot of a higher level was cascaded when it was entered, so the search begins behind it.
        let from = (current + 1) as u32 % SLOTS as u32;
        let ahead = self.occupied[level].rotate_right(from).trailing_zeros();
        (current + 1 + u64::from(ahead)) << shift
    }

    fn link(&mut self, key: u32) {
        let Some(entry) = self.entries.at_mut(key) else { return };
        let horizon = entry.due.min(self.now + (1 << (BITS * LEVELS as u32)) - (1 << (BITS * (LEVELS as u32 - 1))));
        let distance = horizon ^ self.now;
        let level = ((63 - (distance | 1).leading_zeros()) / BITS).min(LEVELS as u32 - 1) as usize;
        let slot = slot_of(horizon, level);
        let head = std::mem::replace(&mut self.heads[level][slot], key);
        (entry.prev, entry.next) = (NONE, head);
        (entry.place, entry.armed) = ((level * SLOTS + slot) as u16, true);
        self.occupied[level] |= 1 << slot;
        if let Some(second) = self.entries.at_mut(head) {
            second.prev = key;
        }
    }

    fn unlink(&mut self, key: u32) {
        let Some(entry) = self.entries.at_mut(key) else { return };
        let (prev, next, place) = (entry.prev, entry.next, usize::from(entry.place));
        entry.armed = false;
        if let Some(entry) = self.entries.at_mut(next) {
            entry.prev = prev;
        }
        if let Some(entry) = self.entries.at_mut(prev) {
            entry.next = next;
            return;
        }
        let (level, slot) = (place / SLOTS, place % SLOTS);
        self.heads[level][slot] = next;
        if next == NONE {
            self.occupied[level] &= !(1 << slot);
        }
    }
}

fn slot_of(tick: u64, level: usize) -> usize {
    (tick >> (BITS * level as u32)) as usize % SLOTS
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    #[derive(Clone, Debug)]
    enum Op {
        Arm(u8, u64),
        Disarm(u8),
        Advance(u64),
        Replace(u8),
    }

    fn op() -> impl Strategy<Value = Op> {
        let span = prop_oneof![0..200u64, 0..100_000u64, 0..(1u64 << 40)];
        prop_oneof![
            (any::<u8>(), span.clone()).prop_map(|(k, d)| Op::Arm(k % 16, d)),
            any::<u8>().prop_map(|k| Op::Disarm(k % 16)),
            span.prop_map(Op::Advance),
            any::<u8>().prop_map(|k| Op::Replace(k % 16)),
        ]
    }

    proptest! {
        /// Whatever is done to it, the wheel fires what a sorted map would, and never later.
        #[test]
        fn behaves_like_a_sorted_map(ops in prop::collection::vec(op(), 1..200), start in 0..(1u64 << 40)) {
            let mut wheel = Wheel::new(start);
            let mut now = start;
            let mut model = BTreeMap::new();
            let mut keys: Vec<Key> = (0..16u8).map(|id| wheel.insert(id)).collect();
            for op in ops {
                match op {
                    Op::Arm(id, after) => {
                        wheel.arm(keys[usize::from(id)], now + after);
                        model.insert(id, (now + after).max(now + 1));
                    }
                    Op::Disarm(id) => {
                        wheel.disarm(keys[usize::from(id)]);
                        model.remove(&id);
                    }
                    Op::Replace(id) => {
                        prop_assert_eq!(wheel.remove(keys[usize::from(id)]), Some(id));
                        model.remove(&id);
                        keys[usize::from(id)] = wheel.insert(id);
                    }
                    Op::Advance(by) => {
                        now += by;
                        let mut fired = Vec::new();
                        wheel.advance(now, |id| fired.push(*id));
                        fired.sort_unstable();
                        let due: Vec<u8> = model.iter().filter(|(_, due)| **due <= now).map(|(id, _)| *id).collect();
                        model.retain(|_, due| *due > now);
                        prop_assert_eq!(fired, due);
                    }
                }
                prop_assert_eq!(wheel.armed(), model.len());
                let earliest = model.values().min().copied();
                match (wheel.next(), earliest) {
                    (Some(next), Some(due)) => prop_assert!(next > now && next <= due, "{next} {now} {due}"),
                    (next, due) => prop_assert_eq!(next, due),
                }
            }
        }
    }

    #[test]
    fn an_idle_timer_is_small() {
        assert_eq!(size_of::<Option<Entry<Option<std::task::Waker>>>>(), 40);
    }
}
