//! Two ends of a byte stream in memory.

mod control;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use ringway_api::{Chunk, ChunkQueue, Io, Storage};

pub use control::Control;

use crate::Rng;

/// How the bytes of a direction arrive.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Split {
    /// In the chunks they were sent in.
    #[default]
    AsSent,
    /// Everything that is there at once, up to this many bytes.
    Joined(usize),
    /// This many bytes at a time.
    Fixed(usize),
    /// 1 to this many bytes at a time, joined and cut anew, with a needless `Pending` now and then.
    Random(usize),
}

/// What a pair of ends is like.
#[derive(Clone, Copy, Debug)]
pub struct PairOptions {
    /// Bytes a direction holds before its sender must wait; at least 1.
    pub capacity: usize,
    /// How bytes arrive, in both directions.
    pub split: Split,
    /// For [`Split::Random`].
    pub seed: u64,
    /// Whether received chunks claim to lie in a pool (see [`Storage::pooled`]); they are counted then.
    pub pooled: bool,
}

impl Default for PairOptions {
    fn default() -> Self {
        Self { capacity: 64 << 10, split: Split::AsSent, seed: 0, pooled: true }
    }
}

/// One end. Dropping it closes it in order.
pub struct MemoryIo {
    out: Rc<Pipe>,
    inn: Rc<Pipe>,
    /// Put back by the owner.
    unread: ChunkQueue,
    shut: bool,
    failed: Option<io::ErrorKind>,
    marked: Cell<u64>,
}

/// One direction.
struct Pipe {
    options: PairOptions,
    state: RefCell<PipeState>,
    pooled: Rc<Cell<usize>>,
}

struct PipeState {
    queue: VecDeque<Chunk>,
    bytes: usize,
    peak: usize,
    rng: Rng,
    /// The sender will send no more.
    ended: bool,
    /// The receiver is gone.
    deaf: bool,
    reset: bool,
    stalled: bool,
    recv_error: Option<io::ErrorKind>,
    send_error: Option<io::ErrorKind>,
    sent: u64,
    acked: u64,
    received: u64,
    sends: u64,
    recvs: u64,
    reader: Option<Waker>,
    writer: Option<Waker>,
}

struct Pooled {
    bytes: Vec<u8>,
    live: Rc<Cell<usize>>,
}

/// Two connected ends.
pub fn pair(options: PairOptions) -> (MemoryIo, MemoryIo) {
    let (a, b) = (Pipe::new(options, 0), Pipe::new(options, 1));
    (MemoryIo::new(Rc::clone(&a), Rc::clone(&b)), MemoryIo::new(b, a))
}

// === impl MemoryIo ===

impl MemoryIo {
    fn new(out: Rc<Pipe>, inn: Rc<Pipe>) -> Self {
        Self { out, inn, unread: ChunkQueue::new(), shut: false, failed: None, marked: Cell::new(0) }
    }

    /// A handle to look at this end and to meddle with it.
    pub fn control(&self) -> Control {
        Control { out: Rc::clone(&self.out), inn: Rc::clone(&self.inn) }
    }

