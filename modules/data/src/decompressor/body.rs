//! Content on its way through a decoder.

use std::task::{Context, Poll};

use http::StatusCode;
use ringway_api::{Blame, Body, BodyError, BodyStream, Chunk, Frame};

use super::decoder::{Decoder, Malformed};
use crate::active::Place;

/// The most content that is decoded in one poll, and the largest piece of it, in bytes.
const PIECE: usize = 16 * 1024;

/// What content may grow to before its ratio is looked at, in bytes.
const UNMEASURED: u64 = 64 * 1024;

/// What content may grow to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// As a multiple of what came.
    pub(crate) ratio: u64,
    pub(crate) bytes: u64,
    /// What is beyond them is counted, and goes on.
    pub(crate) shadow: bool,
}

/// What is counted.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Event {
    Step { read: usize, written: usize },
    TooLarge,
    Malformed,
}

/// A body, decoded as it is read.
pub(crate) struct Decompressed<F> {
    inner: Body,
    sender: Blame,
    limits: Limits,
    told: F,
    /// Received and not yet decoded.
    waiting: Chunk,
    /// The decoder may have more output for the input it has had.
    more: bool,
    /// `None` once the content has ended.
    work: Option<Work>,
    read: u64,
    written: u64,
    /// It has been counted as too large.
    beyond: bool,
}

/// What decoding takes, given back at its end.
struct Work {
    decoder: Decoder,
    output: Box<[u8]>,
    _place: Place,
}

impl<F: Fn(Event)> Decompressed<F> {
    pub(crate) fn new(inner: Body, decoder: Decoder, sender: Blame, limits: Limits, place: Place, told: F) -> Self {
        let work = Some(Work { decoder, output: vec![0; PIECE].into(), _place: place });
        Self {
            inner,
            sender,
            limits,
            told,
            waiting: Chunk::EMPTY,
            more: false,
            work,
            read: 0,
            written: 0,
            beyond: false,
        }
    }

    /// Decodes some of what waits; what came out may be empty.
    fn advance(&mut self) -> Result<Chunk, BodyError> {
        let Some(work) = &mut self.work else { return Ok(Chunk::EMPTY) };
        let input = self.waiting.get(..self.waiting.len().min(PIECE)).unwrap_or_default();
        let step = work.decoder.step(input, &mut work.output);
        let stuck = !input.is_empty() && step.is_ok_and(|step| step.read == 0 && step.written == 0);
        let step = match step {
            Ok(step) if !stuck => step,
            Ok(_) | Err(Malformed) => return Err(self.fail(Event::Malformed)),
        };
        let out = Chunk::copy_from(work.output.get(..step.written).unwrap_or_default());
        self.more = step.written == work.output.len();
        self.waiting.advance(step.read);
        self.read += step.read as u64;
        self.written += step.written as u64;
        (self.told)(Event::Step { read: step.read, written: step.written });
        let most = self.read.saturating_mul(self.limits.ratio).saturating_add(UNMEASURED);
        if self.written > most.min(self.limits.bytes) && !self.beyond {
            if !self.limits.shadow {
                return Err(self.fail(Event::TooLarge));
            }
            (self.told)(Event::TooLarge);
            self.beyond = true;
        }
        Ok(out)
    }

    fn fail(&mut self, event: Event) -> BodyError {
        (self.told)(event);
        self.work = None;
        let (details, status) = match event {
            Event::TooLarge => ("decompressor_too_large", StatusCode::PAYLOAD_TOO_LARGE),
            _ => ("decompressor_malformed", StatusCode::BAD_REQUEST),
        };
        let status = if self.sender == Blame::Downstream { status } else { StatusCode::BAD_GATEWAY };
        BodyError::new(self.sender, details).with_status(status)
    }
}

impl<F: Fn(Event)> BodyStream for Decompressed<F> {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        let mut spent = 0;
        loop {
            let Some(work) = &self.work else { return Poll::Ready(None) };
            if !self.waiting.is_empty() || self.more {
                if spent >= PIECE {
                    // Enough for once: others have their turn first.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                let before = self.waiting.len();
                let out = match self.advance() {
                    Ok(out) => out,
                    Err(error) => return Poll::Ready(Some(Err(error))),
                };
                spent += before - self.waiting.len();
                if !out.is_empty() {
                    return Poll::Ready(Some(Ok(Frame::Data(out))));
                }
                continue;
            }
            let end = match self.inner.poll_frame(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(Ok(Frame::Data(chunk)))) => {
                    self.waiting = chunk;
                    continue;
                }
                Poll::Ready(Some(Err(error))) => {
                    self.work = None;
                    return Poll::Ready(Some(Err(error)));
                }
                Poll::Ready(end) => end,
            };
            if !work.decoder.is_complete() {
                return Poll::Ready(Some(Err(self.fail(Event::Malformed))));
            }
            self.work = None;
            return Poll::Ready(end);
        }
    }

    fn remaining(&self) -> Option<u64> {
        None
    }
}
