//! One stream: a request to the handler, its response to the client.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};

use h2::server::SendResponse;
use h2::{Reason, RecvStream};
use http::StatusCode;
use ringway_api::{
    Blame, Body, BodyError, ConnCx, EndReason, Handler, Known, Observer, Reply, Request, Response, ResponseHead,
    StreamCx, StreamEnd, Timer, http_date,
};

use crate::adaptor::Watch;
use crate::body::RecvBody;
use crate::head;
use crate::options::Http2Options;
use crate::send::{Payload, Sender};

/// What a stream is served with.
pub(super) struct Stream<H> {
    pub(super) handler: H,
    pub(super) conn: Rc<ConnCx>,
    pub(super) options: Arc<Http2Options>,
    pub(super) watch: Rc<Watch>,
    pub(super) open: Open,
}

/// Counts an open stream.
pub(super) struct Open(Rc<Cell<usize>>);

impl Open {
    pub(super) fn enter(count: &Rc<Cell<usize>>) -> Self {
        count.set(count.get() + 1);
        Self(Rc::clone(count))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.set(self.0.get().saturating_sub(1));
    }
}

impl<H: Handler> Stream<H> {
    pub(super) async fn serve(self, request: http::Request<RecvStream>, mut respond: SendResponse<Payload>) {
        let (parts, content) = request.into_parts();
        let cx = StreamCx::new(Rc::clone(&self.conn));
        let received = Rc::new(Cell::new(0));
        let method = parts.method.clone();
        let reply = match head::request(&parts, &self.options) {
            Err(why) => self.handler.refuse(why, &cx),
            Ok(head) => {
                if head.expects_continue {
                    // The content is wanted: it is pulled as the upstream takes it.
                    inform(&mut respond, &ResponseHead::new(StatusCode::CONTINUE));
                }
                let request = request_of(head, content, &received);
                match answer(&self.handler, request, &cx, &mut respond).await {
                    Some(reply) => reply,
                    // The client has given it up; whoever handled it has been told by its future's drop.
                    None => return,
                }
            }
        };
        let Reply { response, observer, reset, .. } = reply;
        if reset {
            // RFC 9113, section 7: the server's own doing.
            respond.send_reset(Reason::INTERNAL_ERROR);
            observer.finish(&StreamEnd::of_reset(received.get()));
            return;
        }
        let head_only = method == http::Method::HEAD;
        let (reason, sent) = self.send(response, head_only, &mut respond).await;
        observer.finish(&StreamEnd { reason, body_sent: sent, body_received: received.get() });
        drop(self.open);
    }

    /// Sends a response.
    async fn send(&self, response: Response, head_only: bool, respond: &mut SendResponse<Payload>) -> (EndReason, u64) {
        let Response { mut head, body } = response;
        if let Body::Full(content) = &body
            && !head.headers.has(Known::ContentLength)
        {
            let set = head.headers.set_known(Known::ContentLength, content.len().to_string().as_bytes());
            debug_assert!(set.is_ok());
        }
        if !head.headers.has(Known::Date) {
            // RFC 9110, section 6.6.1.
            let mut date = Vec::with_capacity(29);
            http_date(self.conn.env.wall(), &mut date);
            let set = head.headers.set_known(Known::Date, &date);
            debug_assert!(set.is_ok());
        }
        let bodiless = head_only || matches!(head.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let body = if bodiless { Body::Empty } else { body };
        let end = body.is_empty();
        let stream = match respond.send_response(head::outgoing_response(&head), end) {
            Ok(stream) => stream,
            Err(_) => return (EndReason::Downstream("http2_remote_reset"), 0),
        };
        if end {
            return (EndReason::Complete, 0);
        }
        let mut sender = Sender::new(stream, body, Rc::clone(&self.watch));
        let mut timer = self.conn.env.timer();
        let limit = self.options.stream_idle_timeout.limit();
        let outcome = poll_fn(|cx| poll_send(&mut sender, &mut timer, limit, cx)).await;
        let reason = match outcome {
            Ok(()) => EndReason::Complete,
            Err(error) if error.blame == Blame::Downstream => EndReason::Downstream(error.details),
            Err(error) => EndReason::Body(error),
        };
        (reason, sender.sent)
    }
}

fn request_of(head: head::Received, content: RecvStream, received: &Rc<Cell<u64>>) -> Request {
    let body = if content.is_end_stream() && head.head.tunnel.is_none() {
        Body::Empty
    } else {
        Body::Stream(Box::new(RecvBody::new(content, Blame::Downstream, head.content_length, Rc::clone(received))))
    };
    Request { head: head.head, body }
}

/// The handler's reply, or nothing when the client has reset the stream.
async fn answer<H: Handler>(
    handler: &H,
    request: Request,
    cx: &StreamCx,
    respond: &mut SendResponse<Payload>,
) -> Option<Reply<H::Observer>> {
    // In an option, so that it can be dropped here, where it is known why.
    let mut handling = pin!(Some(handler.handle(request, cx)));
    poll_fn(|task| {
        let Some(future) = handling.as_mut().as_pin_mut() else { return Poll::Ready(None) };
        let polled = future.poll(task);
        if cx.has_interim() {
            cx.take_interim().iter().for_each(|head| inform(respond, head));
        }
        match polled {
            Poll::Ready(reply) => Poll::Ready(Some(reply)),
            Poll::Pending => respond.poll_reset(task).map(|_| {
                cx.conn.reset(|| handling.set(None));
                None
            }),
        }
    })
    .await
}

/// Sends an interim response; one that cannot be sent any more is of no use.
fn inform(respond: &mut SendResponse<Payload>, head: &ResponseHead) {
    drop(respond.send_informational(head::outgoing_response(head)));
}

/// Sends content; a client that does not take it is not waited for for ever.
fn poll_send(
    sender: &mut Sender,
    timer: &mut Timer,
    limit: Option<std::time::Duration>,
    cx: &mut Context<'_>,
) -> Poll<Result<(), BodyError>> {
    let before = sender.progress();
    let polled = sender.poll(Blame::Downstream, cx);
    if polled.is_ready() || !sender.is_blocked() {
        timer.clear();
        return polled;
    }
    if sender.progress() != before || timer.deadline().is_none() {
        timer.set_limit(limit);
    }
    timer.poll_expired(cx).map(|()| {
        sender.reset(Reason::CANCEL);
        Err(BodyError::new(Blame::Downstream, "stream_idle_timeout"))
    })
}
