//! The driver: sockets and timers of one worker over its ring.

mod dispatch;

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use ringway_api::{Chunk, ChunkQueue, Time};

use crate::clock::Clock;
use crate::ring::{Ring, RingConfig};
use crate::slots::{Kind, Slot, SlotId, Slots};
use crate::socket::{Fin, RECV_LOW, Recv, Socket};
use crate::wheel::{Key, Wheel};

/// Resolution of the timer wheel: 2^20 ns, about a millisecond.
const WHEEL_SHIFT: u32 = 20;
/// How long a dropped stream may take to deliver what was queued.
const LINGER: Duration = Duration::from_secs(10);

/// Counters of a driver since its start.
#[derive(Clone, Copy, Debug, Default)]
pub struct DriverStats {
    /// Completions reaped.
    pub completions: u64,
    /// Enters of the ring.
    pub enters: u64,
    /// Receives that ended for want of buffers.
    pub starved: u64,
    /// Receives paused because their consumer was slow.
    pub paused: u64,
    /// Dropped streams that were cut before everything was delivered.
    pub linger_expired: u64,
}

/// One worker's sockets, timers and ring.
pub(crate) struct Driver {
    inner: RefCell<Inner>,
    timers: RefCell<Wheel<Option<Waker>>>,
    clock: Clock,
    now: Cell<Time>,
}

struct Inner {
    ring: Ring,
    slots: Slots,
    starved: Vec<SlotId>,
    lingering: Vec<(Time, SlotId)>,
    send_limit: usize,
    ticking: bool,
    ticked: bool,
    signalled: bool,
    stats: DriverStats,
}

impl Driver {
    pub(crate) fn new(config: &RingConfig, send_limit: usize) -> io::Result<Rc<Self>> {
        let clock = Clock::start();
        let inner = Inner {
            ring: Ring::new(config)?,
            slots: Slots::default(),
            starved: Vec::new(),
            lingering: Vec::new(),
            send_limit,
            ticking: false,
            ticked: false,
            signalled: false,
            stats: DriverStats::default(),
        };
        let now = Cell::new(clock.now());
        let timers = RefCell::new(Wheel::new(now.get().0 >> WHEEL_SHIFT));
        Ok(Rc::new(Self { inner: RefCell::new(inner), timers, clock, now }))
    }

    // === time ===

    pub(crate) fn now(&self) -> Time {
        self.now.get()
    }

    pub(crate) fn add_timer(&self) -> Key {
        self.timers.borrow_mut().insert(None)
    }

    pub(crate) fn drop_timer(&self, key: Key) {
        drop(self.timers.borrow_mut().remove(key));
    }

    /// Has the timer wake the task behind `cx` at `at`. An earlier wake-up that is already set is left as it is: the
    /// task looks again then.
    pub(crate) fn arm_timer(&self, key: Key, at: Time, cx: &Context<'_>) {
        let mut timers = self.timers.borrow_mut();
        let due = (at.0 >> WHEEL_SHIFT) + 1;
        if timers.due(key).is_none_or(|armed| armed > due) {
            timers.arm(key, due);
        }
        if let Some(waker) = timers.value(key) {
            match waker {
                Some(known) if known.will_wake(cx.waker()) => {}
                _ => *waker = Some(cx.waker().clone()),
            }
        }
    }

    /// When the next timer is due.
    pub(crate) fn next_timer(&self) -> Option<Time> {
        self.timers.borrow().next().map(|tick| Time(tick << WHEEL_SHIFT))
    }

    // === the loop ===

    /// Starts or ends the periodic tick.
    pub(crate) fn set_tick(&self, period: Option<Duration>) {
        let mut inner = self.inner.borrow_mut();
        match period {
            Some(period) if !inner.ticking => {
                inner.ticking = true;
                inner.ring.tick(period, SlotId::TICK.token(Kind::Tick));
            }
            None if inner.ticking => inner.ring.stop_tick(SlotId::TICK.token(Kind::Tick)),
            _ => {}
        }
    }

    pub(crate) fn is_ticking(&self) -> bool {
        self.inner.borrow().ticking
    }

    /// Has the eventfd of other threads' messages interrupt the wait.
    pub(crate) fn watch_event(&self, event: RawFd) {
        self.inner.borrow_mut().ring.read_event(event, SlotId::TICK.token(Kind::Event));
    }

