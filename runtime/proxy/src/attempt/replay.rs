//! The content of a request, kept for as long as the request may be sent again.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::task::{Context, Poll};

use ringway_api::{Body, BodyError, BodyStream, Chunk, Frame, Headers};
use ringway_telemetry::{Cells, ClusterStats};

/// Pieces below this are copied out of the receive buffer they came in: a few bytes would hold all of it.
const COPY_BELOW: usize = 8 << 10;

/// How many bytes a worker may keep.
pub(crate) struct ReplayMemory {
    left: Cell<usize>,
}

/// The content of a request, to be had once or again and again.
pub(super) enum Kept {
    /// It has none.
    Empty,
    /// All of it.
    Full(Chunk, #[allow(dead_code, reason = "gives its room back when it is dropped")] Room),
    /// It is arriving.
    Stream(Rc<Replay>),
    /// It is not kept: the first to ask gets it.
    Once(Option<Body>),
}

/// Room in the memory, and in the count.
pub(super) struct Room {
    memory: Rc<ReplayMemory>,
    stats: Cells<ClusterStats>,
    bytes: usize,
}

/// What has arrived of a body, for all who read it.
pub(super) struct Replay(RefCell<Inner>);

struct Inner {
    source: Body,
    pieces: Vec<Chunk>,
    trailers: Option<Headers>,
    room: Room,
    limit: usize,
    state: State,
    /// Nobody will begin again: pieces go as they are read.
    sealed: bool,
}

#[derive(Clone)]
enum State {
    /// All that has arrived is kept.
    Keeping,
    /// More than may be kept; what is kept no more cannot be read again.
    Passing,
    Ended,
    Failed(BodyError),
}

/// One reading of a [`Replay`].
struct Reading {
    replay: Rc<Replay>,
    at: usize,
    trailers_given: bool,
    /// Bytes read, for whoever watches the try.
    moved: Rc<Cell<u64>>,
}

// === impl ReplayMemory ===

impl ReplayMemory {
    pub(crate) fn new(bytes: usize) -> Rc<Self> {
        Rc::new(Self { left: Cell::new(bytes) })
    }
}

// === impl Room ===

impl Room {
    pub(super) fn new(memory: &Rc<ReplayMemory>, stats: &Cells<ClusterStats>) -> Self {
        Self { memory: Rc::clone(memory), stats: stats.clone(), bytes: 0 }
    }

    pub(super) fn take(&mut self, bytes: usize) -> bool {
        let Some(left) = self.memory.left.get().checked_sub(bytes) else { return false };
        self.memory.left.set(left);
        self.bytes += bytes;
        self.stats.upstream_rq_replay_bytes.add(bytes as i64);
        true
    }

    fn give(&mut self, bytes: usize) {
        let bytes = bytes.min(self.bytes);
        self.memory.left.set(self.memory.left.get() + bytes);
        self.bytes -= bytes;
        self.stats.upstream_rq_replay_bytes.add(-(bytes as i64));
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.give(self.bytes);
        }
    }
}

// === impl Kept ===

impl Kept {
    /// Keeps a body of up to `limit` bytes.
    pub(super) fn new(body: Body, limit: usize, mut room: Room) -> Self {
        match body {
            Body::Empty => Self::Empty,
            Body::Full(chunk) if chunk.len() <= limit && room.take(chunk.len()) => Self::Full(chunk, room),
            Body::Stream(_) if body.remaining().is_none_or(|bytes| bytes <= limit as u64) => {
                let (pieces, trailers) = (Vec::new(), None);
                let state = State::Keeping;
                let inner = Inner { source: body, pieces, trailers, room, limit, state, sealed: false };
                Self::Stream(Rc::new(Replay(RefCell::new(inner))))
            }
            large => {
                room.stats.upstream_rq_replay_overflow.inc();
                Self::Once(Some(large))
            }
        }
    }

    /// Whether it can be had (once more).
    pub(super) fn is_there(&self) -> bool {
        match self {
            Self::Empty | Self::Full(..) => true,
            Self::Stream(replay) => matches!(replay.0.borrow().state, State::Keeping | State::Ended),
            Self::Once(body) => body.is_some(),
        }
    }

