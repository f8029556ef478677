//! The operations of a worker by number. A number used again has a new generation, so that a late completion finds
//! nobody.

use crate::connect::Connecting;
use crate::listen::Accepting;
use crate::ring::Completion;
use crate::socket::{Interest, Socket};

/// What a slot is for. Boxed, so that the table stays small after a crowd has left.
pub(crate) enum Slot {
    Socket(Box<Socket>),
    Accept(Box<Accepting>),
    Connect(Box<Connecting>),
}

/// Which operation of a slot a completion belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Kind {
    Recv = 0,
    Send = 1,
    Fin = 2,
    Accept = 3,
    Connect = 4,
    Tick = 5,
    Event = 6,
}

/// A slot's number and generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SlotId {
    index: u32,
    generation: u32,
}

/// Generations take 24 bits of a token.
const GENERATIONS: u32 = (1 << 24) - 1;

impl SlotId {
    /// For the operations that belong to no slot.
    pub(crate) const TICK: Self = Self { index: u32::MAX, generation: 0 };

    /// The token of an operation: kind, generation, index. Bit 63 stays clear; the ring uses it.
    pub(crate) fn token(self, kind: Kind) -> u64 {
        (kind as u64) << 56 | u64::from(self.generation) << 32 | u64::from(self.index)
    }

    pub(crate) fn from_token(token: u64) -> (Kind, Self) {
        let kind = match token >> 56 {
            0 => Kind::Recv,
            1 => Kind::Send,
            2 => Kind::Fin,
            3 => Kind::Accept,
            4 => Kind::Connect,
            5 => Kind::Tick,
            _ => Kind::Event,
        };
        (kind, Self { index: token as u32, generation: (token >> 32) as u32 & GENERATIONS })
    }
}

/// The table.
#[derive(Default)]
pub(crate) struct Slots {
    places: Vec<Place>,
    free: Vec<u32>,
    /// Completions between reaping and dispatch; kept to use its memory again.
    pub(crate) scratch: Vec<Completion>,
}

struct Place {
    generation: u32,
    slot: Option<Slot>,
}

impl Slots {
    pub(crate) fn insert(&mut self, slot: Slot) -> SlotId {
        let index = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place { generation: 0, slot: None });
            (self.places.len() - 1) as u32
        });
        let Some(place) = self.places.get_mut(index as usize) else { return SlotId::TICK };
        place.slot = Some(slot);
        SlotId { index, generation: place.generation }
    }

    pub(crate) fn get(&mut self, id: SlotId) -> Option<&mut Slot> {
        let place = self.places.get_mut(id.index as usize)?;
        if place.generation == id.generation { place.slot.as_mut() } else { None }
    }

    pub(crate) fn socket(&mut self, id: SlotId) -> Option<&mut Socket> {
        match self.get(id) {
            Some(Slot::Socket(socket)) => Some(socket),
            _ => None,
        }
    }

    pub(crate) fn remove(&mut self, id: SlotId) -> Option<Slot> {
        let place = self.places.get_mut(id.index as usize).filter(|place| place.generation == id.generation)?;
        let slot = place.slot.take()?;
        place.generation = (place.generation + 1) & GENERATIONS;
        self.free.push(id.index);
        Some(slot)
    }

    /// Takes every waker.
    pub(crate) fn take_wakers(&mut self) -> Vec<Interest> {
        let mut taken = Vec::new();
        for slot in self.places.iter_mut().filter_map(|place| place.slot.as_mut()) {
            match slot {
                Slot::Socket(socket) => {
                    taken.push(std::mem::take(&mut socket.reader));
                    taken.push(std::mem::take(&mut socket.writer));
                }
                Slot::Accept(accept) => taken.push(std::mem::take(&mut accept.acceptor)),
                Slot::Connect(connect) => taken.push(std::mem::take(&mut connect.connector)),
            }
        }
        taken
    }

    /// Gives back spare room. Generations must not start over while late completions may come, so places stay.
    pub(crate) fn shrink(&mut self) {
        self.scratch.shrink_to(64);
        self.free.shrink_to_fit();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_round_trip_and_old_ids_find_nobody() {
        let mut slots = Slots::default();
        let first = slots.insert(Slot::Socket(Box::new(Socket::new(-1))));
        assert_eq!(SlotId::from_token(first.token(Kind::Send)), (Kind::Send, first));
        assert!(slots.remove(first).is_some());
        let second = slots.insert(Slot::Socket(Box::new(Socket::new(-1))));
        assert_ne!(first, second);
        assert!(slots.get(first).is_none() && slots.remove(first).is_none());
        assert!(slots.socket(second).is_some());
        assert_eq!(SlotId::from_token(SlotId::TICK.token(Kind::Tick)).0, Kind::Tick);
    }
}
