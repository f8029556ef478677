//! How idle connections call the pool's janitor.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Wake, Waker};

/// Collects which connections woke, and wakes the janitor. A [`Waker`] must be `Sync`, hence the mutex; all of it
/// happens on one worker, so it is never contended, and only when an idle connection wakes.
#[derive(Default)]
pub(crate) struct Bell(Mutex<Rung>);

#[derive(Default)]
struct Rung {
    slots: Vec<u32>,
    janitor: Option<Waker>,
}

/// The waker of one connection: made once, used whenever it is idle.
pub(crate) struct Knock {
    slot: u32,
    knocked: AtomicBool,
    bell: Arc<Bell>,
}

// === impl Bell ===

impl Bell {
    /// Wakes the janitor without a connection to look at.
    pub(crate) fn call(&self) {
        let janitor = self.lock().janitor.take();
        if let Some(janitor) = janitor {
            janitor.wake();
        }
    }

    /// Moves the slots that knocked to `into`; the task behind `cx` is woken at the next one.
    pub(crate) fn answer(&self, cx: &Context<'_>, into: &mut Vec<u32>) {
        let mut rung = self.lock();
        into.append(&mut rung.slots);
        rung.janitor = Some(cx.waker().clone());
    }

    fn ring(&self, slot: u32) {
        self.lock().slots.push(slot);
        self.call();
    }

    fn lock(&self) -> MutexGuard<'_, Rung> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Knock ===

impl Knock {
    pub(crate) fn new(slot: u32, bell: &Arc<Bell>) -> Self {
        Self { slot, knocked: AtomicBool::new(false), bell: Arc::clone(bell) }
    }

    pub(crate) fn slot(&self) -> u32 {
        self.slot
    }

    pub(crate) fn knocked(&self) -> bool {
        self.knocked.load(Ordering::Relaxed)
    }

    pub(crate) fn reset(&self) {
        self.knocked.store(false, Ordering::Relaxed);
    }
}

impl Wake for Knock {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.knocked.swap(true, Ordering::Relaxed) {
            self.bell.ring(self.slot);
        }
    }
}
