//! How many streams of a worker use something that takes memory.

use std::cell::Cell;
use std::rc::Rc;

/// A count of streams with a limit. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct ActiveStreams(Rc<Cell<usize>>);

/// One stream's place among them; dropped, it is free.
#[derive(Debug)]
pub(crate) struct Place(ActiveStreams);

impl ActiveStreams {
    /// A place, if fewer than `most` are taken.
    pub(crate) fn take(&self, most: usize) -> Option<Place> {
        if self.0.get() >= most {
            return None;
        }
        self.0.set(self.0.get() + 1);
        Some(Place(self.clone()))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.0.set(self.0.0.get().saturating_sub(1));
    }
}