    /// Sends all of `bytes` as one chunk.
    ///
    /// # Errors
    /// As [`Io::poll_send`].
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        let mut queue = ChunkQueue::new();
        queue.push(Chunk::copy_from(bytes.as_ref()));
        poll_fn(|cx| self.poll_send(cx, &mut queue)).await
    }

    /// Ends the sending side.
    ///
    /// # Errors
    /// As [`Io::poll_shutdown`].
    pub async fn finish(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_shutdown(cx)).await
    }

    /// The next bytes, or `None` at the end.
    ///
    /// # Errors
    /// As [`Io::poll_recv`].
    pub async fn recv(&mut self) -> io::Result<Option<Chunk>> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// Everything up to the end or an error, which is returned beside it.
    pub async fn recv_to_end(&mut self) -> (Vec<u8>, Option<io::Error>) {
        let mut all = Vec::new();
        loop {
            match self.recv().await {
                Ok(Some(chunk)) => all.extend_from_slice(&chunk),
                Ok(None) => return (all, None),
                Err(error) => return (all, Some(error)),
            }
        }
    }

    /// Reads until what has been read ends with `end`; returns less when the stream ends first.
    pub async fn recv_until(&mut self, end: &[u8]) -> Vec<u8> {
        let mut all = Vec::new();
        while !all.ends_with(end) {
            match self.recv().await {
                Ok(Some(chunk)) => all.extend_from_slice(&chunk),
                _ => break,
            }
        }
        all
    }

    /// What has arrived by now, without waiting.
    pub fn recv_now(&mut self) -> Vec<u8> {
        let mut all = Vec::new();
        let mut cx = Context::from_waker(Waker::noop());
        // A needless `Pending` is not the end of what is there; so many in a row are.
        let mut waited = 0;
        while waited < 16 {
            match self.poll_recv(&mut cx) {
                Poll::Ready(Ok(Some(chunk))) => {
                    all.extend_from_slice(&chunk);
                    waited = 0;
                }
                _ => waited += 1,
            }
        }
        all
    }

    fn fail(&mut self, kind: io::ErrorKind) -> Poll<io::Result<()>> {
        self.failed = Some(kind);
        Poll::Ready(Err(kind.into()))
    }
}

impl Io for MemoryIo {
    fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Chunk>>> {
        if let Some(kind) = self.failed {
            return Poll::Ready(Err(kind.into()));
        }
        if let Some(chunk) = self.unread.pop() {
            return Poll::Ready(Ok(Some(chunk)));
        }
        let polled = self.inn.recv(cx);
        if let Poll::Ready(Err(error)) = &polled {
            self.failed = Some(error.kind());
        }
        polled
    }

    fn unread(&mut self, chunk: Chunk) {
        self.unread.push_front(chunk);
    }

    fn poll_send(&mut self, cx: &mut Context<'_>, out: &mut ChunkQueue) -> Poll<io::Result<()>> {
        if let Some(kind) = self.failed {
            return Poll::Ready(Err(kind.into()));
        }
        if self.shut {
            return self.fail(io::ErrorKind::BrokenPipe);
        }
        let mut state = self.out.state.borrow_mut();
        if let Some(kind) = state.send_error {
            drop(state);
            return self.fail(kind);
        }
        let mut moved = false;
        while let Some(chunk) = out.pop() {
            let room = self.out.options.capacity.saturating_sub(state.bytes);
            if room == 0 {
                out.push_front(chunk);
                break;
            }
            let mut chunk = chunk;
            let part = chunk.split_to(room);
            out.push_front(chunk);
            state.accept(part);
            moved = true;
        }
        if moved {
            state.sends += 1;
            state.wake_reader();
        }
        if out.is_empty() && state.bytes < self.out.options.capacity {
            return Poll::Ready(Ok(()));
        }
        state.writer = Some(cx.waker().clone());
        Poll::Pending
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.failed {
            Some(kind) => Poll::Ready(Err(kind.into())),
            None => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        std::task::ready!(self.poll_flush(cx))?;
        if !std::mem::replace(&mut self.shut, true) {
            // As with a kernel, it takes a turn, and nothing can be sent from the moment it was asked for.
            self.out.end();
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(Ok(()))
    }

    fn abort(&mut self) {
        self.failed = Some(io::ErrorKind::ConnectionAborted);
        self.out.reset();
        self.inn.deafen();
    }

    fn provably_unseen(&self) -> bool {
        self.out.state.borrow().acked == self.marked.get()
    }

    fn mark_sent(&mut self) {
        self.marked.set(self.out.state.borrow().acked);
    }
}

impl Drop for MemoryIo {
    fn drop(&mut self) {
        self.out.end();
        self.inn.deafen();
    }
}

impl fmt::Debug for MemoryIo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemoryIo({} in, {} out)", self.inn.state.borrow().bytes, self.out.state.borrow().bytes)
    }
}

// === impl Pipe ===