    /// The content from its beginning. `moved` counts the bytes that are read of a stream.
    pub(super) fn read(&mut self, moved: &Rc<Cell<u64>>) -> Body {
        match self {
            Self::Empty => Body::Empty,
            Self::Full(chunk, _) => Body::Full(chunk.clone()),
            Self::Stream(replay) => {
                let (replay, moved) = (Rc::clone(replay), Rc::clone(moved));
                Body::Stream(Box::new(Reading { replay, at: 0, trailers_given: false, moved }))
            }
            Self::Once(body) => body.take().unwrap_or_default(),
        }
    }

    /// The request waits: what it keeps may stay for long.
    pub(super) fn settle(&mut self) {
        if let Self::Full(chunk, _) = self {
            *chunk = small(std::mem::take(chunk));
        }
    }

    /// Nobody will begin again.
    pub(super) fn seal(&self) {
        if let Self::Stream(replay) = self {
            let mut inner = replay.0.borrow_mut();
            inner.sealed = true;
            if matches!(inner.state, State::Keeping) {
                inner.state = State::Passing;
            }
        }
    }
}

pub(super) fn small(chunk: Chunk) -> Chunk {
    if chunk.is_pooled() && chunk.len() < COPY_BELOW { chunk.detach() } else { chunk }
}

// === impl Inner ===

impl Inner {
    fn poll_source(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        let polled = self.source.poll_frame(cx);
        match &polled {
            Poll::Ready(Some(Ok(Frame::Data(chunk)))) if matches!(self.state, State::Keeping) => self.keep(chunk),
            Poll::Ready(Some(Ok(Frame::Trailers(trailers)))) => self.trailers = Some(trailers.clone()),
            Poll::Ready(Some(Err(error))) => self.state = State::Failed(error.clone()),
            Poll::Ready(None) if matches!(self.state, State::Keeping) => self.state = State::Ended,
            _ => {}
        }
        polled
    }

    fn keep(&mut self, chunk: &Chunk) {
        if self.room.bytes + chunk.len() <= self.limit && self.room.take(chunk.len()) {
            self.pieces.push(small(chunk.clone()));
            return;
        }
        self.state = State::Passing;
        self.pieces = Vec::new();
        self.room.give(self.room.bytes);
        self.room.stats.upstream_rq_replay_overflow.inc();
    }

    fn piece(&mut self, at: usize) -> Option<Chunk> {
        let sealed = self.sealed;
        let piece = self.pieces.get_mut(at)?;
        if !sealed {
            return Some(piece.clone());
        }
        let piece = std::mem::take(piece);
        self.room.give(piece.len());
        Some(piece)
    }
}

impl BodyStream for Reading {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        let mut inner = self.replay.0.borrow_mut();
        if let Some(piece) = inner.piece(self.at) {
            self.at += 1;
            self.moved.set(self.moved.get() + piece.len() as u64);
            return Poll::Ready(Some(Ok(Frame::Data(piece))));
        }
        match &inner.state {
            State::Keeping | State::Passing => {
                if let Some(trailers) = inner.trailers.clone().filter(|_| !self.trailers_given) {
                    self.trailers_given = true;
                    return Poll::Ready(Some(Ok(Frame::Trailers(trailers))));
                }
                let polled = inner.poll_source(cx);
                match &polled {
                    Poll::Ready(Some(Ok(Frame::Data(chunk)))) => {
                        self.at = inner.pieces.len();
                        self.moved.set(self.moved.get() + chunk.len() as u64);
                    }
                    Poll::Ready(Some(Ok(Frame::Trailers(_)))) => self.trailers_given = true,
                    _ => {}
                }
                polled
            }
            State::Ended if !self.trailers_given => {
                self.trailers_given = true;
                Poll::Ready(inner.trailers.clone().map(|trailers| Ok(Frame::Trailers(trailers))))
            }
            State::Ended => Poll::Ready(None),
            State::Failed(error) => Poll::Ready(Some(Err(error.clone()))),
        }
    }

    fn remaining(&self) -> Option<u64> {
        let inner = self.replay.0.borrow();
        let kept: u64 = inner.pieces.iter().skip(self.at).map(|piece| piece.len() as u64).sum();
        match inner.state {
            State::Ended | State::Failed(_) => Some(kept),
            State::Keeping | State::Passing => Some(kept + inner.source.remaining()?),
        }
    }
}
