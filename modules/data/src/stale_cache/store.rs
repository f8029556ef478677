//! The cache's memory: bounded, the oldest makes room.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

use ringway_api::{Chunk, ResponseHead, Time};

/// What an entry takes besides its bytes, roughly.
pub(crate) const OVERHEAD: usize = 512;

/// Responses by target, and by variant where they depend on the request.
#[derive(Debug, Default)]
pub(crate) struct Store {
    entries: HashMap<Rc<[u8]>, (u64, Entry)>,
    /// The keys in the order in which they were stored.
    order: BTreeMap<u64, Rc<[u8]>>,
    next: u64,
    /// What entries take.
    used: usize,
    /// What is taken by content that is not all there yet.
    reserved: usize,
    limit: usize,
}

/// A response that is kept.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) head: ResponseHead,
    pub(crate) content: Chunk,
    pub(crate) stored: Time,
    /// When it can be of no more use.
    pub(crate) until: Time,
    /// How old it was when it was stored, and for how long it was fresh then, in seconds.
    pub(crate) age: u64,
    pub(crate) freshness: u64,
    /// What it takes, in bytes.
    pub(crate) size: usize,
}

impl Store {
    /// Sets what it may take; how many entries had to go.
    pub(crate) fn set_limit(&mut self, limit: usize) -> usize {
        self.limit = limit;
        self.make_room(0).unwrap_or(0)
    }

    /// The response to a request: one that depends on nothing, or this variant.
    pub(crate) fn find(&self, target: &[u8], variant: &[u8]) -> Option<&Entry> {
        self.exactly(target, variant).or_else(|| self.exactly(target, &[]))
    }

    pub(crate) fn exactly(&self, target: &[u8], variant: &[u8]) -> Option<&Entry> {
        self.entries.get(&*key(target, variant)).map(|(_, entry)| entry)
    }

    /// Keeps a response instead of the one there was; how many others had to go. `None` when there is no room.
    pub(crate) fn insert(&mut self, target: Box<[u8]>, variant: Box<[u8]>, entry: Entry) -> Option<usize> {
        if !variant.is_empty() {
            // It depends on the request by now.
            self.remove(&key(&target, &[]));
        }
        let key: Rc<[u8]> = key(&target, &variant).into();
        self.remove(&key);
        let evicted = self.make_room(entry.size)?;
        self.used += entry.size;
        self.next += 1;
        self.order.insert(self.next, Rc::clone(&key));
        self.entries.insert(key, (self.next, entry));
        Some(evicted)
    }

    fn remove(&mut self, key: &[u8]) {
        if let Some((place, entry)) = self.entries.remove(key) {
            self.order.remove(&place);
            self.used = self.used.saturating_sub(entry.size);
        }
    }

    /// Lets the oldest go until there is room for `size` more; how many went.
    fn make_room(&mut self, size: usize) -> Option<usize> {
        let most = self.limit.checked_sub(self.reserved)?.checked_sub(size)?;
        let mut evicted = 0;
        while self.used > most {
            let (_, oldest) = self.order.pop_first()?;
            if let Some((_, entry)) = self.entries.remove(&oldest) {
                self.used = self.used.saturating_sub(entry.size);
                evicted += 1;
            }
        }
        Some(evicted)
    }
}

/// A target has no blank in it.
fn key(target: &[u8], variant: &[u8]) -> Vec<u8> {
    if variant.is_empty() { target.to_vec() } else { [target, b" ", variant].concat() }
}

/// Room for content that is being recorded; dropped, it is given back.
#[derive(Debug)]
pub(crate) struct Reservation {
    pub(crate) store: Rc<RefCell<Store>>,
    bytes: usize,
    most: usize,
}

impl Reservation {
    pub(crate) fn new(store: Rc<RefCell<Store>>, most: usize) -> Self {
        Self { store, bytes: 0, most }
    }

    /// Takes room for more; entries never make room for what may not become one.
    pub(crate) fn grow(&mut self, by: usize) -> bool {
        let mut store = self.store.borrow_mut();
        let fits = by <= self.most - self.bytes && by <= (store.limit / 2).saturating_sub(store.reserved);
        if fits {
            store.reserved += by;
            self.bytes += by;
        }
        fits
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let mut store = self.store.borrow_mut();
        store.reserved = store.reserved.saturating_sub(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(size: usize) -> Entry {
        let (head, content) = (ResponseHead::default(), Chunk::EMPTY);
        Entry { head, content, stored: Time(0), until: Time(1), age: 0, freshness: 0, size }
    }

    #[test]
    fn the_oldest_makes_room() {
        let mut store = Store::default();
        store.set_limit(100);
        let mut insert = |name: &[u8], size| store.insert(name.into(), [].into(), entry(size));
        assert_eq!(insert(b"a", 40), Some(0));
        assert_eq!(insert(b"b", 40), Some(0));
        assert_eq!(insert(b"a", 41), Some(0), "in its own place");
        assert_eq!(insert(b"c", 50), Some(1), "b was the oldest");
        assert_eq!(insert(b"d", 101), None);
        assert!(store.find(b"b", b"x").is_none() && store.find(b"a", b"x").is_some());
        assert_eq!(store.used, 91);
        assert_eq!(store.insert((*b"a").into(), (*b"v").into(), entry(5)), Some(0));
        assert!(store.find(b"a", b"v").is_some() && store.find(b"a", b"w").is_none(), "it depends on the request now");
        assert_eq!((store.used, store.order.len()), (55, store.entries.len()));
        assert_eq!(store.set_limit(10), 1);
        assert_eq!(store.used, 5);
    }

    #[test]
    fn room_is_given_back() {
        let store = Rc::new(RefCell::new(Store::default()));
        store.borrow_mut().set_limit(100);
        let mut first = Reservation::new(Rc::clone(&store), 40);
        let mut second = Reservation::new(Rc::clone(&store), 40);
        assert!(first.grow(40) && !first.grow(1) && second.grow(10) && !second.grow(1), "half of it at most");
        drop((first, second));
        assert_eq!(store.borrow().reserved, 0);
    }
}
