//! The operations of a worker by number. A number used again has a new generation, so that a late completion finds
//! nobody.

use crate::connect::Connecting;
use crate::listen::Accepting;
use crate::ring::Completion;
use crate::slab::{GENERATIONS, Key, Slab};
use crate::socket::{Interest, Socket};

/// What a slot is for. Boxed, so that a place in the table is small.
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
pub(crate) struct SlotId(Key);

impl SlotId {
    /// For the operations that belong to no slot.
    pub(crate) const TICK: Self = Self(Key { index: u32::MAX, generation: 0 });

    /// The token of an operation: kind, generation, index. Bit 63 stays clear; the ring uses it.
    pub(crate) fn token(self, kind: Kind) -> u64 {
        (kind as u64) << 56 | u64::from(self.0.generation) << 32 | u64::from(self.0.index)
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
        (kind, Self(Key { index: token as u32, generation: (token >> 32) as u32 & GENERATIONS }))
    }
}

/// The table.
#[derive(Default)]
pub(crate) struct Slots {
    table: Slab<Slot>,
    /// Completions between reaping and dispatch; kept to use its memory again.
    pub(crate) scratch: Vec<Completion>,
}

impl Slots {
    pub(crate) fn insert(&mut self, slot: Slot) -> SlotId {
        SlotId(self.table.insert(slot))
    }

    pub(crate) fn get(&mut self, id: SlotId) -> Option<&mut Slot> {
        self.table.get(id.0)
    }

    pub(crate) fn socket(&mut self, id: SlotId) -> Option<&mut Socket> {
        match self.get(id) {
            Some(Slot::Socket(socket)) => Some(socket),
            _ => None,
        }
    }

    pub(crate) fn remove(&mut self, id: SlotId) -> Option<Slot> {
        self.table.remove(id.0)
    }

    /// Takes every waker.
    pub(crate) fn take_wakers(&mut self) -> Vec<Interest> {
        let mut taken = Vec::new();
        for slot in self.table.iter_mut() {
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

    /// Gives back spare room.
    pub(crate) fn shrink(&mut self) {
        self.scratch.shrink_to(64);
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
