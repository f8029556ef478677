//! Bytes both ways between two streams: the data plane of raw protocols and of tunnels.

use std::cell::Cell;
use std::io;
use std::task::{Context, Poll};
use std::time::Duration;

use ringway_api::{Blame, ChunkQueue, ConnError, Io, Timer};

/// Bytes that went each way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Relayed {
    /// From the downstream to the upstream.
    pub received: u64,
    /// From the upstream to the downstream.
    pub sent: u64,
}

/// Pumps bytes until both sides have ended theirs; the end of one side is passed on and the other goes on. Counts are
/// kept in `relayed` as they happen. Ends with an error when nothing has moved for `idle`.
///
/// # Errors
/// The failed side's error, or `idle_timeout`.
pub async fn relay<D: Io, U: Io>(
    downstream: &mut D,
    upstream: &mut U,
    idle: Option<Duration>,
    timer: &mut Timer,
    relayed: &Cell<Relayed>,
) -> Result<(), ConnError> {
    let mut up = Direction::default();
    let mut down = Direction::default();
    timer.set_limit(idle);
    std::future::poll_fn(|cx| {
        let moved = (up.moved, down.moved);
        let up_done = up.pump(downstream, upstream, cx);
        relayed.set(Relayed { received: up.moved, sent: down.moved });
        let up_done = up_done.map_err(|(end, error)| end.blame(Blame::Downstream, Blame::Upstream, error))?;
        let down_done = down.pump(upstream, downstream, cx);
        relayed.set(Relayed { received: up.moved, sent: down.moved });
        let down_done = down_done.map_err(|(end, error)| end.blame(Blame::Upstream, Blame::Downstream, error))?;
        if up_done && down_done {
            return Poll::Ready(Ok(()));
        }
        if moved != (up.moved, down.moved) {
            timer.set_limit(idle);
        }
        match timer.poll_expired(cx) {
            Poll::Ready(()) => Poll::Ready(Err(ConnError::new(Blame::Local, "idle_timeout"))),
            Poll::Pending => Poll::Pending,
        }
    })
    .await
}

/// One way.
#[derive(Default)]
struct Direction {
    queue: ChunkQueue,
    moved: u64,
    /// `to` took no more the last time.
    full: bool,
    ended: bool,
    done: bool,
}

/// Which end of a direction failed.
enum End {
    Source,
    Sink,
}

impl End {
    fn blame(self, source: Blame, sink: Blame, error: io::Error) -> ConnError {
        match self {
            Self::Source => ConnError::io(source, error),
            Self::Sink => ConnError::io(sink, error),
        }
    }
}

impl Direction {
    /// Moves what can be moved; true once the end of stream has been passed on.
    fn pump<S: Io, T: Io>(&mut self, from: &mut S, to: &mut T, cx: &mut Context<'_>) -> Result<bool, (End, io::Error)> {
        while !self.done {
            if self.full || !self.queue.is_empty() {
                match to.poll_send(cx, &mut self.queue) {
                    Poll::Ready(Ok(())) => self.full = false,
                    Poll::Ready(Err(error)) => return Err((End::Sink, error)),
                    Poll::Pending => {
                        // `from` is not asked for more until there is room.
                        self.full = true;
                        return Ok(false);
                    }
                }
            }
            if self.ended {
                match to.poll_shutdown(cx) {
                    Poll::Ready(Ok(())) => self.done = true,
                    Poll::Ready(Err(error)) => return Err((End::Sink, error)),
                    Poll::Pending => return Ok(false),
                }
                continue;
            }
            match from.poll_recv(cx) {
                Poll::Ready(Ok(Some(chunk))) => {
                    self.moved += chunk.len() as u64;
                    self.queue.push(chunk);
                }
                Poll::Ready(Ok(None)) => self.ended = true,
                Poll::Ready(Err(error)) => return Err((End::Source, error)),
                Poll::Pending => return Ok(false),
            }
        }
        Ok(true)
    }
}
