//! Admission of TLS handshakes: a storm of new connections must not starve those that are served.
//!
//! A handshake is the most expensive thing a client can ask for (a signature, a key exchange), and it is paid before
//! anything is known of the client. So only some may begin in one turn of the worker's loop; the others wait in line,
//! first come first served, while the turn's other work is done. The line is bounded.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use ringway_api::{Env, Time, Timer};

/// Handshakes that may begin in one turn: about a millisecond of work.
const PER_TURN: u32 = 8;
/// Handshakes that may be under way or wait, on one worker.
const LIMIT: u32 = 4096;
/// How long the line stands still at most: the resolution of timers.
const PAUSE: Duration = Duration::from_millis(1);

/// The handshakes of a worker.
#[derive(Default)]
pub(crate) struct Admission {
    state: Rc<State>,
}

#[derive(Default)]
struct State {
    under_way: Cell<u32>,
    turn: Cell<Time>,
    begun: Cell<u32>,
    line: RefCell<VecDeque<Rc<Ticket>>>,
}

/// A place in the line.
#[derive(Default)]
struct Ticket {
    waker: RefCell<Option<Waker>>,
    gone: Cell<bool>,
}

/// The right to a handshake; counts it until it is dropped.
pub(crate) struct Admitted(Rc<State>);

impl Admission {
    /// Waits for its turn. `None` when too many are under way or wait.
    pub(crate) async fn admit(&self, env: &dyn Env) -> Option<Admitted> {
        let state = &self.state;
        if state.under_way.get() >= LIMIT {
            return None;
        }
        state.under_way.set(state.under_way.get() + 1);
        let admitted = Admitted(Rc::clone(state));
        if state.line.borrow().is_empty() && state.begin(env.now()) {
            return Some(admitted);
        }
        let place = Place { state: Rc::clone(state), ticket: Rc::default() };
        state.line.borrow_mut().push_back(Rc::clone(&place.ticket));
        state.wake_first();
        place.wait(env).await;
        Some(admitted)
    }
}

impl State {
    /// Takes one of this turn's beginnings.
    fn begin(&self, now: Time) -> bool {
        if self.turn.replace(now) != now {
            self.begun.set(0);
        }
        let free = self.begun.get() < PER_TURN;
        if free {
            self.begun.set(self.begun.get() + 1);
        }
        free
    }

    fn is_first(&self, ticket: &Rc<Ticket>) -> bool {
        let mut line = self.line.borrow_mut();
        while line.front().is_some_and(|first| first.gone.get()) {
            line.pop_front();
        }
        line.front().is_some_and(|first| Rc::ptr_eq(first, ticket))
    }

    fn wake_first(&self) {
        let first = self.line.borrow().iter().find(|ticket| !ticket.gone.get()).cloned();
        if let Some(waker) = first.and_then(|ticket| ticket.waker.borrow_mut().take()) {
            waker.wake();
        }
    }
}

/// A place that is given up when it is dropped.
struct Place {
    state: Rc<State>,
    ticket: Rc<Ticket>,
}

impl Place {
    async fn wait(self, env: &dyn Env) {
        let mut timer: Option<Timer> = None;
        poll_fn(|cx| {
            let first = self.state.is_first(&self.ticket);
            if first && self.state.begin(env.now()) {
                return Poll::Ready(());
            }
            // Woken when others come or go, which in a storm is every turn.
            *self.ticket.waker.borrow_mut() = Some(cx.waker().clone());
            if first {
                // At the latest by the clock.
                let pause = timer.get_or_insert_with(|| env.timer());
                pause.set_after(PAUSE);
                let later = pause.poll_expired(cx);
                debug_assert!(later.is_pending());
            }
            Poll::Pending
        })
        .await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.ticket.gone.set(true);
        let mut line = self.state.line.borrow_mut();
        while line.front().is_some_and(|first| first.gone.get()) {
            line.pop_front();
        }
        drop(line);
        self.state.wake_first();
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.0.under_way.set(self.0.under_way.get().saturating_sub(1));
        self.0.wake_first();
    }
}
