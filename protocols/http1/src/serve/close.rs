//! The end of a request's content that nobody read, and of the connection.

use std::future::poll_fn;
use std::task::{Context, Poll};
use std::time::Duration;

use ringway_api::{Chunk, ConnError, Frame, Io};

use super::Server;
use super::respond::DRAIN_LIMIT;
use super::wire::Input;

/// How long the rest of a request's content may take to arrive, to keep the connection.
const DRAIN_TIME: Duration = Duration::from_secs(1);

/// A connection that is closed while its client may still send is read from for so long, and for so many bytes, or
/// a reset would take the response away from the client.
const LINGER_TIME: Duration = Duration::from_secs(2);
const LINGER_LIMIT: usize = 1 << 20;

impl<I: Io> Server<I> {
    /// Drops what is left of the current request's content; true when the next request can be read. Then the wait
    /// for that begins.
    pub(super) async fn drain(&mut self) -> bool {
        let complete = self.wire.borrow_mut().end();
        if !complete {
            if !Box::pin(self.drain_content()).await {
                return false;
            }
            self.wire.borrow_mut().end();
        }
        self.timer.set_limit(self.options.idle_timeout.limit());
        true
    }

    async fn drain_content(&mut self) -> bool {
        self.timer.set_after(DRAIN_TIME);
        let most = self.wire.borrow().received.saturating_add(DRAIN_LIMIT);
        poll_fn(|cx| {
            let mut wire = self.wire.borrow_mut();
            loop {
                match wire.poll_frame(cx) {
                    Poll::Ready(None | Some(Ok(Frame::Trailers(_)))) => return Poll::Ready(true),
                    Poll::Ready(Some(Err(_))) => return Poll::Ready(false),
                    Poll::Ready(Some(Ok(Frame::Data(_)))) if wire.received > most => return Poll::Ready(false),
                    Poll::Ready(Some(Ok(Frame::Data(_)))) => {}
                    Poll::Pending => return self.timer.poll_expired(cx).map(|()| false),
                }
            }
        })
        .await
    }

    /// Ends the connection so that the client sees the last response.
    pub(super) async fn close(&mut self) -> Result<(), ConnError> {
        // Taking the rest of the response is the client's share of a stream, and has its time.
        self.timer.set_limit(self.options.stream_idle_timeout.limit());
        let ended = poll_fn(|cx| self.poll_end(cx)).await;
        if ended {
            self.timer.set_after(LINGER_TIME);
            let mut left = LINGER_LIMIT;
            poll_fn(|cx| self.poll_linger(cx, &mut left)).await;
        }
        Ok(())
    }

    /// Ends our side; false when that came to nothing.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        match self.wire.borrow_mut().io.poll_shutdown(cx) {
            Poll::Ready(ended) => Poll::Ready(ended.is_ok()),
            Poll::Pending => self.timer.poll_expired(cx).map(|()| false),
        }
    }

    /// Drops what the client still sends.
    fn poll_linger(&mut self, cx: &mut Context<'_>, left: &mut usize) -> Poll<()> {
        if self.timer.poll_expired(cx).is_ready() {
            return Poll::Ready(());
        }
        let mut wire = self.wire.borrow_mut();
        while wire.input == Input::Open && *left > 0 {
            *left = left.saturating_sub(wire.inbox.len());
            wire.inbox = Chunk::EMPTY;
            if wire.poll_fill(cx).is_pending() {
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }
}
