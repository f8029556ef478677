//! One call on an upstream connection.

use std::rc::Rc;
use std::task::{Context, Poll};

use http::StatusCode;
use ringway_api::{
    Blame, Body, BodyError, BodyStart, BodyStream, Chunk, Exchange, ExchangeError, ExchangeErrorKind, ExchangeEvent,
    Frame, Request, RequestHead, ResponseHead,
};

use super::calls::State;
use super::{Answer, Link, closed};
use crate::feed::FedBody;
use crate::message::{self, Failure, Outgoing, WholeRequest};
use crate::{Mode, RpcCodec};

/// A call and its answer.
pub(super) struct RpcExchange<C: RpcCodec> {
    link: Rc<Link<C>>,
    id: u64,
    answer: Answer,
    head: RequestHead,
    /// Whole content, for whoever may send the call again.
    kept: Option<Chunk>,
    outgoing: Outgoing,
    one_way: bool,
    /// The content of the answer, while it arrives.
    body: Option<FedBody>,
    /// The call has its place no more.
    released: bool,
}

impl<C: RpcCodec> RpcExchange<C> {
    pub(super) fn new(link: &Rc<Link<C>>, request: Request) -> Self {
        let Request { head, body } = request;
        let first = link.calls.borrow().open() == 0;
        let (id, answer) = link.calls.borrow_mut().take();
        if first {
            link.mark.set(true);
        }
        let kept = match &body {
            Body::Full(content) => Some(content.clone()),
            Body::Empty | Body::Stream(_) => None,
        };
        Self {
            link: Rc::clone(link),
            id,
            answer,
            one_way: message::is_one_way(&link.codec, &head),
            head,
            kept,
            outgoing: Outgoing::new(body, link.options.limits().frame),
            body: None,
            released: false,
        }
    }

    /// Gives the place back: what answer still comes is nobody's.
    fn release(&mut self) {
        if !std::mem::replace(&mut self.released, true) {
            self.link.calls.borrow_mut().release(self.id);
            self.link.reused.set(true);
            self.link.out.wake();
        }
    }

    /// Sends what can be sent of the call.
    fn send(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ExchangeError>> {
        let link = &self.link;
        if !self.outgoing.has_begun() {
            if link.closed.get() {
                return Poll::Ready(Err(closed(true)));
            }
            self.answer.borrow_mut().start = link.out.position();
        }
        let message = WholeRequest { id: self.id, head: &self.head };
        let sent = self.outgoing.poll(&link.codec, &link.out, &message, cx);
        if !self.outgoing.has_begun() {
            self.answer.borrow_mut().start = u64::MAX;
        }
        sent.map(|sent| match sent {
            Ok(()) => Ok(()),
            Err(failure) => Err(self.failed(failure)),
        })
    }

    fn failed(&mut self, failure: Failure) -> ExchangeError {
        let begun = self.outgoing.has_begun();
        self.outgoing.abandon(&self.link.out);
        let request = |blame, details, status| ExchangeError {
            kind: ExchangeErrorKind::RequestBody,
            blame,
            details,
            unseen: !begun,
            status,
        };
        match failure {
            Failure::Body(BodyError { blame, details, status }) => request(blame, details, status),
            Failure::Codec(error) => request(Blame::Local, error.details, Some(error.status)),
            Failure::Closed => closed(!begun),
        }
    }

    fn poll_answer(&mut self, cx: &Context<'_>) -> Poll<Result<ExchangeEvent, ExchangeError>> {
        let mut awaited = self.answer.borrow_mut();
        match std::mem::replace(&mut awaited.state, State::Told) {
            State::Waiting => {
                awaited.state = State::Waiting;
                match &awaited.waker {
                    Some(known) if known.will_wake(cx.waker()) => {}
                    _ => awaited.waker = Some(cx.waker().clone()),
                }
                Poll::Pending
            }
            State::Complete(head, body) => {
                drop(awaited);
                self.kept = None;
                self.release();
                Poll::Ready(Ok(ExchangeEvent::Final(head, BodyStart::Complete(body))))
            }
            State::Streaming(head, body) => {
                drop(awaited);
                self.kept = None;
                self.body = Some(body);
                Poll::Ready(Ok(ExchangeEvent::Final(head, BodyStart::Streaming)))
            }
            State::Failed(error) => {
                drop(awaited);
                self.release();
                Poll::Ready(Err(error))
            }
            State::Told => Poll::Ready(Err(closed(false))),
        }
    }
}

impl<C: RpcCodec> Exchange for RpcExchange<C> {
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<ExchangeEvent, ExchangeError>> {
        let sent = match self.send(cx) {
            Poll::Ready(Err(error)) => {
                self.release();
                return Poll::Ready(Err(error));
            }
            Poll::Ready(Ok(())) => true,
            Poll::Pending => false,
        };
        if sent && self.one_way {
            // There is nothing to wait for: it has been handed over.
            self.release();
            let head = ResponseHead::new(StatusCode::ACCEPTED);
            return Poll::Ready(Ok(ExchangeEvent::Final(head, BodyStart::Complete(Body::Empty))));
        }
        self.poll_answer(cx)
    }

    fn reclaim(&mut self) -> Option<Request> {
        let body = match self.kept.take() {
            Some(content) => Body::Full(content),
            None => self.outgoing.reclaim()?,
        };
        Some(Request { head: std::mem::take(&mut self.head), body })
    }
}

impl<C: RpcCodec> BodyStream for RpcExchange<C> {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let polled = body.poll_frame(cx);
        if matches!(polled, Poll::Ready(None | Some(Err(_)))) {
            self.body = None;
            self.release();
        }
        polled
    }

    fn remaining(&self) -> Option<u64> {
        self.body.as_ref().map_or(Some(0), BodyStream::remaining)
    }
}

impl<C: RpcCodec> Drop for RpcExchange<C> {
    fn drop(&mut self) {
        self.outgoing.abandon(&self.link.out);
        // Without ids, a late answer would be taken for the next call's.
        if !self.released && C::MODE == Mode::PingPong {
            self.link.out.close();
            self.link.out.wake();
        }
        self.release();
    }
}