    /// One turn: submit, wait if asked to, fire timers, dispatch completions.
    pub(crate) fn turn(&self, wait: bool, limit: Option<Duration>) -> io::Result<Turn> {
        let mut inner = self.inner.borrow_mut();
        let inner = &mut *inner;
        inner.feed_starved();
        inner.stats.enters += 1;
        inner.ring.enter(wait, limit)?;
        self.now.set(self.clock.now());
        let mut dispatch = std::mem::take(&mut inner.slots.scratch);
        let completions = inner.ring.reap(|completion| dispatch.push(completion));
        inner.stats.completions += completions as u64;
        for completion in dispatch.drain(..) {
            inner.dispatch(completion);
        }
        inner.slots.scratch = dispatch;
        let ticked = std::mem::take(&mut inner.ticked);
        let signalled = std::mem::take(&mut inner.signalled);
        if !inner.lingering.is_empty() {
            inner.cut_lingering(self.now.get());
        }
        let to = self.now.get().0 >> WHEEL_SHIFT;
        self.timers.borrow_mut().advance(to, |waker| {
            if let Some(waker) = waker {
                waker.wake_by_ref();
            }
        });
        Ok(Turn { events: completions - usize::from(ticked), signalled })
    }

    /// Drops every waker: another executor's hold their tasks, and those hold us.
    pub(crate) fn forget_wakers(&self) {
        let dropped = self.inner.borrow_mut().slots.take_wakers();
        let timers = self.timers.borrow_mut().take_values();
        // Outside the borrows: with the last waker a task may go, and with it streams and timers.
        drop((dropped, timers));
    }

    /// Gives back receive memory that is not in use.
    pub(crate) fn trim(&self) {
        let mut inner = self.inner.borrow_mut();
        inner.ring.trim();
        inner.slots.shrink();
    }

    pub(crate) fn stats(&self) -> DriverStats {
        self.inner.borrow().stats
    }

    /// Timers that are set.
    pub(crate) fn timers(&self) -> usize {
        self.timers.borrow().armed()
    }

    pub(crate) fn held_bytes(&self) -> usize {
        self.inner.borrow().ring.held_bytes()
    }

    pub(crate) fn incremental_buffers(&self) -> bool {
        self.inner.borrow().ring.incremental_buffers()
    }

    // === one-shot and listening operations ===

    pub(crate) fn add(&self, slot: Slot) -> SlotId {
        self.inner.borrow_mut().slots.insert(slot)
    }

    /// Begins the operation that a connecting or listening slot is for.
    pub(crate) fn start(&self, id: SlotId, begin: impl FnOnce(&mut Ring, SlotId)) {
        begin(&mut self.inner.borrow_mut().ring, id);
    }

    pub(crate) fn with_slot<T>(&self, id: SlotId, on: impl FnOnce(&mut Slot) -> T) -> Option<T> {
        self.inner.borrow_mut().slots.get(id).map(on)
    }

    /// Marks a slot as nobody's and cancels its operation; the slot goes with the terminal completion.
    pub(crate) fn abandon(&self, id: SlotId, kind: Kind) {
        let mut inner = self.inner.borrow_mut();
        inner.ring.cancel(id.token(kind));
    }

    pub(crate) fn cancel_fd(&self, fd: RawFd) {
        self.inner.borrow_mut().ring.cancel_fd(fd);
    }

    pub(crate) fn free(&self, id: SlotId) {
        drop(self.inner.borrow_mut().slots.remove(id));
    }

    // === sockets ===

    pub(crate) fn poll_recv(&self, id: SlotId, cx: &Context<'_>) -> Poll<io::Result<Option<Chunk>>> {
        let mut inner = self.inner.borrow_mut();
        let Inner { slots, ring, .. } = &mut *inner;
        let Some(socket) = slots.socket(id) else { return Poll::Ready(Err(gone())) };
        if let Some(chunk) = socket.rx.pop() {
            if socket.recv == Recv::Idle && socket.rx.bytes() < RECV_LOW {
                socket.arm(ring, id.token(Kind::Recv));
            }
            return Poll::Ready(Ok(Some(chunk)));
        }
        if let Some(error) = socket.recv_error {
            return Poll::Ready(Err(error.into()));
        }
        match socket.recv {
            Recv::Ended => return Poll::Ready(Ok(None)),
            Recv::Idle => {
                socket.arm(ring, id.token(Kind::Recv));
            }
            Recv::Armed | Recv::Cancelling | Recv::Starved => {}
        }
        socket.reader.register(cx);
        Poll::Pending
    }

