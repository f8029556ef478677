//! The part of a server's connection that the request's body shares with the loop.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use http::StatusCode;
use ringway_api::{Blame, BodyError, BodyStream, Chunk, ChunkQueue, Frame, Io};

use crate::body::{BodyLimits, Decoded, Decoder};

/// The stream and what has been received from it.
pub(super) struct Wire<I> {
    pub(super) io: I,
    /// Received and not yet consumed.
    pub(super) inbox: Chunk,
    pub(super) out: ChunkQueue,
    pub(super) input: Input,
    /// Of the current request's content.
    pub(super) decoder: Decoder,
    /// Content bytes received of the current request.
    pub(super) received: u64,
    /// Which request is current: a body that outlives its request must not read another's bytes.
    pub(super) turn: u32,
    /// 100 (Continue) is owed when content is first asked for.
    pub(super) owes_continue: bool,
    /// Somebody waits for content.
    pub(super) wanted: bool,
    /// Content moved since this was last cleared.
    pub(super) moved: bool,
    fault: Option<Box<BodyError>>,
    waker: Option<Waker>,
    limits: BodyLimits,
}

/// A quarter of a receive buffer.
const DETACH_LIMIT: usize = 8 << 10;

/// The state of the receiving side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Input {
    Open,
    /// The peer has ended its side; ours still works.
    Ended,
    Failed(io::ErrorKind),
}

/// A request's content.
pub(super) struct RequestBody<I> {
    wire: Rc<RefCell<Wire<I>>>,
    turn: u32,
}

impl<I: Io> Wire<I> {
    pub(super) fn new(io: I, limits: BodyLimits) -> Self {
        Self {
            io,
            inbox: Chunk::EMPTY,
            out: ChunkQueue::new(),
            input: Input::Open,
            decoder: Decoder::Done,
            received: 0,
            turn: 0,
            owes_continue: false,
            wanted: false,
            moved: false,
            fault: None,
            waker: None,
            limits,
        }
    }

    /// Begins the content of another request.
    pub(super) fn begin(&mut self, decoder: Decoder, owes_continue: bool) {
        self.turn = self.turn.wrapping_add(1);
        self.decoder = decoder;
        self.received = 0;
        self.owes_continue = owes_continue;
        self.wanted = false;
        self.fault = None;
        self.waker = None;
    }

    /// Receives into the empty inbox. Ready when there are bytes or no more will come.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        debug_assert!(self.inbox.is_empty());
        while self.input == Input::Open && self.inbox.is_empty() {
            match self.io.poll_recv(cx) {
                Poll::Ready(Ok(Some(chunk))) => self.inbox = chunk,
                Poll::Ready(Ok(None)) => self.input = Input::Ended,
                Poll::Ready(Err(error)) => self.input = Input::Failed(error.kind()),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(())
    }

    /// Looks out for the peer while somebody else is waited for. While content is wanted, its reader is who receives;
    /// otherwise one chunk is held at most.
    pub(super) fn watch(&mut self, cx: &mut Context<'_>) {
        if !self.wanted && self.inbox.is_empty() && self.input == Input::Open && self.poll_fill(cx).is_ready() {
            self.wake_reader();
        }
        self.detach();
    }

    /// Fails the content, now and for whoever waits for it.
    pub(super) fn fail(&mut self, error: BodyError) {
        self.fault = Some(Box::new(error));
        self.wake_reader();
    }

    /// Wakes whoever waits for content, if anybody does.
    fn wake_reader(&mut self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Takes bytes out of their pool that may be kept for long, if they are few: many are worth their buffer, and
    /// copying them would cost every upload.
    fn detach(&mut self) {
        if self.inbox.len() <= DETACH_LIMIT && self.inbox.is_pooled() {
            self.inbox = std::mem::take(&mut self.inbox).detach();
        }
    }

    /// The next frame of the current request's content.
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        if let Some(fault) = &self.fault {
            return Poll::Ready(Some(Err((**fault).clone())));
        }
        loop {
            match self.decoder.decode(&mut self.inbox, self.limits) {
                Ok(Decoded::Data(data)) => {
                    self.received += data.len() as u64;
                    self.wanted = false;
                    self.moved = true;
                    return Poll::Ready(Some(Ok(Frame::Data(data))));
                }
                Ok(Decoded::Trailers(trailers)) => return Poll::Ready(Some(Ok(Frame::Trailers(trailers)))),
                Ok(Decoded::End) => return Poll::Ready(None),
                Ok(Decoded::NeedMore) => {}
                Err(refusal) => {
                    let error = BodyError::new(Blame::Downstream, refusal.details).with_status(refusal.status);
                    return self.failed(error);
                }
            }
            match self.input {
                Input::Open => {}
                Input::Ended => {
                    let error = BodyError::new(Blame::Downstream, "incomplete_body");
                    return self.failed(error.with_status(StatusCode::BAD_REQUEST));
                }
                Input::Failed(_) => return self.failed(BodyError::new(Blame::Downstream, "reset")),
            }
            if self.owes_continue {
                self.send_continue(cx);
            }
            if self.poll_fill(cx).is_pending() {
                self.wanted = true;
                self.waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
        }
    }

    fn failed(&mut self, error: BodyError) -> Poll<Option<Result<Frame, BodyError>>> {
        self.wanted = false;
        self.fault = Some(Box::new(error.clone()));
        Poll::Ready(Some(Err(error)))
    }

    /// RFC 9110, section 10.1.1: the content is wanted.
    #[cold]
    fn send_continue(&mut self, cx: &mut Context<'_>) {
        self.owes_continue = false;
        self.out.push(Chunk::from("HTTP/1.1 100 Continue\r\n\r\n"));
        if let Poll::Ready(Err(error)) = self.io.poll_send(cx, &mut self.out) {
            self.input = Input::Failed(error.kind());
        }
    }
}

impl<I: Io> RequestBody<I> {
    pub(super) fn new(wire: &Rc<RefCell<Wire<I>>>) -> Self {
        let turn = wire.borrow().turn;
        Self { wire: Rc::clone(wire), turn }
    }
}

impl<I: Io> BodyStream for RequestBody<I> {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        let mut wire = self.wire.borrow_mut();
        if wire.turn != self.turn {
            return Poll::Ready(Some(Err(BodyError::new(Blame::Local, "request_ended"))));
        }
        wire.poll_frame(cx)
    }

    fn remaining(&self) -> Option<u64> {
        let wire = self.wire.borrow();
        if wire.turn == self.turn { wire.decoder.remaining() } else { Some(0) }
    }
}
