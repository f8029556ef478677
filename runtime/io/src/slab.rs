//! A table in pages: it grows without copying what it holds, and gives pages back when they are empty.

/// Values by number. A number used again has a new generation.
pub(crate) struct Slab<T> {
    pages: Vec<Shelf<T>>,
    /// A bit per page: it has room.
    room: Vec<u64>,
    live: usize,
}

/// A value's number and generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    pub(crate) index: u32,
    pub(crate) generation: u32,
}

/// Where a page stands, or stood.
struct Shelf<T> {
    page: Option<Box<Page<T>>>,
    /// Behind all generations that were given out of pages that are gone.
    generation: u32,
}

struct Page<T> {
    /// A bit per place: it is taken.
    taken: u64,
    generations: [u32; PLACES],
    values: [Option<T>; PLACES],
}

/// Places of a page: the bits of a word.
pub(crate) const PLACES: usize = 64;

/// Generations have 24 bits, as many as a token has room for.
pub(crate) const GENERATIONS: u32 = (1 << 24) - 1;

impl<T> Default for Slab<T> {
    fn default() -> Self {
        Self { pages: Vec::new(), room: Vec::new(), live: 0 }
    }
}

impl<T> Slab<T> {
    /// Takes the first free place, so that what is in use stays close together.
    pub(crate) fn insert(&mut self, value: T) -> Key {
        let at = self.page_with_room();
        let shelf = &mut self.pages[at];
        let page = shelf.page.get_or_insert_with(|| Box::new(Page::new(shelf.generation)));
        let place = page.taken.trailing_ones() as usize;
        page.taken |= 1 << place;
        page.values[place] = Some(value);
        if page.taken == u64::MAX {
            self.room[at / 64] &= !(1 << (at % 64));
        }
        self.live += 1;
        Key { index: (at * PLACES + place) as u32, generation: page.generations[place] }
    }

    pub(crate) fn get(&mut self, key: Key) -> Option<&mut T> {
        let page = self.page(key.index)?;
        let place = key.index as usize % PLACES;
        if page.generations[place] == key.generation { page.values[place].as_mut() } else { None }
    }

    /// The value at a place, of whatever generation.
    pub(crate) fn at(&self, index: u32) -> Option<&T> {
        let page = self.pages.get(index as usize / PLACES)?.page.as_ref()?;
        page.values[index as usize % PLACES].as_ref()
    }

    /// As [`at`](Self::at).
    pub(crate) fn at_mut(&mut self, index: u32) -> Option<&mut T> {
        self.page(index)?.values[index as usize % PLACES].as_mut()
    }

    /// Takes the value out and leaves its place taken, until it is put back or [`free`](Self::free)d.
    pub(crate) fn lift(&mut self, index: u32) -> Option<T> {
        self.page(index)?.values[index as usize % PLACES].take()
    }

    /// Puts a lifted value back.
    pub(crate) fn put_back(&mut self, index: u32, value: T) {
        if let Some(page) = self.page(index) {
            debug_assert!(page.taken & 1 << (index as usize % PLACES) != 0);
            page.values[index as usize % PLACES] = Some(value);
        }
    }

    pub(crate) fn remove(&mut self, key: Key) -> Option<T> {
        self.get(key)?;
        self.free(key.index)
    }

    /// Gives a place up, whatever it holds.
    pub(crate) fn free(&mut self, index: u32) -> Option<T> {
        let (at, place) = (index as usize / PLACES, index as usize % PLACES);
        let shelf = self.pages.get_mut(at)?;
        let page = shelf.page.as_mut().filter(|page| page.taken & 1 << place != 0)?;
        let value = page.values[place].take();
        page.generations[place] = (page.generations[place] + 1) & GENERATIONS;
        page.taken &= !(1 << place);
        self.room[at / 64] |= 1 << (at % 64);
        self.live -= 1;
        // The first page stays: one connection after the other should not make and free it each time.
        if page.taken == 0 && at > 0 {
            shelf.generation = page.generations.iter().copied().max().unwrap_or_default();
            shelf.page = None;
        }
        value
    }

    /// Takes some value out.
    pub(crate) fn pop(&mut self) -> Option<T> {
        let shelves = self.pages.iter().enumerate();
        let (at, page) =
            shelves.filter_map(|(at, shelf)| Some((at, shelf.page.as_ref()?))).find(|(_, p)| p.taken != 0)?;
        self.free((at * PLACES + page.taken.trailing_zeros() as usize) as u32)
    }

    /// Places that are taken.
    pub(crate) fn live(&self) -> usize {
        self.live
    }

    /// Whether the page of a place is there.
    pub(crate) fn has_page_of(&self, index: u32) -> bool {
        self.pages.get(index as usize / PLACES).is_some_and(|shelf| shelf.page.is_some())
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        let pages = self.pages.iter_mut().filter_map(|shelf| shelf.page.as_mut());
        pages.flat_map(|page| page.values.iter_mut().filter_map(Option::as_mut))
    }

    fn page(&mut self, index: u32) -> Option<&mut Page<T>> {
        self.pages.get_mut(index as usize / PLACES)?.page.as_deref_mut()
    }

    fn page_with_room(&mut self) -> usize {
        for (word, room) in self.room.iter().enumerate() {
            if *room != 0 {
                return word * 64 + room.trailing_zeros() as usize;
            }
        }
        let at = self.pages.len();
        self.pages.push(Shelf { page: None, generation: 0 });
        if at.is_multiple_of(64) {
            self.room.push(0);
        }
        self.room[at / 64] |= 1 << (at % 64);
        at
    }
}

impl<T> Page<T> {
    fn new(generation: u32) -> Self {
        Self { taken: 0, generations: [generation; PLACES], values: [const { None }; PLACES] }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    proptest! {
        /// Whatever comes and goes, keys find their own value and none finds another's.
        #[test]
        fn keys_find_their_value_alone(ops in prop::collection::vec((any::<bool>(), any::<u16>()), 1..2000)) {
            let mut slab = Slab::default();
            let (mut model, mut old) = (HashMap::new(), Vec::new());
            for (number, (insert, pick)) in ops.into_iter().enumerate() {
                let keys: Vec<u32> = model.keys().copied().collect();
                if insert || keys.is_empty() {
                    let key = slab.insert(number);
                    prop_assert!(model.insert(key.index, (key, number)).is_none(), "a place given twice");
                } else if let Some((key, value)) = model.remove(&keys[usize::from(pick) % keys.len()]) {
                    prop_assert_eq!(slab.remove(key), Some(value));
                    old.push(key);
                }
                prop_assert_eq!(slab.live(), model.len());
            }
            for (key, value) in model.into_values() {
                prop_assert_eq!(slab.get(key), Some(&mut { value }));
            }
            prop_assert!(old.into_iter().all(|key| slab.get(key).is_none() && slab.remove(key).is_none()));
        }
    }

    #[test]
    fn empty_pages_go_and_old_keys_still_find_nobody() {
        let mut slab = Slab::default();
        let keys: Vec<Key> = (0..1000).map(|number| slab.insert(number)).collect();
        keys.iter().for_each(|key| assert!(slab.remove(*key).is_some()));
        assert_eq!((slab.live(), slab.pages.iter().filter(|shelf| shelf.page.is_some()).count()), (0, 1));
        assert!((0..1000).all(|number| slab.insert(number).generation > 0));
        assert!(keys.iter().all(|key| slab.get(*key).is_none()));
    }
}
