//! A connection that has become a tunnel (RFC 9110, sections 7.8 and 9.3.6).

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

use ringway_api::{Chunk, ConnError, EndReason, Io, Observer, Response, StreamEnd};

use super::Server;
use super::respond::conn_error;
use super::wire::{Input, Wire};
use crate::encode::{self, ContentEnd, ContentWriter, poll_content};

/// Ends the way up with the connection's own part in the tunnel, however that ends. The request's body may be in the
/// hands of another task, which would wait on, and hold the client's connection, for bytes that nobody brings.
struct Cut<I: Io>(Rc<RefCell<Wire<I>>>);

impl<I: Io> Server<I> {
    /// Says yes and moves bytes until both sides have ended theirs. The way up is taken by whoever holds the request's
    /// body; how long a tunnel may be idle is the handler's affair. False: the connection does not go on.
    pub(super) async fn tunnel<O: Observer>(
        &mut self,
        response: Response,
        protocol: Option<Chunk>,
        observer: O,
    ) -> Result<bool, ConnError> {
        let _cut = Cut(Rc::clone(&self.wire));
        let Response { head, mut body } = response;
        let case = self.options.header_case;
        let mut bytes = Vec::with_capacity(encode::response_room(&head));
        encode::tunnel_head(&head, protocol.as_deref(), case, &mut bytes);
        let out = self.wire.borrow_mut().take_interim();
        let mut writer = ContentWriter::tunnel(bytes, case, out);
        self.timer.clear();
        self.wire.borrow_mut().open_tunnel();
        let reason = poll_fn(|cx| {
            let wire = &self.wire;
            let sent = poll_content(cx, &mut writer, &mut body, |cx, out| wire.borrow_mut().io.poll_send(cx, out));
            match sent {
                Poll::Ready(Ok(())) => Poll::Ready(EndReason::Complete),
                Poll::Ready(Err(ContentEnd::Transport)) => Poll::Ready(EndReason::Downstream("reset")),
                Poll::Ready(Err(ContentEnd::Source(error))) => Poll::Ready(EndReason::Body(error)),
                Poll::Pending => self.poll_lost(cx),
            }
        });
        let mut reason = reason.await;
        drop(body);
        if reason == EndReason::Complete {
            // The end of the way down is passed on; the way up goes on without it.
            self.timer.set_limit(self.options.stream_idle_timeout.limit());
            reason = poll_fn(|cx| self.poll_way_up(cx)).await;
        }
        if reason != EndReason::Complete {
            self.wire.borrow_mut().io.abort();
        }
        let received = self.wire.borrow().received;
        observer.finish(&StreamEnd { reason: reason.clone(), body_sent: writer.written, body_received: received });
        if reason == EndReason::Complete { Ok(false) } else { Err(conn_error(&reason)) }
    }

    /// Looks out for a client that is lost while there is nothing to send.
    fn poll_lost(&mut self, cx: &mut Context<'_>) -> Poll<EndReason> {
        let mut wire = self.wire.borrow_mut();
        wire.watch(cx);
        wire.watch_tunnel(cx);
        match wire.input {
            Input::Failed(_) => Poll::Ready(EndReason::Downstream("reset")),
            Input::Open | Input::Ended => Poll::Pending,
        }
    }

    /// Ends our side, then waits for the end of the client's.
    fn poll_way_up(&mut self, cx: &mut Context<'_>) -> Poll<EndReason> {
        let mut wire = self.wire.borrow_mut();
        if let Poll::Ready(Err(_)) = wire.io.poll_shutdown(cx) {
            return Poll::Ready(EndReason::Downstream("reset"));
        }
        wire.watch(cx);
        if let Input::Failed(_) = wire.input {
            return Poll::Ready(EndReason::Downstream("reset"));
        }
        if wire.is_tunnel_over() {
            return Poll::Ready(EndReason::Complete);
        }
        wire.watch_tunnel(cx);
        if wire.take_moved() {
            self.timer.set_limit(self.options.stream_idle_timeout.limit());
        }
        self.timer.poll_expired(cx).map(|()| EndReason::Downstream("stream_idle_timeout"))
    }
}

impl<I: Io> Drop for Cut<I> {
    fn drop(&mut self) {
        self.0.borrow_mut().cut_tunnel();
    }
}
