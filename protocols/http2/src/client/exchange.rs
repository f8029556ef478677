//! One request and its response on a stream.

use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use h2::Reason;
use h2::client::ResponseFuture;
use http::StatusCode;
use ringway_api::{
    Blame, Body, BodyError, BodyStart, BodyStream, Exchange, ExchangeError, ExchangeErrorKind, ExchangeEvent, Frame,
    Request, RequestHead, ResponseHead, Tunnel,
};

use super::Link;
use crate::body::RecvBody;
use crate::send::Sender;
use crate::{fault, head};

/// An exchange. Its request's content is sent while the response is pulled.
pub(super) struct Http2Exchange {
    link: Rc<Link>,
    /// Kept until the response, so that a request that was not seen can be sent again.
    head: RequestHead,
    state: State,
    sender: Option<Sender>,
    interims: u8,
    /// The request's own content has failed.
    failed: Option<BodyError>,
}

/// Interim responses that one request may get: more is no answer.
const MAX_INTERIMS: u8 = 32;

enum State {
    Start(Body),
    Waiting(Box<ResponseFuture>),
    Content(RecvBody),
    Over,
}

impl Http2Exchange {
    pub(super) fn new(link: &Rc<Link>, request: Request) -> Self {
        link.open.set(link.open.get() + 1);
        Self {
            link: Rc::clone(link),
            head: request.head,
            state: State::Start(request.body),
            sender: None,
            interims: 0,
            failed: None,
        }
    }

    /// Sends the head.
    fn start(&mut self, body: Body, cx: &mut Context<'_>) -> Result<(), ExchangeError> {
        let request = head::outgoing_request(&self.head, self.link.conn.info.scheme()).map_err(|details| {
            // Nothing has been sent, and no other host could be told either.
            let status = Some(StatusCode::BAD_REQUEST);
            ExchangeError {
                kind: ExchangeErrorKind::RequestBody,
                blame: Blame::Downstream,
                details,
                unseen: false,
                status,
            }
        })?;
        let mut requests = self.link.requests.borrow_mut();
        if self.head.upgrade().is_some() && !requests.is_extended_connect_protocol_enabled() {
            // RFC 8441, section 3: only to servers that have said so.
            let details = "http2_no_extended_connect";
            return Err(ExchangeError {
                kind: ExchangeErrorKind::Protocol,
                blame: Blame::Upstream,
                details,
                unseen: false,
                status: None,
            });
        }
        let end = body.is_empty() && self.head.tunnel.is_none();
        let ready = match requests.poll_ready(cx) {
            Poll::Ready(ready) => ready,
            // A stream of ours waits for the peer's limit; the pool counts, so it is a limit that has just changed.
            Poll::Pending => Ok(()),
        };
        let sent = ready.and_then(|()| requests.send_request(request, end));
        drop(requests);
        match sent {
            Ok((response, stream)) => {
                let watch = Rc::clone(&self.link.watch);
                watch.asked.set(watch.asked.get().saturating_add(1));
                self.sender = Some(if end { Sender::ended(stream, watch) } else { Sender::new(stream, body, watch) });
                self.state = State::Waiting(Box::new(response));
                Ok(())
            }
            Err(error) => {
                // The connection ends: nothing of the request has gone out.
                self.link.close();
                self.state = State::Start(body);
                Err(ExchangeError { unseen: true, kind: ExchangeErrorKind::Closed, ..fault::exchange(&error) })
            }
        }
    }

    /// Sends content; its failure is kept for whoever looks at the response.
    fn pump(&mut self, cx: &mut Context<'_>) {
        let Some(sender) = self.sender.as_mut().filter(|sender| !sender.is_done()) else { return };
        if let Poll::Ready(Err(error)) = sender.poll(Blame::Upstream, cx) {
            // What the upstream does to the stream shows in its response as well.
            if error.blame != Blame::Upstream {
                self.failed = Some(error);
            }
        }
    }

    fn final_head(&mut self, response: http::Response<h2::RecvStream>) -> Result<ExchangeEvent, ExchangeError> {
        let (parts, content) = response.into_parts();
        let read = head::response(&parts, &self.link.options);
        let (mut head, length) = read.map_err(|details| self.refuse(details))?;
        let tunnel = self.head.tunnel.filter(|_| head.status.is_success());
        if let Some(Tunnel::Upgrade(_)) = tunnel {
            head.status = StatusCode::SWITCHING_PROTOCOLS;
        }
        let content = RecvBody::new(content, Blame::Upstream, length, Rc::new(Cell::new(0)));
        if tunnel.is_none() && content.is_over() {
            self.state = State::Over;
            return Ok(ExchangeEvent::Final(head, BodyStart::Complete(Body::Empty)));
        }
        self.state = State::Content(content);
        Ok(ExchangeEvent::Final(head, BodyStart::Streaming))
    }

