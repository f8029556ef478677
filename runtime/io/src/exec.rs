//! The tasks of a worker: a slab of boxed futures and a queue of those to poll.
//!
//! Waking a task of the same thread pushes its number; waking from another thread goes through the worker's
//! [`Remote`], which interrupts the worker's wait. Nothing is locked and nothing is shared for writing but that.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use ringway_api::LocalBoxFuture;

use crate::remote::Remote;

thread_local! {
    /// The queue of the worker that runs on this thread.
    static LOCAL: Local = const { Local { worker: Cell::new(0), ready: RefCell::new(VecDeque::new()) } };
}

struct Local {
    /// Which worker runs here; 0 is none.
    worker: Cell<u64>,
    ready: RefCell<VecDeque<TaskId>>,
}

/// A task's place and, as places are used again, its generation there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TaskId {
    index: u32,
    generation: u32,
}

/// The tasks of one worker.
pub(crate) struct Tasks {
    places: RefCell<Vec<Place>>,
    free: RefCell<Vec<u32>>,
    remote: Arc<Remote>,
    live: Cell<usize>,
    polls: Cell<u64>,
    panics: Cell<u64>,
}

struct Place {
    generation: u32,
    task: Option<Task>,
}

struct Task {
    future: LocalBoxFuture<'static, ()>,
    waker: Waker,
    shared: Arc<Shared>,
}

/// What wakers of a task share. `queued` is written by the worker's thread alone.
struct Shared {
    id: TaskId,
    queued: AtomicBool,
    remote: Arc<Remote>,
}

impl Tasks {
    /// An executor for this thread.
    pub(crate) fn enter(remote: Arc<Remote>) -> Rc<Self> {
        LOCAL.with(|local| {
            debug_assert_eq!(local.worker.get(), 0, "one worker per thread");
            local.worker.set(remote.worker());
            local.ready.borrow_mut().clear();
        });
        Rc::new(Self {
            places: RefCell::default(),
            free: RefCell::default(),
            remote,
            live: Cell::new(0),
            polls: Cell::new(0),
            panics: Cell::new(0),
        })
    }

    /// Adds a task; it is polled in the current turn.
    pub(crate) fn spawn(&self, future: LocalBoxFuture<'static, ()>) {
        let mut places = self.places.borrow_mut();
        let index = self.free.borrow_mut().pop().unwrap_or_else(|| {
            places.push(Place { generation: 0, task: None });
            (places.len() - 1) as u32
        });
        let Some(place) = places.get_mut(index as usize) else { return };
        let id = TaskId { index, generation: place.generation };
        let shared = Arc::new(Shared { id, queued: AtomicBool::new(true), remote: Arc::clone(&self.remote) });
        let waker = Waker::from(Arc::clone(&shared));
        place.task = Some(Task { future, waker, shared });
        self.live.set(self.live.get() + 1);
        LOCAL.with(|local| local.ready.borrow_mut().push_back(id));
    }

    /// Polls tasks that are ready, and those that become ready meanwhile, up to `budget` polls. True when some are
    /// left.
    pub(crate) fn run(&self, budget: usize) -> bool {
        while let Some(id) = self.remote.take_wake() {
            LOCAL.with(|local| local.ready.borrow_mut().push_back(id));
        }
        for _ in 0..budget {
            let Some(id) = LOCAL.with(|local| local.ready.borrow_mut().pop_front()) else { return false };
            self.poll(id);
        }
        LOCAL.with(|local| !local.ready.borrow().is_empty())
    }

    fn poll(&self, id: TaskId) {
        // The task is taken out while it runs: it may spawn others, which grows the table.
        let task = self
            .places
            .borrow_mut()
            .get_mut(id.index as usize)
            .and_then(|place| if place.generation == id.generation { place.task.take() } else { None });
        let Some(mut task) = task else { return };
        task.shared.queued.store(false, Ordering::Relaxed);
        self.polls.set(self.polls.get() + 1);
        let mut cx = Context::from_waker(&task.waker);
        let polled = catch_unwind(AssertUnwindSafe(|| task.future.as_mut().poll(&mut cx).is_ready()));
        let over = polled.unwrap_or_else(|_| {
            // The panic hook has reported it; the task's connection ends, nothing else does.
            self.panics.set(self.panics.get() + 1);
            true
        });
        if !over {
            if let Some(place) = self.places.borrow_mut().get_mut(id.index as usize) {
                place.task = Some(task);
            }
            return;
        }
        // What the future owns may do anything when dropped but drop again: outside the borrow.
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(task)));
        if dropped.is_err() {
            self.panics.set(self.panics.get() + 1);
        }
        if let Some(place) = self.places.borrow_mut().get_mut(id.index as usize) {
            place.generation = place.generation.wrapping_add(1);
        }
        self.free.borrow_mut().push(id.index);
        self.live.set(self.live.get() - 1);
        if self.live.get() == 0 {
            self.shrink();
        }
    }

    /// Tasks that have not ended.
    pub(crate) fn live(&self) -> usize {
        self.live.get()
    }

    /// Polls so far.
    pub(crate) fn polls(&self) -> u64 {
        self.polls.get()
    }

    /// Tasks that ended by a panic so far.
    pub(crate) fn panics(&self) -> u64 {
        self.panics.get()
    }

    /// Drops every task; for the end of a worker.
    pub(crate) fn clear(&self) {
        // Dropping may spawn (a clean-up task, say), so look again until nothing is left.
        loop {
            let next = self.places.borrow_mut().iter_mut().find_map(|place| place.task.take());
            let Some(task) = next else { return };
            self.live.set(self.live.get().saturating_sub(1));
            if catch_unwind(AssertUnwindSafe(|| drop(task))).is_err() {
                self.panics.set(self.panics.get() + 1);
            }
        }
    }

    /// Wakers of ended tasks may still be about: generations must not start over, so only the spare room goes.
    fn shrink(&self) {
        self.places.borrow_mut().shrink_to_fit();
        self.free.borrow_mut().shrink_to_fit();
    }
}

impl Tasks {
    /// The worker on this thread ends: wakers that are still about find nobody, and another worker may begin.
    pub(crate) fn leave(&self) {
        LOCAL.with(|local| {
            if local.worker.get() == self.remote.worker() {
                local.worker.set(0);
                local.ready.borrow_mut().clear();
            }
        });
    }
}

impl Wake for Shared {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let here = LOCAL.try_with(|local| {
            let here = local.worker.get() == self.remote.worker();
            if here && !self.queued.load(Ordering::Relaxed) {
                self.queued.store(true, Ordering::Relaxed);
                local.ready.borrow_mut().push_back(self.id);
            }
            here
        });
        if here != Ok(true) {
            self.remote.wake(self.id);
        }
    }
}

/// A future that lets everything else that is ready run once before it goes on.
pub(crate) async fn yield_now() {
    let mut yielded = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// Counts the polls of a task that another executor runs.
pub(crate) struct Counted {
    pub(crate) future: LocalBoxFuture<'static, ()>,
    pub(crate) polls: Rc<Cell<u64>>,
}

impl Future for Counted {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.polls.set(self.polls.get() + 1);
        self.future.as_mut().poll(cx)
    }
}
