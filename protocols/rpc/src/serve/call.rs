//! One call: it is handled, and it is answered.

use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use http::StatusCode;
use ringway_api::{
    Blame, BodyError, EndReason, Handler, LocalReply, Observer, Reply, Request, Response, StreamCx, StreamEnd,
};

use super::Shared;
use crate::message::{Failure, Outgoing, WholeResponse};
use crate::{Asked, Kind, RpcCodec};

/// A call on its way.
pub(super) struct Call<C: RpcCodec, H> {
    pub(super) handler: H,
    pub(super) cx: StreamCx,
    pub(super) to: Asked,
    /// Bytes of content that it has brought, or will.
    pub(super) received: u64,
    pub(super) ticket: Ticket<C>,
}

/// The calls of a connection.
#[derive(Default)]
pub(super) struct Calls {
    pub(super) wakers: Vec<Option<Waker>>,
    free: Vec<usize>,
    pub(super) open: usize,
    /// Bytes that they keep of their frames.
    held: usize,
}

/// A place among the calls of a connection.
pub(super) struct Ticket<C> {
    shared: Rc<Shared<C>>,
    at: usize,
    /// Bytes that the call keeps of its frame.
    held: usize,
}

impl<C: RpcCodec, H: Handler> Call<C, H> {
    pub(super) fn start(self, request: Request) {
        let env = Rc::clone(&self.cx.conn.env);
        env.spawn(Box::pin(self.handle(request)));
    }

    /// Answers what cannot be handled.
    pub(super) fn refuse(self, why: LocalReply) {
        let reply = self.handler.refuse(why, &self.cx);
        let env = Rc::clone(&self.cx.conn.env);
        env.spawn(Box::pin(self.answer(reply)));
    }

    async fn handle(self, request: Request) {
        let reply = {
            let mut handling = pin!(self.handler.handle(request, &self.cx));
            poll_fn(|cx| match handling.as_mut().poll(cx) {
                Poll::Ready(reply) => Poll::Ready(Some(reply)),
                // Nobody waits for a one-way call, so nobody can have gone.
                Poll::Pending if self.to.frame.kind == Kind::OneWay => Poll::Pending,
                Poll::Pending => self.ticket.poll_closed(cx).map(|()| None),
            })
            .await
        };
        if let Some(reply) = reply {
            self.answer(reply).await;
        }
    }

    async fn answer(self, reply: Reply<H::Observer>) {
        let Reply { response, observer, close, reset } = reply;
        let shared = &self.ticket.shared;
        let body_received = self.received;
        if reset {
            // Calls cannot be reset one by one: a frame that never comes would be silence.
            shared.out.close();
            observer.finish(&StreamEnd::of_reset(body_received));
            return;
        }
        let (reason, body_sent) =
            if self.to.frame.kind == Kind::OneWay { (EndReason::Complete, 0) } else { self.send(response).await };
        if close {
            shared.conn.drain();
        }
        observer.finish(&StreamEnd { reason, body_sent, body_received });
    }

    async fn send(&self, response: Response) -> (EndReason, u64) {
        let Response { head, body } = response;
        let Shared { codec, out, options, .. } = &*self.ticket.shared;
        let mut outgoing = Outgoing::new(body, options.limits().frame);
        let message = WholeResponse { to: &self.to, head: &head };
        let sent = poll_fn(|cx| match outgoing.poll(codec, out, &message, cx) {
            Poll::Ready(result) => Poll::Ready(result),
            Poll::Pending => self.ticket.poll_closed(cx).map(|()| Err(Failure::Closed)),
        });
        let failure = match sent.await {
            Ok(()) => return (EndReason::Complete, outgoing.sent),
            Err(failure) => failure,
        };
        let reason = match failure {
            Failure::Body(error) => EndReason::Body(error),
            Failure::Codec(error) => EndReason::Body(BodyError::new(Blame::Local, error.details)),
            Failure::Closed => EndReason::Downstream("downstream_remote_disconnect"),
        };
        if let EndReason::Body(error) = &reason
            && !out.is_broken()
        {
            // Nothing of it has gone out.
            let status = match error.details {
                "response_timeout" => StatusCode::GATEWAY_TIMEOUT,
                _ => StatusCode::BAD_GATEWAY,
            };
            out.write_between(|out| codec.write_error(&self.to, status, error.details, out));
        }
        outgoing.abandon(out);
        (reason, outgoing.sent)
    }
}

impl Calls {
    /// Whether so many bytes of one more call may be kept; of the only one, any number.
    pub(super) fn fits(&self, bytes: usize, limit: usize) -> bool {
        self.held == 0 || self.held.saturating_add(bytes) <= limit
    }
}

impl<C> Ticket<C> {
    pub(super) fn take(shared: &Rc<Shared<C>>, held: usize) -> Self {
        let mut calls = shared.calls.borrow_mut();
        calls.open += 1;
        calls.held += held;
        let at = calls.free.pop().unwrap_or_else(|| {
            calls.wakers.push(None);
            calls.wakers.len() - 1
        });
        drop(calls);
        Self { shared: Rc::clone(shared), at, held }
    }

    /// Ready once nobody awaits the answer.
    fn poll_closed(&self, cx: &Context<'_>) -> Poll<()> {
        if self.shared.closed.get() {
            return Poll::Ready(());
        }
        if let Some(waker) = self.shared.calls.borrow_mut().wakers.get_mut(self.at) {
            match waker {
                Some(known) if known.will_wake(cx.waker()) => {}
                _ => *waker = Some(cx.waker().clone()),
            }
        }
        Poll::Pending
    }
}

impl<C> Drop for Ticket<C> {
    fn drop(&mut self) {
        let mut calls = self.shared.calls.borrow_mut();
        calls.open -= 1;
        calls.held -= self.held;
        if let Some(waker) = calls.wakers.get_mut(self.at) {
            *waker = None;
        }
        calls.free.push(self.at);
        drop(calls);
        // There may be room for another one.
        self.shared.out.wake();
    }
}