    pub(crate) fn poll_send(&self, id: SlotId, cx: &Context<'_>, out: &mut ChunkQueue) -> Poll<io::Result<()>> {
        let mut inner = self.inner.borrow_mut();
        let limit = inner.send_limit;
        let Inner { slots, ring, .. } = &mut *inner;
        let Some(socket) = slots.socket(id) else { return Poll::Ready(Err(gone())) };
        if let Some(error) = socket.send_error {
            out.clear();
            return Poll::Ready(Err(error.into()));
        }
        if socket.fin != Fin::Open {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        if socket.sending == 0 && socket.tx.is_empty() {
            // Straight to the kernel, whatever it is: the usual case.
            if !out.is_empty() {
                let before = out.bytes();
                ring.send(socket.fd, out, id.token(Kind::Send));
                socket.begun(before - out.bytes());
            }
        }
        while socket.queued() < limit {
            let Some(chunk) = out.pop() else { break };
            socket.tx.push(chunk);
        }
        if socket.queued() < limit {
            return Poll::Ready(Ok(()));
        }
        if out.is_empty() && socket.tx.is_empty() {
            // One large write that the kernel already works on: full, but everything was taken.
            return Poll::Ready(Ok(()));
        }
        socket.writer.register(cx);
        Poll::Pending
    }

    pub(crate) fn poll_flush(&self, id: SlotId, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.inner.borrow_mut();
        let Some(socket) = inner.slots.socket(id) else { return Poll::Ready(Err(gone())) };
        if let Some(error) = socket.send_error {
            return Poll::Ready(Err(error.into()));
        }
        if socket.queued() == 0 {
            return Poll::Ready(Ok(()));
        }
        socket.writer.register(cx);
        Poll::Pending
    }

    pub(crate) fn poll_shutdown(&self, id: SlotId, cx: &Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.inner.borrow_mut();
        let Inner { slots, ring, .. } = &mut *inner;
        let Some(socket) = slots.socket(id) else { return Poll::Ready(Err(gone())) };
        if let Some(error) = socket.send_error {
            return Poll::Ready(Err(error.into()));
        }
        match socket.fin {
            Fin::Done => return Poll::Ready(Ok(())),
            Fin::Open => {
                socket.fin = Fin::Wanted;
                finish_sending(ring, socket, id);
            }
            Fin::Wanted | Fin::Sending => {}
        }
        socket.writer.register(cx);
        Poll::Pending
    }

    /// Gives a socket up. In order, what is queued is sent first; otherwise the peer sees a reset.
    pub(crate) fn close(&self, id: SlotId, in_order: bool) {
        let mut inner = self.inner.borrow_mut();
        let until = self.now() + LINGER;
        let Some(socket) = inner.slots.socket(id) else { return };
        if socket.closing && in_order {
            return;
        }
        socket.closing = true;
        // The tasks that waited may be gone, and their wakers with them.
        socket.reader.forget();
        socket.writer.forget();
        socket.rx.clear();
        if !in_order {
            socket.aborted = true;
            crate::sys::reset_on_close(socket.fd);
            socket.tx.clear();
            if socket.sending > 0 {
                let fd = socket.fd;
                inner.ring.cancel_fd(fd);
            }
        } else if socket.queued() > 0 {
            inner.lingering.push((until, id));
        }
        inner.settle(id);
    }

    pub(crate) fn socket_fd(&self, id: SlotId) -> Option<RawFd> {
        self.inner.borrow_mut().slots.socket(id).map(|socket| socket.fd)
    }

    pub(crate) fn with_socket<T>(&self, id: SlotId, on: impl FnOnce(&mut Socket) -> T) -> Option<T> {
        self.inner.borrow_mut().slots.socket(id).map(on)
    }
}

/// What a turn brought.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Turn {
    /// Completions other than the tick's.
    pub(crate) events: usize,
    /// Another thread wants attention.
    pub(crate) signalled: bool,
}

/// Sends the end of stream once nothing is queued before it.
fn finish_sending(ring: &mut Ring, socket: &mut Socket, id: SlotId) {
    if socket.queued() == 0 {
        socket.fin = Fin::Sending;
        ring.shutdown(socket.fd, libc::SHUT_WR, id.token(Kind::Fin));
    }
}

fn gone() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the socket is closed")
}
