//! The content of a frame that is passed on while it arrives: from the loop that reads to the consumer of the body.

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use ringway_api::{BodyError, BodyStream, Chunk, ChunkQueue, Frame};

/// Bytes that wait for the consumer before no more are read.
const ROOM: usize = 256 << 10;

/// The reading loop's end.
#[derive(Debug)]
pub(crate) struct Feed(Rc<RefCell<State>>);

/// The consumer's end.
#[derive(Debug)]
pub(crate) struct FedBody {
    state: Rc<RefCell<State>>,
    remaining: u64,
}

#[derive(Debug, Default)]
struct State {
    queue: ChunkQueue,
    ended: bool,
    error: Option<BodyError>,
    /// The consumer is gone: what comes is dropped.
    unwanted: bool,
    consumer: Option<Waker>,
    reader: Option<Waker>,
}

/// A body of `len` bytes, and what feeds it.
pub(crate) fn feed(len: u64) -> (Feed, FedBody) {
    let state = Rc::new(RefCell::new(State::default()));
    (Feed(Rc::clone(&state)), FedBody { state, remaining: len })
}

impl Feed {
    /// Whether more may be read: the consumer keeps up.
    pub(crate) fn has_room(&self, cx: &Context<'_>) -> bool {
        let mut state = self.0.borrow_mut();
        let room = state.unwanted || state.queue.bytes() < ROOM;
        if !room {
            state.reader = Some(cx.waker().clone());
        }
        room
    }

    pub(crate) fn push(&self, chunk: Chunk) {
        let mut state = self.0.borrow_mut();
        if !state.unwanted {
            state.queue.push(chunk);
            state.wake();
        }
    }

    pub(crate) fn end(&self) {
        let mut state = self.0.borrow_mut();
        state.ended = true;
        state.wake();
    }

    pub(crate) fn fail(&self, error: BodyError) {
        let mut state = self.0.borrow_mut();
        if !state.ended {
            state.error.get_or_insert(error);
            state.wake();
        }
    }
}

impl State {
    fn wake(&mut self) {
        if let Some(waker) = self.consumer.take() {
            waker.wake();
        }
    }
}

impl BodyStream for FedBody {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        let mut state = self.state.borrow_mut();
        if let Some(chunk) = state.queue.pop() {
            if state.queue.bytes() < ROOM / 2
                && let Some(waker) = state.reader.take()
            {
                waker.wake();
            }
            self.remaining = self.remaining.saturating_sub(chunk.len() as u64);
            return Poll::Ready(Some(Ok(Frame::Data(chunk))));
        }
        if state.ended {
            return Poll::Ready(None);
        }
        if let Some(error) = state.error.take() {
            return Poll::Ready(Some(Err(error)));
        }
        state.consumer = Some(cx.waker().clone());
        Poll::Pending
    }

    fn remaining(&self) -> Option<u64> {
        Some(self.remaining)
    }
}

impl Drop for FedBody {
    fn drop(&mut self) {
        let mut state = self.state.borrow_mut();
        state.unwanted = true;
        state.queue.clear();
        if let Some(waker) = state.reader.take() {
            waker.wake();
        }
    }
}
