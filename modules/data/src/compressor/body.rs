//! Content on its way through an encoder.

use std::io;
use std::task::{Context, Poll};

use ringway_api::{Blame, Body, BodyError, BodyStream, Chunk, Frame, Headers};

use super::encoder::Encoder;
use crate::active::Place;

/// The most content that is compressed in one poll, in bytes.
const PIECE: usize = 16 * 1024;

/// A body, compressed as it is read.
pub(crate) struct Compressed<F> {
    inner: Body,
    /// Received and not yet compressed.
    waiting: Chunk,
    /// `None` once the content has ended.
    encoder: Option<Encoder>,
    /// The encoder holds content back.
    unflushed: bool,
    trailers: Option<Headers>,
    /// Told how much went in and came out.
    count: F,
    /// Given back with the encoder.
    place: Option<Place>,
}

impl<F: Fn(usize, usize)> Compressed<F> {
    pub(crate) fn new(inner: Body, encoder: Encoder, place: Place, count: F) -> Self {
        let (encoder, place) = (Some(encoder), Some(place));
        Self { inner, waiting: Chunk::EMPTY, encoder, unflushed: false, trailers: None, count, place }
    }

    /// Compresses a piece of what waits; how long it was, and what came out.
    fn advance(&mut self) -> io::Result<(usize, Vec<u8>)> {
        let piece = self.waiting.split_to(PIECE);
        let Some(encoder) = &mut self.encoder else { return Ok((0, Vec::new())) };
        encoder.write(&piece)?;
        self.unflushed = true;
        let out = encoder.take();
        (self.count)(piece.len(), out.len());
        Ok((piece.len(), out))
    }

    fn flush(&mut self) -> io::Result<Vec<u8>> {
        let Some(encoder) = self.encoder.as_mut().filter(|_| self.unflushed) else { return Ok(Vec::new()) };
        self.unflushed = false;
        encoder.flush()?;
        let out = encoder.take();
        (self.count)(0, out.len());
        Ok(out)
    }

    fn finish(&mut self) -> io::Result<Vec<u8>> {
        self.place = None;
        let out = self.encoder.take().map_or_else(|| Ok(Vec::new()), Encoder::finish)?;
        (self.count)(0, out.len());
        Ok(out)
    }

    /// Ends without more, for want of memory, say.
    fn fail(&mut self) -> Poll<Option<Result<Frame, BodyError>>> {
        self.encoder = None;
        Poll::Ready(Some(Err(BodyError::new(Blame::Local, "compressor_failed"))))
    }
}

impl<F: Fn(usize, usize)> BodyStream for Compressed<F> {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        let data = |out: Vec<u8>| Poll::Ready(Some(Ok(Frame::Data(Chunk::from(out)))));
        let mut spent = 0;
        while self.encoder.is_some() {
            if !self.waiting.is_empty() {
                if spent >= PIECE {
                    // Enough for once: others have their turn first.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                match self.advance() {
                    Ok((_, out)) if !out.is_empty() => return data(out),
                    Ok((read, _)) => spent += read,
                    Err(_) => return self.fail(),
                }
                continue;
            }
            let outcome = match self.inner.poll_frame(cx) {
                Poll::Ready(Some(Ok(Frame::Data(chunk)))) => {
                    self.waiting = chunk;
                    continue;
                }
                Poll::Ready(Some(Err(error))) => {
                    self.encoder = None;
                    return Poll::Ready(Some(Err(error)));
                }
                Poll::Ready(Some(Ok(Frame::Trailers(trailers)))) => {
                    self.trailers = Some(trailers);
                    self.finish()
                }
                Poll::Ready(None) => self.finish(),
                Poll::Pending => self.flush(),
            };
            match outcome {
                Ok(out) if !out.is_empty() => return data(out),
                Ok(_) if self.encoder.is_some() => return Poll::Pending,
                Ok(_) => {}
                Err(_) => return self.fail(),
            }
        }
        Poll::Ready(self.trailers.take().map(|trailers| Ok(Frame::Trailers(trailers))))
    }

    fn remaining(&self) -> Option<u64> {
        None
    }
}
