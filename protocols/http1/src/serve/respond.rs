//! Responses on their way out.

use std::future::poll_fn;
use std::task::{Context, Poll};

use http::StatusCode;
use ringway_api::{
    Blame, Body, BodyError, Chunk, ConnError, EndReason, Io, Observer, Reply, Response, StreamCx, StreamEnd, Tunnel,
};

use super::Server;
use super::wire::Input;
use crate::encode::{self, ContentEnd, ContentWriter, Delimit, poll_content};

/// A request's unread content up to this size is read and dropped after its response, to keep the connection.
pub(super) const DRAIN_LIMIT: u64 = 64 << 10;

impl<I: Io> Server<I> {
    /// Sends a response; true when the connection goes on.
    pub(super) async fn respond<O: Observer>(&mut self, reply: Reply<O>, cx: &StreamCx) -> Result<bool, ConnError> {
        let Reply { response, observer, close, reset } = reply;
        if reset {
            let end = StreamEnd::of_reset(self.wire.borrow().received);
            self.wire.borrow_mut().io.abort();
            observer.finish(&end);
            return Err(conn_error(&end.reason));
        }
        if cx.has_interim() {
            self.interim(cx);
        }
        let asked = self.wire.borrow_mut().take_asked();
        if let Some((tunnel, protocol)) = asked {
            if tunnel.accepts(response.head.status) {
                return Box::pin(self.tunnel(response, protocol, observer)).await;
            }
            self.wire.borrow_mut().refuse_tunnel();
            // What follows may have been meant for the other end: nobody can tell. After an upgrade's refusal clients
            // go on as usual if they waited for it; those of `CONNECT` may have sent more than has arrived.
            self.current.keep_alive &= tunnel != Tunnel::Connect && self.wire.borrow().inbox.is_empty();
        }
        let keep_alive = self.current.keep_alive && !close && !cx.conn.is_draining() && self.can_go_on();
        let (mut writer, mut body) = self.write_head(response, !keep_alive, cx);
        self.timer.clear();
        let sent = poll_fn(|task| self.poll_response(task, &mut writer, &mut body)).await;
        let mut end = StreamEnd {
            reason: EndReason::Complete,
            body_sent: writer.written,
            body_received: self.wire.borrow().received,
        };
        let Err(reason) = sent else {
            observer.finish(&end);
            drop(body);
            return Ok(keep_alive && self.drain().await);
        };
        self.wire.borrow_mut().io.abort();
        end.reason = reason;
        observer.finish(&end);
        Err(conn_error(&end.reason))
    }

    /// Queues the interim responses that wait (RFC 9110, section 15.2).
    #[cold]
    pub(super) fn interim(&mut self, cx: &StreamCx) {
        let mut wire = self.wire.borrow_mut();
        for head in cx.take_interim() {
            // 100 is ours to send, 101 nobody's yet; clients of HTTP/1.0 know none of them.
            let passes = head.status.is_informational()
                && head.status != StatusCode::CONTINUE
                && head.status != StatusCode::SWITCHING_PROTOCOLS;
            if passes && self.current.http_1_1 {
                let mut bytes = Vec::with_capacity(encode::response_room(&head));
                let wall = || cx.conn.env.wall();
                encode::response_head(&head, Delimit::Nothing, false, wall, self.options.header_case, &mut bytes);
                wire.push_interim(Chunk::from(bytes));
            }
        }
    }

    /// Whether another request can follow this one's response, as far as the client's bytes tell.
    fn can_go_on(&self) -> bool {
        let mut wire = self.wire.borrow_mut();
        // A client that waits for 100 and is answered otherwise may send its content or not: nobody can tell which.
        let ambiguous = wire.take_owed_continue();
        let too_much = wire.remaining().is_some_and(|left| left > DRAIN_LIMIT);
        let ended = wire.input != Input::Open && wire.inbox.is_empty();
        !ambiguous && !too_much && !ended
    }

    fn write_head(&mut self, response: Response, close: bool, cx: &StreamCx) -> (ContentWriter, Body) {
        let Response { head, mut body } = response;
        let delimit = encode::response_delimit(&head, &body, self.current.is_head, self.current.http_1_1);
        if self.current.is_head {
            body = Body::Empty;
        }
        let case = self.options.header_case;
        let mut bytes = Vec::with_capacity(ContentWriter::room(encode::response_room(&head), &body));
        encode::response_head(&head, delimit, close, || cx.conn.env.wall(), case, &mut bytes);
        // Interim responses that the transport has not taken yet go first.
        let out = self.wire.borrow_mut().take_interim();
        let writer = ContentWriter::new(bytes, delimit, case, &mut body, out);
        (writer, body)
    }

    fn poll_response(
        &mut self,
        task: &mut Context<'_>,
        writer: &mut ContentWriter,
        body: &mut Body,
    ) -> Poll<Result<(), EndReason>> {
        // The wire is borrowed for each send alone: the body may be fed by the request's own, which borrows it too.
        let wire = &self.wire;
        let sent = poll_content(task, writer, body, |task, out| wire.borrow_mut().io.poll_send(task, out));
        if let Poll::Ready(sent) = sent {
            return Poll::Ready(sent.map_err(|end| match end {
                ContentEnd::Transport => EndReason::Downstream("reset"),
                ContentEnd::Source(error) => EndReason::Body(error),
            }));
        }
        self.burst = 0;
        let mut wire = wire.borrow_mut();
        wire.watch(task);
        if let Input::Failed(_) = wire.input {
            return Poll::Ready(Err(EndReason::Downstream("reset")));
        }
        let waits = writer.blocked || wire.is_wanted();
        let moved = wire.take_moved() | std::mem::take(&mut writer.moved);
        let Some(idle) = self.options.stream_idle_timeout.limit().filter(|_| waits) else {
            self.timer.clear();
            return Poll::Pending;
        };
        if moved || self.timer.deadline().is_none() {
            self.timer.set_after(idle);
        }
        self.timer.poll_expired(task).map(|()| Err(EndReason::Downstream("stream_idle_timeout")))
    }
}

/// The end of a connection that a stream has ended.
pub(super) fn conn_error(reason: &EndReason) -> ConnError {
    match reason {
        EndReason::Body(BodyError { blame, details, .. }) => ConnError::new(*blame, details),
        EndReason::Downstream(details) => ConnError::new(Blame::Downstream, details),
        EndReason::Complete => ConnError::new(Blame::Local, "complete"),
    }
}