    fn interim(&mut self, response: http::Response<()>) -> Result<ResponseHead, ExchangeError> {
        let (parts, ()) = response.into_parts();
        if parts.status == StatusCode::SWITCHING_PROTOCOLS {
            // RFC 9113, section 8.6: there is none in HTTP/2.
            return Err(self.refuse("http2_101"));
        }
        self.interims += 1;
        if self.interims > MAX_INTERIMS {
            return Err(self.refuse("too_many_interim_responses"));
        }
        let (head, _) = head::response(&parts, &self.link.options).map_err(|details| self.refuse(details))?;
        Ok(head)
    }

    /// Ends the stream for a head that cannot be taken (RFC 9113, section 8.1.1).
    fn refuse(&mut self, details: &'static str) -> ExchangeError {
        if let Some(sender) = &mut self.sender {
            sender.reset(Reason::PROTOCOL_ERROR);
        }
        self.state = State::Over;
        let large = details == head::TOO_MANY;
        let kind = if large { ExchangeErrorKind::TooLarge } else { ExchangeErrorKind::Protocol };
        ExchangeError { kind, ..protocol_error(details) }
    }
}

impl Link {
    /// The end of an exchange before its response.
    fn failed(&self, error: &h2::Error) -> ExchangeError {
        match self.watch.breach.get() {
            Some(breach) if !error.is_remote() => protocol_error(breach.details),
            _ => fault::exchange(error),
        }
    }
}

fn protocol_error(details: &'static str) -> ExchangeError {
    ExchangeError { kind: ExchangeErrorKind::Protocol, blame: Blame::Upstream, details, unseen: false, status: None }
}

impl Exchange for Http2Exchange {
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<ExchangeEvent, ExchangeError>> {
        if let State::Start(body) = &mut self.state {
            let body = std::mem::take(body);
            if let Err(error) = self.start(body, cx) {
                return Poll::Ready(Err(error));
            }
        }
        self.pump(cx);
        let State::Waiting(response) = &mut self.state else {
            return Poll::Ready(Err(protocol_error("http2_no_response")));
        };
        if let Poll::Ready(Some(interim)) = response.poll_informational(cx) {
            // A request that failed has reset the stream, which shows here first.
            let interim = interim.map_err(|error| match self.failed.take() {
                Some(failed) => request_failed(&failed),
                None => self.link.failed(&error),
            });
            let interim = interim.and_then(|response| self.interim(response));
            return Poll::Ready(interim.map(ExchangeEvent::Interim));
        }
        match Pin::new(&mut **response).poll(cx) {
            Poll::Ready(Ok(response)) => Poll::Ready(self.final_head(response)),
            Poll::Ready(Err(error)) => Poll::Ready(Err(match self.failed.take() {
                Some(failed) => request_failed(&failed),
                None => self.link.failed(&error),
            })),
            Poll::Pending => match self.failed.take() {
                Some(failed) => Poll::Ready(Err(request_failed(&failed))),
                None => Poll::Pending,
            },
        }
    }

    fn reclaim(&mut self) -> Option<Request> {
        let body = match &mut self.state {
            State::Start(body) => std::mem::take(body),
            _ => self.sender.as_mut()?.reclaim()?,
        };
        Some(Request { head: std::mem::take(&mut self.head), body })
    }
}

impl BodyStream for Http2Exchange {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        self.pump(cx);
        if let Some(failed) = self.failed.take() {
            return Poll::Ready(Some(Err(failed)));
        }
        let State::Content(content) = &mut self.state else { return Poll::Ready(None) };
        let polled = content.poll_frame(cx);
        if let Poll::Ready(None) = polled {
            self.state = State::Over;
            self.finish_tunnel();
        }
        polled
    }

    fn remaining(&self) -> Option<u64> {
        match &self.state {
            State::Content(content) => content.remaining(),
            _ => None,
        }
    }
}

impl Http2Exchange {
    /// The upstream has ended its side of a tunnel; what the downstream still sends goes on without the response.
    fn finish_tunnel(&mut self) {
        if self.head.tunnel.is_none() {
            return;
        }
        let Some(mut sender) = self.sender.take().filter(|sender| !sender.is_done()) else { return };
        let env = Rc::clone(&self.link.conn.env);
        env.spawn(Box::pin(async move {
            // A failure has reset the stream.
            drop(std::future::poll_fn(|cx| sender.poll(Blame::Upstream, cx)).await);
        }));
    }
}

fn request_failed(error: &BodyError) -> ExchangeError {
    ExchangeError {
        kind: ExchangeErrorKind::RequestBody,
        blame: error.blame,
        details: error.details,
        unseen: false,
        status: error.status,
    }
}

impl Drop for Http2Exchange {
    fn drop(&mut self) {
        if let Some(sender) = &mut self.sender
            && !matches!(self.state, State::Over)
        {
            // RFC 9113, section 8.7: the response is not wanted any more.
            sender.reset(Reason::CANCEL);
        }
        self.link.open.set(self.link.open.get().saturating_sub(1));
        if self.link.is_draining() && self.link.open.get() == 0 {
            self.link.wake_driver();
        }
    }
}