impl Pipe {
    fn new(options: PairOptions, salt: u64) -> Rc<Self> {
        let options = PairOptions { capacity: options.capacity.max(1), ..options };
        let state = PipeState {
            queue: VecDeque::new(),
            bytes: 0,
            peak: 0,
            rng: Rng::new(options.seed ^ (salt << 63)),
            ended: false,
            deaf: false,
            reset: false,
            stalled: false,
            recv_error: None,
            send_error: None,
            sent: 0,
            acked: 0,
            received: 0,
            sends: 0,
            recvs: 0,
            reader: None,
            writer: None,
        };
        Rc::new(Self { options, state: RefCell::new(state), pooled: Rc::default() })
    }

    fn recv(&self, cx: &mut Context<'_>) -> Poll<io::Result<Option<Chunk>>> {
        let mut state = self.state.borrow_mut();
        state.recvs += 1;
        if state.reset {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if state.bytes > 0 && !state.stalled {
            if matches!(self.options.split, Split::Random(_)) && state.rng.one_in(4) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let bytes = state.take(self.options.split);
            state.wake_writer();
            drop(state);
            return Poll::Ready(Ok(Some(self.chunk(bytes))));
        }
        if let Some(kind) = state.recv_error {
            return Poll::Ready(Err(kind.into()));
        }
        if state.ended && state.bytes == 0 {
            return Poll::Ready(Ok(None));
        }
        state.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    fn chunk(&self, bytes: Vec<u8>) -> Chunk {
        if !self.options.pooled {
            return Chunk::from(bytes);
        }
        self.pooled.set(self.pooled.get() + 1);
        let len = bytes.len();
        Chunk::shared(Rc::new(Pooled { bytes, live: Rc::clone(&self.pooled) }), 0, len)
    }

    fn end(&self) {
        let mut state = self.state.borrow_mut();
        state.ended = true;
        state.wake_reader();
    }

    fn reset(&self) {
        let mut state = self.state.borrow_mut();
        (state.ended, state.reset) = (true, true);
        state.queue.clear();
        state.bytes = 0;
        state.wake_reader();
    }

    fn deafen(&self) {
        let mut state = self.state.borrow_mut();
        state.deaf = true;
        state.queue.clear();
        state.bytes = 0;
        state.wake_writer();
    }
}

impl PipeState {
    fn accept(&mut self, chunk: Chunk) {
        self.sent += chunk.len() as u64;
        if self.deaf {
            // The kernel takes it; the peer answers with a reset that nobody reads.
            return;
        }
        if !self.stalled {
            self.acked += chunk.len() as u64;
        }
        self.bytes += chunk.len();
        self.peak = self.peak.max(self.bytes);
        self.queue.push_back(chunk);
    }

    fn unacked(&self) -> u64 {
        if self.deaf { 0 } else { self.sent - self.acked }
    }

    fn take(&mut self, split: Split) -> Vec<u8> {
        let first = self.queue.front().map_or(0, Chunk::len);
        let want = match split {
            Split::AsSent => first,
            Split::Joined(most) | Split::Fixed(most) => most,
            Split::Random(most) => 1 + self.rng.below(most),
        };
        let mut bytes = Vec::new();
        while bytes.len() < want.max(1) {
            let Some(chunk) = self.queue.front_mut() else { break };
            let part = chunk.split_to(want.max(1) - bytes.len());
            bytes.extend_from_slice(&part);
            if chunk.is_empty() {
                self.queue.pop_front();
            }
        }
        self.bytes -= bytes.len();
        self.received += bytes.len() as u64;
        bytes
    }

    fn wake_reader(&mut self) {
        if let Some(waker) = self.reader.take() {
            waker.wake();
        }
    }

    fn wake_writer(&mut self) {
        if let Some(waker) = self.writer.take() {
            waker.wake();
        }
    }
}

impl Storage for Pooled {
    fn slice(&self, start: usize, len: usize) -> &[u8] {
        let end = start.saturating_add(len).min(self.bytes.len());
        self.bytes.get(start..end).unwrap_or_default()
    }

    fn pooled(&self) -> bool {
        true
    }
}

impl Drop for Pooled {
    fn drop(&mut self) {
        self.live.set(self.live.get() - 1);
    }
}

#[cfg(test)]
mod tests;
