//! The tasks of a worker: a slab of boxed futures and a queue of those to poll.
//!
//! Waking a task of the same thread pushes its number; waking from another thread goes through the worker's
//! [`Remote`], which interrupts the worker's wait. Nothing is locked and nothing is shared for writing but that.

mod waker;

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use ringway_api::LocalBoxFuture;

use self::waker::Marks;
use crate::remote::Remote;
use crate::slab::{PLACES, Slab};

/// The tasks of one worker.
pub(crate) struct Tasks {
    table: RefCell<Table>,
    remote: Arc<Remote>,
    polls: Cell<u64>,
    panics: Cell<u64>,
}

/// Tasks by number, and what their wakers need, by page.
#[derive(Default)]
struct Table {
    tasks: Slab<LocalBoxFuture<'static, ()>>,
    marks: Vec<Option<Arc<Marks>>>,
}

impl Tasks {
    /// An executor for this thread.
    pub(crate) fn enter(remote: Arc<Remote>) -> Rc<Self> {
        waker::enter(remote.worker());
        Rc::new(Self { table: RefCell::default(), remote, polls: Cell::new(0), panics: Cell::new(0) })
    }

    /// Adds a task; it is polled in the current turn.
    pub(crate) fn spawn(&self, future: LocalBoxFuture<'static, ()>) {
        self.table.borrow_mut().add(future, &self.remote);
    }

    /// Polls tasks that are ready, and those that become ready meanwhile, up to `budget` polls. True when some are
    /// left.
    pub(crate) fn run(&self, budget: usize) -> bool {
        while let Some(task) = self.remote.take_wake() {
            if let Some(marks) = self.table.borrow().marks(task) {
                marks.queue(task);
            }
        }
        for _ in 0..budget {
            let Some(task) = waker::next() else { return false };
            self.poll(task);
        }
        !waker::is_empty()
    }

    fn poll(&self, number: u32) {
        // The task is taken out while it runs: it may spawn others, which changes the table.
        let Some((mut task, waker)) = self.table.borrow_mut().take(number) else { return };
        self.polls.set(self.polls.get() + 1);
        let mut cx = Context::from_waker(&waker);
        let polled = catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(&mut cx).is_ready()));
        let over = polled.unwrap_or_else(|_| {
            // The panic hook has reported it; the task's connection ends, nothing else does.
            self.panics.set(self.panics.get() + 1);
            true
        });
        if !over {
            self.table.borrow_mut().tasks.put_back(number, task);
            return;
        }
        // What the future owns may do anything when dropped but drop again: outside the borrow.
        let dropped = catch_unwind(AssertUnwindSafe(|| drop(task)));
        if dropped.is_err() {
            self.panics.set(self.panics.get() + 1);
        }
        self.table.borrow_mut().end(number);
    }

    /// Tasks that have not ended.
    pub(crate) fn live(&self) -> usize {
        self.table.borrow().tasks.live()
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
            let Some(task) = self.table.borrow_mut().tasks.pop() else { return };
            if catch_unwind(AssertUnwindSafe(|| drop(task))).is_err() {
                self.panics.set(self.panics.get() + 1);
            }
        }
    }

    /// Gives back room that no task needs.
    pub(crate) fn shrink(&self) {
        waker::shrink();
    }

    /// The worker on this thread ends: wakers that are still about find nobody, and another worker may begin.
    pub(crate) fn leave(&self) {
        waker::leave(self.remote.worker());
    }
}

impl Table {
    fn add(&mut self, future: LocalBoxFuture<'static, ()>, remote: &Arc<Remote>) {
        let task = self.tasks.insert(future).index;
        let page = task as usize / PLACES;
        if page >= self.marks.len() {
            self.marks.resize_with(page + 1, || None);
        }
        if let Some(marks) = self.marks.get_mut(page) {
            marks.get_or_insert_with(|| Marks::new(remote, task - task % PLACES as u32)).queue(task);
        }
    }

    fn marks(&self, task: u32) -> Option<&Arc<Marks>> {
        self.marks.get(task as usize / PLACES)?.as_ref()
    }

    /// Takes a task out of the table to poll it with a waker that is good until its [`end`](Self::end); its place
    /// stays its own.
    #[allow(unsafe_code, reason = "the waker is not counted, so that a poll costs no count")]
    fn take(&mut self, task: u32) -> Option<(LocalBoxFuture<'static, ()>, ManuallyDrop<Waker>)> {
        let marks = self.marks.get(task as usize / PLACES)?.as_ref()?;
        marks.dequeued(task);
        let future = self.tasks.lift(task)?;
        // SAFETY: a page goes when none of its places is taken, and this one is until `end`, behind the poll.
        let waker = unsafe { marks.waker(task) };
        Some((future, waker))
    }

    fn end(&mut self, task: u32) {
        drop(self.tasks.free(task));
        if !self.tasks.has_page_of(task)
            && let Some(marks) = self.marks.get_mut(task as usize / PLACES)
        {
            *marks = None;
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
