//! The connections of a pool, and the order in which idle ones are used.

use std::cell::Cell;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::task::{Context, Waker};

use ringway_api::{ConnCx, Time, UpstreamConn};

use super::bell::Knock;
use super::bound::Binding;
use crate::{CloseCause, ClusterEvents, Permit};

/// One connection. The pool holds it until it is closed, leases hold it while they use it.
pub(crate) struct Member {
    pub(crate) conn: Rc<dyn UpstreamConn>,
    pub(crate) cx: Rc<ConnCx>,
    pub(crate) slot: u32,
    /// The pool's era when the connection was asked for; an older one is not used again.
    pub(crate) era: u32,
    /// Leases that hold it, and how many of them have yet to open their exchange.
    pub(crate) leases: Cell<u32>,
    pub(crate) reserved: Cell<u32>,
    pub(crate) served: Cell<u32>,
    /// Carried as many requests as it may.
    pub(crate) spent: Cell<bool>,
    /// The downstream connection that has it to itself; none in a shared pool.
    pub(crate) bound: Option<Weak<Binding>>,
    pub(crate) idle_since: Cell<Time>,
    cause: Cell<CloseCause>,
    knock: Arc<Knock>,
    waker: Waker,
    events: Rc<dyn ClusterEvents>,
    permit: Cell<Option<Permit>>,
}

/// All connections of a pool by slot; those with room for more are chained from the oldest to the newest use.
pub(crate) struct Members {
    slots: Vec<Slot>,
    vacant: Vec<u32>,
    newest: u32,
    oldest: u32,
}

/// Links are slots; [`NONE`] ends the chain.
struct Slot {
    member: Option<Rc<Member>>,
    newer: u32,
    older: u32,
    listed: bool,
}

const NONE: u32 = u32::MAX;

// === impl Member ===

impl Member {
    pub(crate) fn new(
        conn: Rc<dyn UpstreamConn>,
        cx: Rc<ConnCx>,
        knock: Knock,
        era: u32,
        events: Rc<dyn ClusterEvents>,
        permit: Option<Permit>,
    ) -> Self {
        let knock = Arc::new(knock);
        Self {
            conn,
            cx,
            slot: knock.slot(),
            era,
            leases: Cell::new(0),
            reserved: Cell::new(0),
            served: Cell::new(0),
            spent: Cell::new(false),
            bound: None,
            idle_since: Cell::new(Time::default()),
            cause: Cell::new(CloseCause::Spent),
            waker: Waker::from(Arc::clone(&knock)),
            knock,
            events,
            permit: Cell::new(permit),
        }
    }

    /// How many more leases it can take.
    pub(crate) fn room(&self) -> usize {
        if self.spent.get() { 0 } else { self.conn.free_slots().saturating_sub(self.reserved.get() as usize) }
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.leases.get() == 0
    }

    /// Whether its waker was called since it was last watched.
    pub(crate) fn knocked(&self) -> bool {
        self.knock.knocked()
    }

    /// Whether the idle connection is still good; has the pool told when that changes.
    pub(crate) fn watch(&self) -> bool {
        debug_assert!(self.is_idle());
        self.knock.reset();
        self.conn.poll_idle(&mut Context::from_waker(&self.waker)).is_pending()
    }

    /// Begins to close it; dropping the last reference does the rest. Its place within the limit is free at once,
    /// for whoever waits.
    pub(crate) fn close(&self, cause: CloseCause) {
        self.cause.set(cause);
        self.permit.take();
        self.conn.drain();
        if let Some(binding) = self.binding() {
            binding.ended();
        }
    }

    /// Its owner's hold on it.
    pub(super) fn binding(&self) -> Option<Rc<Binding>> {
        self.bound.as_ref()?.upgrade()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        self.events.connection_closed(self.cause.get());
    }
}

// === impl Members ===

impl Default for Members {
    fn default() -> Self {
        Self { slots: Vec::new(), vacant: Vec::new(), newest: NONE, oldest: NONE }
    }
}

impl Members {
    /// Adds the connection that `make` makes for a slot; it is not listed.
    pub(crate) fn insert(&mut self, make: impl FnOnce(u32) -> Member) -> Rc<Member> {
        // Far fewer connections than 2^32 fit into a process.
        let slot = self.vacant.pop().unwrap_or(self.slots.len() as u32);
        let member = Rc::new(make(slot));
        let entry = Slot { member: Some(Rc::clone(&member)), newer: NONE, older: NONE, listed: false };
        match self.slots.get_mut(slot as usize) {
            Some(place) => *place = entry,
            None => self.slots.push(entry),
        }
        member
    }

    /// Takes the connection out. The caller drops it, once nothing is borrowed.
    pub(crate) fn remove(&mut self, slot: u32) -> Option<Rc<Member>> {
        self.unlist(slot);
        let member = self.slots.get_mut(slot as usize)?.member.take()?;
        self.vacant.push(slot);
        if self.vacant.len() == self.slots.len() {
            // Nothing is left: give the memory of the busiest moment back.
            *self = Self::default();
        }
        Some(member)
    }

    pub(crate) fn at(&self, slot: u32) -> Option<&Rc<Member>> {
        self.slots.get(slot as usize)?.member.as_ref()
    }

    /// Puts the connection at the newest end.
    pub(crate) fn list(&mut self, slot: u32) {
        if self.newest == slot {
            return;
        }
        self.unlist(slot);
        let older = self.newest;
        let Some(place) = self.slots.get_mut(slot as usize) else { return };
        (place.listed, place.older, place.newer) = (true, older, NONE);
        self.newest = slot;
        match self.slots.get_mut(older as usize) {
            Some(below) => below.newer = slot,
            None => self.oldest = slot,
        }
    }

    pub(crate) fn unlist(&mut self, slot: u32) {
        let Some(place) = self.slots.get_mut(slot as usize).filter(|place| place.listed) else { return };
        place.listed = false;
        let Slot { older, newer, .. } = *place;
        match self.slots.get_mut(newer as usize) {
            Some(above) => above.older = older,
            None => self.newest = older,
        }
        match self.slots.get_mut(older as usize) {
            Some(below) => below.newer = newer,
            None => self.oldest = newer,
        }
    }

    /// The most recently used connection that has room.
    pub(crate) fn newest(&self) -> Option<&Rc<Member>> {
        self.at(self.newest)
    }

    /// The idle connection that was used least recently.
    pub(crate) fn oldest_idle(&self) -> Option<&Rc<Member>> {
        let mut at = self.oldest;
        while let Some(slot) = self.slots.get(at as usize) {
            match &slot.member {
                Some(member) if member.is_idle() => return Some(member),
                _ => at = slot.newer,
            }
        }
        None
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Rc<Member>> {
        self.slots.iter().filter_map(|slot| slot.member.as_ref())
    }

    pub(crate) fn len(&self) -> usize {
        self.slots.len() - self.vacant.len()
    }
}
