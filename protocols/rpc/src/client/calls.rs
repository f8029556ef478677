//! The calls under way on a connection, by their ids.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::Waker;

use ringway_api::{Body, ExchangeError, ResponseHead};

use super::Answer;
use crate::feed::FedBody;

/// Calls that a connection can have at once: ids are made of a place below this and of how often it was taken.
pub(super) const MOST: usize = (1 << PLACE_BITS) - 1;

const PLACE_BITS: u32 = 16;

/// An answer that is waited for.
#[derive(Debug)]
pub(super) struct Awaited {
    /// Where in the connection's bytes the call begins; the maximum until it is written.
    pub(super) start: u64,
    pub(super) state: State,
    pub(super) waker: Option<Waker>,
}

#[derive(Debug)]
pub(super) enum State {
    Waiting,
    Complete(ResponseHead, Body),
    Streaming(ResponseHead, FedBody),
    Failed(ExchangeError),
    /// It has been taken.
    Told,
}

/// Places for calls. An id that comes back after its call was given up finds another generation, and nobody.
#[derive(Debug)]
pub(super) struct Calls {
    places: Vec<Place>,
    free: Vec<usize>,
    open: usize,
    /// Generations count up to this.
    mask: u64,
    heartbeats: u64,
}

#[derive(Debug, Default)]
struct Place {
    generation: u64,
    answer: Option<Answer>,
}

impl Calls {
    pub(super) fn new(id_bits: u32) -> Self {
        let mask = (1_u64 << id_bits.saturating_sub(PLACE_BITS).min(47)) - 1;
        Self { places: Vec::new(), free: Vec::new(), open: 0, mask, heartbeats: 0 }
    }

    pub(super) fn open(&self) -> usize {
        self.open
    }

    /// A new call: its id, and where its answer will be.
    pub(super) fn take(&mut self) -> (u64, Answer) {
        let at = self.free.pop().unwrap_or_else(|| {
            self.places.push(Place::default());
            self.places.len() - 1
        });
        let answer = Rc::new(RefCell::new(Awaited { start: u64::MAX, state: State::Waiting, waker: None }));
        self.open += 1;
        let Some(place) = self.places.get_mut(at) else { return (0, answer) };
        // Ids that are reused late, and never 0, which some peers take for none.
        place.generation = (place.generation + 1) & self.mask;
        place.answer = Some(Rc::clone(&answer));
        (place.generation << PLACE_BITS | (at as u64 + 1), answer)
    }

    /// The call has ended.
    pub(super) fn release(&mut self, id: u64) {
        if let Some(at) = self.place(id)
            && let Some(place) = self.places.get_mut(at)
            && place.answer.take().is_some()
        {
            self.open -= 1;
            self.free.push(at);
        }
    }

    /// Whose answer has this id; without ids, the one call that there is.
    pub(super) fn find(&self, id: Option<u64>) -> Option<Answer> {
        match id {
            Some(id) => self.places.get(self.place(id)?)?.answer.clone(),
            None => self.all().next(),
        }
    }

    /// Everybody who waits.
    pub(super) fn all(&self) -> impl Iterator<Item = Answer> {
        self.places.iter().filter_map(|place| place.answer.clone())
    }

    /// An id for a heartbeat, which no call has.
    pub(super) fn heartbeat_id(&mut self) -> u64 {
        self.heartbeats = (self.heartbeats + 1) & self.mask;
        self.heartbeats << PLACE_BITS
    }

    fn place(&self, id: u64) -> Option<usize> {
        let at = usize::try_from(id & MOST as u64).ok()?.checked_sub(1)?;
        self.places.get(at).filter(|place| place.generation == id >> PLACE_BITS).map(|_| at)
    }
}

impl Awaited {
    pub(super) fn complete(&mut self, head: ResponseHead, body: Body) {
        self.set(State::Complete(head, body));
    }

    pub(super) fn stream(&mut self, head: ResponseHead, body: FedBody) {
        self.set(State::Streaming(head, body));
    }

    /// An answer that is there already stays.
    pub(super) fn fail(&mut self, error: ExchangeError) {
        self.set(State::Failed(error));
    }

    fn set(&mut self, state: State) {
        if matches!(self.state, State::Waiting) {
            self.state = state;
            if let Some(waker) = self.waker.take() {
                waker.wake();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_not_found_after_their_call() {
        for bits in [32, 64] {
            let mut calls = Calls::new(bits);
            let (first, _answer) = calls.take();
            let (second, _other) = calls.take();
            assert_ne!(first, second);
            assert!(calls.find(Some(first)).is_some());
            calls.release(first);
            calls.release(first);
            assert_eq!(calls.open(), 1);
            assert!(calls.find(Some(first)).is_none());
            let mut ids = vec![first, second];
            for _ in 0..60_000 {
                let (id, _) = calls.take();
                assert!(!ids.contains(&id) || ids.len() > 1000);
                assert!(u128::from(id) < 1 << bits);
                if ids.len() <= 1000 {
                    ids.push(id);
                }
                assert!(calls.find(Some(second)).is_some());
                assert_ne!(calls.heartbeat_id() & 0xffff, id & 0xffff);
                calls.release(id);
            }
            assert_eq!(calls.open(), 1);
        }
    }
}
