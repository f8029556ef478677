//! What a connection has to send: whole frames one after the other, whoever writes them.

use std::cell::RefCell;
use std::io;
use std::task::{Context, Poll, Waker};

use ringway_api::{Chunk, ChunkQueue, Io};

/// Bytes that wait for the peer before callers have to.
const ROOM: usize = 256 << 10;

/// Frames of our own (heartbeats, errors) that wait while another frame is being written: a peer that asks for more
/// does not read.
const DEFERRED: usize = 64 << 10;

/// The most room that is made beforehand.
const MOST_USUAL: usize = 64 << 10;

/// Shared by the loop that sends and the calls that write.
#[derive(Debug, Default)]
pub(crate) struct Outbox(RefCell<State>);

#[derive(Debug, Default)]
struct State {
    /// Small frames are copied together.
    text: Vec<u8>,
    /// How much that was the last time: room for as much is made with the first frame. An idle connection keeps none.
    usual: usize,
    queue: ChunkQueue,
    /// A frame is being written piece by piece, and nothing may come between.
    claimed: bool,
    /// What came all the same.
    deferred: Vec<u8>,
    /// A frame was left unfinished, or the peer does not read: the connection is of no use any more.
    broken: bool,
    /// Bytes written, and bytes that the transport has taken.
    written: u64,
    taken: u64,
    /// The loop that sends.
    sender: Option<Waker>,
    /// Calls that wait for room.
    waiting: Vec<Waker>,
}

impl Outbox {
    /// Ready when a frame may be written.
    pub(crate) fn poll_room(&self, cx: &Context<'_>) -> Poll<()> {
        let state = &mut *self.0.borrow_mut();
        if state.broken || (!state.claimed && state.text.len() + state.queue.bytes() < ROOM) {
            return Poll::Ready(());
        }
        state.waiting.push(cx.waker().clone());
        Poll::Pending
    }

    /// Ready when the next piece of a claimed frame may be written.
    pub(crate) fn poll_piece(&self, cx: &Context<'_>) -> Poll<()> {
        let state = &mut *self.0.borrow_mut();
        if state.broken || state.text.len() + state.queue.bytes() < ROOM {
            return Poll::Ready(());
        }
        state.waiting.push(cx.waker().clone());
        Poll::Pending
    }

    /// Writes a whole frame, or what a claimed one begins with.
    pub(crate) fn write<T>(&self, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        let state = &mut *self.0.borrow_mut();
        if state.text.capacity() == 0 {
            state.text.reserve(state.usual);
        }
        let before = state.text.len();
        let result = write(&mut state.text);
        state.written += (state.text.len() - before) as u64;
        state.wake_sender();
        result
    }

    /// Writes a frame of our own, which may come at any time: between frames.
    pub(crate) fn write_between<T>(&self, write: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        if !self.0.borrow().claimed {
            return self.write(write);
        }
        let state = &mut *self.0.borrow_mut();
        let result = write(&mut state.deferred);
        state.broken |= state.deferred.len() > DEFERRED;
        result
    }

    /// Appends bytes without copying them.
    pub(crate) fn push(&self, chunk: Chunk) {
        let state = &mut *self.0.borrow_mut();
        state.written += chunk.len() as u64;
        state.settle();
        state.queue.push(chunk);
        state.wake_sender();
    }

    /// From now on until [`release`](Self::release) only one frame is written.
    pub(crate) fn claim(&self) {
        self.0.borrow_mut().claimed = true;
    }

    /// The claimed frame is complete, or never will be.
    pub(crate) fn release(&self, complete: bool) {
        let state = &mut *self.0.borrow_mut();
        state.claimed = false;
        state.broken |= !complete;
        let deferred = std::mem::take(&mut state.deferred);
        state.written += deferred.len() as u64;
        state.text.extend_from_slice(&deferred);
        state.wake_sender();
        state.wake_waiting();
    }

    /// Whether a frame is being written piece by piece.
    pub(crate) fn is_claimed(&self) -> bool {
        self.0.borrow().claimed
    }

    /// Whether the connection cannot go on.
    pub(crate) fn is_broken(&self) -> bool {
        self.0.borrow().broken
    }

    /// Where the next byte goes, counted from the beginning of the connection.
    pub(crate) fn position(&self) -> u64 {
        self.0.borrow().written
    }

    /// How much of that the transport has taken.
    pub(crate) fn taken(&self) -> u64 {
        self.0.borrow().taken
    }

    /// Bytes that wait to be sent.
    pub(crate) fn waiting(&self) -> u64 {
        let state = self.0.borrow();
        state.written - state.taken
    }

    /// Has the loop that sends look around.
    pub(crate) fn wake(&self) {
        self.0.borrow().wake_sender();
    }

    /// Gives up: whoever waits is woken, and finds the connection broken.
    pub(crate) fn close(&self) {
        let state = &mut *self.0.borrow_mut();
        state.broken = true;
        state.wake_waiting();
    }

    /// Sends what there is; ready when the transport has taken it. Wakes the task behind `cx` when there is more.
    pub(crate) fn poll_send<I: Io>(&self, io: &mut I, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let state = &mut *self.0.borrow_mut();
        match &state.sender {
            Some(known) if known.will_wake(cx.waker()) => {}
            _ => state.sender = Some(cx.waker().clone()),
        }
        state.settle();
        let sent = io.poll_send(cx, &mut state.queue);
        state.taken = state.written - state.queue.bytes() as u64;
        if state.queue.bytes() < ROOM / 2 {
            state.wake_waiting();
        }
        sent
    }
}

impl State {
    /// Moves what was copied together behind what is queued.
    fn settle(&mut self) {
        if !self.text.is_empty() {
            self.usual = self.text.len().min(MOST_USUAL);
            self.queue.push(Chunk::from(std::mem::take(&mut self.text)));
        }
    }

    /// The sender keeps its waker: it is one task for as long as the connection lives.
    fn wake_sender(&self) {
        if let Some(waker) = &self.sender {
            waker.wake_by_ref();
        }
    }

    fn wake_waiting(&mut self) {
        self.waiting.drain(..).for_each(Waker::wake);
    }
}
