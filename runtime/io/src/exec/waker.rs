//! Wakers of tasks: a pointer to the task's mark in a page that many tasks share, so that a task needs no allocation
//! of its own for them.
//!
//! A waker says where its task was. After the task has ended, its place may be another's, which is then polled once
//! for nothing: futures expect that.

#![allow(unsafe_code, reason = "a waker that is not an `Arc` of its own is made of raw pointers")]

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::mem::{ManuallyDrop, offset_of};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{RawWaker, RawWakerVTable, Waker};

use crate::remote::Remote;
use crate::slab::PLACES;

thread_local! {
    /// The queue of the worker that runs on this thread.
    static LOCAL: Local = const { Local { worker: Cell::new(0), ready: RefCell::new(VecDeque::new()) } };
}

struct Local {
    /// Which worker runs here; 0 is none.
    worker: Cell<u64>,
    ready: RefCell<VecDeque<u32>>,
}

/// What the wakers of a page of tasks share.
pub(super) struct Marks {
    remote: Arc<Remote>,
    /// The number of the page's first task.
    first: u32,
    marks: [Mark; PLACES],
}

struct Mark {
    /// The task is in the queue. Written by the worker's thread alone.
    queued: AtomicBool,
    /// Which of the page it is.
    place: u8,
}

// === the queue of this thread ===

/// This thread is the worker's from now on.
pub(super) fn enter(worker: u64) {
    LOCAL.with(|local| {
        debug_assert_eq!(local.worker.get(), 0, "one worker per thread");
        local.worker.set(worker);
        local.ready.borrow_mut().clear();
    });
}

/// This thread is the worker's no more.
pub(super) fn leave(worker: u64) {
    LOCAL.with(|local| {
        if local.worker.get() == worker {
            local.worker.set(0);
            *local.ready.borrow_mut() = VecDeque::new();
        }
    });
}

/// The next task to poll.
pub(super) fn next() -> Option<u32> {
    LOCAL.with(|local| local.ready.borrow_mut().pop_front())
}

pub(super) fn is_empty() -> bool {
    LOCAL.with(|local| local.ready.borrow().is_empty())
}

/// Gives back what a crowd has left; for a worker that goes idle.
pub(super) fn shrink() {
    LOCAL.with(|local| local.ready.borrow_mut().shrink_to(PLACES));
}

// === impl Marks ===

impl Marks {
    pub(super) fn new(remote: &Arc<Remote>, first: u32) -> Arc<Self> {
        let marks = std::array::from_fn(|place| Mark { queued: AtomicBool::new(false), place: place as u8 });
        Arc::new(Self { remote: Arc::clone(remote), first, marks })
    }

    /// Puts a task of the page into the queue, unless it is there. For the worker's thread.
    pub(super) fn queue(&self, task: u32) {
        if let Some(mark) = self.marks.get(task as usize % PLACES) {
            LOCAL.with(|local| self.queue_here(mark, local));
        }
    }

    /// Notes that a task is in the queue no more.
    pub(super) fn dequeued(&self, task: u32) {
        if let Some(mark) = self.marks.get(task as usize % PLACES) {
            mark.queued.store(false, Ordering::Relaxed);
        }
    }

    fn queue_here(&self, mark: &Mark, local: &Local) {
        if !mark.queued.load(Ordering::Relaxed) {
            mark.queued.store(true, Ordering::Relaxed);
            local.ready.borrow_mut().push_back(self.first + u32::from(mark.place));
        }
    }

    fn wake(&self, mark: &Mark) {
        let here = LOCAL.try_with(|local| {
            let here = local.worker.get() == self.remote.worker();
            if here {
                self.queue_here(mark, local);
            }
            here
        });
        if here != Ok(true) {
            self.remote.wake(self.first + u32::from(mark.place));
        }
    }

    /// The waker of a task of this page. It is not counted, and never dropped: a poll costs no count.
    ///
    /// # Safety
    /// The page must not be dropped while the result is used. Clones count themselves and may be used for ever.
    pub(super) unsafe fn waker(self: &Arc<Self>, task: u32) -> ManuallyDrop<Waker> {
        let place = task as usize % PLACES;
        let page = Arc::as_ptr(self).cast::<u8>();
        // SAFETY: `place` is below the number of marks, so the result lies in the page.
        let mark = unsafe { page.add(offset_of!(Self, marks) + place * size_of::<Mark>()) };
        // SAFETY: the functions of the table take pointers to marks of pages that live in an `Arc`.
        ManuallyDrop::new(unsafe { Waker::new(mark.cast(), &VTABLE) })
    }
}

// === the waker's functions ===

static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, forget);

/// The page that a mark is in.
///
/// # Safety
/// `mark` was made by [`Marks::waker`].
unsafe fn page_of(mark: *const ()) -> *const Marks {
    let mark = mark.cast::<Mark>();
    // SAFETY: it points to a mark of a page that is there: whoever holds the waker holds or borrows a count of it.
    let place = usize::from(unsafe { (*mark).place });
    // SAFETY: marks lie in the page in order, so this is where the page begins; the pointer was made from one to the
    // whole page.
    unsafe { mark.cast::<u8>().sub(offset_of!(Marks, marks) + place * size_of::<Mark>()).cast() }
}

unsafe fn clone(mark: *const ()) -> RawWaker {
    // SAFETY: the contract of the table is that of `page_of`; the page came out of an `Arc` and is alive.
    unsafe { Arc::increment_strong_count(page_of(mark)) };
    RawWaker::new(mark, &VTABLE)
}

unsafe fn wake(mark: *const ()) {
    // SAFETY: as above; this uses up the count that the waker holds.
    unsafe {
        wake_by_ref(mark);
        forget(mark);
    }
}

unsafe fn wake_by_ref(mark: *const ()) {
    // SAFETY: as above; both stay valid for the call, as the waker holds or borrows a count.
    let (page, mark) = unsafe { (&*page_of(mark), &*mark.cast::<Mark>()) };
    page.wake(mark);
}

unsafe fn forget(mark: *const ()) {
    // SAFETY: as above; the count is that of the waker, which is gone.
    unsafe { Arc::decrement_strong_count(page_of(mark)) };
}

// What crosses threads with a waker.
const _: () = {
    const fn shared<T: Send + Sync>() {}
    shared::<Marks>();
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wakers_hold_their_page_and_find_their_task() {
        let remote = Arc::new(Remote::new().unwrap());
        enter(remote.worker());
        let page = Marks::new(&remote, 128);
        // SAFETY: the page is dropped below.
        let (own, next_one) = unsafe { (page.waker(128 + 7), page.waker(128 + 8)) };
        let waker = Waker::clone(&own);
        assert!(waker.will_wake(&own) && !waker.will_wake(&next_one));
        let other = waker.clone();
        assert_eq!(Arc::strong_count(&page), 3);
        waker.wake_by_ref();
        waker.wake();
        assert_eq!((next(), next()), (Some(135), None), "queued once");
        page.dequeued(135);
        drop(page);
        // The last that holds the page, from elsewhere.
        std::thread::spawn(move || other.wake()).join().unwrap();
        assert_eq!((next(), remote.take_wake(), remote.take_wake()), (None, Some(135), None));
        assert_eq!(Arc::strong_count(&remote), 1);
        leave(remote.worker());
    }
}
