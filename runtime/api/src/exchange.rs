//! One request and its response on an upstream connection.

use std::task::{Context, Poll};

use crate::{Body, BodyStream, ExchangeError, Request, ResponseHead};

/// A connection to an upstream host that carries one exchange after another, or many at once.
pub trait UpstreamConn: 'static {
    /// How many more exchanges may be opened now; 0 once it drains or is closed and, for protocols without
    /// multiplexing, while one is under way.
    fn free_slots(&self) -> usize;

    /// Begins an exchange. The request's body is pulled while the exchange is polled. Failures show at its first
    /// poll. The caller makes sure of a free slot.
    fn open(&self, request: Request) -> Box<dyn Exchange>;

    /// Polled while nothing is under way. Ready means that the connection is of no more use: closed by the peer,
    /// failed, or in receipt of bytes nobody asked for.
    fn poll_idle(&self, cx: &mut Context<'_>) -> Poll<()>;

    /// Opens no more exchanges and closes when those under way have ended.
    fn drain(&self);
}

/// One exchange. It is the response's body stream too: after [`ExchangeEvent::Final`] with
/// [`BodyStart::Streaming`], pull its frames. Dropping it earlier cancels it.
pub trait Exchange: BodyStream {
    /// Drives the request out until the next response head. Not called again after `Final` or an error.
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<ExchangeEvent, ExchangeError>>;

    /// After an error that says `unseen`: the request, if none of its body has been consumed, so that it can be sent
    /// again.
    fn reclaim(&mut self) -> Option<Request> {
        None
    }
}

/// What [`Exchange::poll_head`] yields.
#[derive(Debug)]
pub enum ExchangeEvent {
    /// An interim response (1xx but 101, which accepts an upgrade and is final; RFC 9110, section 15.2). More follows.
    Interim(ResponseHead),
    /// The final response's head, and its body as far as it is there.
    Final(ResponseHead, BodyStart),
}

/// The body of a final response at the time its head is there.
#[derive(Debug)]
pub enum BodyStart {
    /// All of it; the exchange has ended.
    Complete(Body),
    /// More is to come: pull frames from the exchange.
    Streaming,
}
