//! A body that passes no faster than a bucket allows.

use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use ringway_api::{Body, BodyError, BodyStream, Chunk, Env, FilterStats, Frame, Timer};

use crate::token_bucket::TokenBucket;

/// Content behind a bucket of bytes. It reads nothing ahead: while a piece waits, so does whoever sends it.
pub(crate) struct Paced<K> {
    body: Body,
    bucket: Arc<TokenBucket>,
    env: Rc<dyn Env>,
    timer: Timer,
    /// The longest piece, in bytes.
    piece: usize,
    /// Paid for; may go when the timer says so.
    paid: Option<Chunk>,
    /// Behind it, from the same chunk.
    rest: Option<Chunk>,
    /// Where it is counted that a piece had to wait.
    waited: Option<(FilterStats, usize)>,
    /// Dropped with the body.
    _keep: K,
}

/// No longer piece is paid for at once: bodies that share a bucket take turns, and slow ones still move.
const LONGEST_PIECE: u64 = 16 * 1024;

/// A piece is about this part of a second's content where that is less.
const PIECES_PER_SECOND: u64 = 16;

/// The burst that a rate of bytes per second has by default: what passes while a timer ticks and tasks take turns.
pub(crate) fn default_burst(per_second: u64) -> u64 {
    (per_second / PIECES_PER_SECOND).max(1)
}

impl<K: 'static> Paced<K> {
    /// Puts `body` behind `bucket`.
    pub(crate) fn wrap(
        body: Body,
        bucket: Arc<TokenBucket>,
        env: &Rc<dyn Env>,
        waited: Option<(FilterStats, usize)>,
        keep: K,
    ) -> Body {
        if body.is_empty() {
            return body;
        }
        let rate = bucket.rate();
        let piece = default_burst(rate.fill).min(LONGEST_PIECE) as usize;
        let (env, timer) = (Rc::clone(env), env.timer());
        Body::Stream(Box::new(Self { body, bucket, env, timer, piece, paid: None, rest: None, waited, _keep: keep }))
    }
}

impl<K> BodyStream for Paced<K> {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        if self.paid.is_none() {
            let mut chunk = match self.rest.take() {
                Some(rest) => rest,
                None => match ready!(self.body.poll_frame(cx)) {
                    Some(Ok(Frame::Data(chunk))) => chunk,
                    other => return Poll::Ready(other),
                },
            };
            let piece = if chunk.len() > self.piece {
                let piece = chunk.split_to(self.piece);
                self.rest = Some(chunk);
                piece
            } else {
                chunk
            };
            let now = self.env.now();
            let wait = self.bucket.reserve(piece.len() as u64, now);
            if wait.is_zero() {
                return Poll::Ready(Some(Ok(Frame::Data(piece))));
            }
            if let Some((stats, row)) = &self.waited {
                stats.inc(*row);
            }
            self.timer.set(now + wait);
            // It waits for longer than a turn: small pieces shall not hold large buffers.
            (self.paid, self.rest) = (Some(piece.detach()), self.rest.take().map(Chunk::detach));
        }
        ready!(self.timer.poll_expired(cx));
        Poll::Ready(self.paid.take().map(|piece| Ok(Frame::Data(piece))))
    }

    fn remaining(&self) -> Option<u64> {
        let held = [&self.paid, &self.rest].into_iter().flatten().map(|chunk| chunk.len() as u64).sum::<u64>();
        self.body.remaining().map(|more| more.saturating_add(held))
    }
}
