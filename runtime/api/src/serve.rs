//! What a protocol's server side hands requests to.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use crate::{Blame, BodyError, ConnCx, LocalReply, Request, Response, ResponseFlag, ResponseFlags, ResponseHead};

/// Answers requests. The proxy implements it; protocols call it.
pub trait Handler: Clone + 'static {
    /// Watches one response on its way out.
    type Observer: Observer;

    /// Answers one request. Never fails: what goes wrong becomes a local reply. Dropping the future cancels the
    /// request, which the handler logs as a downstream disconnect.
    async fn handle(&self, request: Request, cx: &StreamCx) -> Reply<Self::Observer>;

    /// Answers what could not be made a request: a malformed or oversized head. The protocol decides whether the
    /// connection goes on.
    fn refuse(&self, why: LocalReply, cx: &StreamCx) -> Reply<Self::Observer>;
}

/// A response and whoever wants to know how its delivery ended.
pub struct Reply<O> {
    /// The response.
    pub response: Response,
    /// Told once, when the response has been handed to the transport or has failed; told of a cancellation by drop.
    pub observer: O,
    /// Close the connection after this response.
    pub close: bool,
    /// The response must not go out: the stream is to be reset, and where the protocol has no such thing the connection.
    pub reset: bool,
}

impl StreamEnd {
    /// The end of a stream that was [reset](Reply::reset): no response went out because something here wanted none to.
    pub fn of_reset(body_received: u64) -> Self {
        let reason = EndReason::Body(BodyError::new(Blame::Local, "local_reset"));
        Self { reason, body_sent: 0, body_received }
    }
}

/// Sees the end of a stream. Dropping it unfinished means that the downstream went away.
pub trait Observer {
    /// The stream ended.
    fn finish(self, end: &StreamEnd);
}

/// How a stream ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamEnd {
    /// Why.
    pub reason: EndReason,
    /// Content bytes sent to the downstream, without framing.
    pub body_sent: u64,
    /// Content bytes received from the downstream, without framing.
    pub body_received: u64,
}

/// Why a stream ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// The response is complete.
    Complete,
    /// The downstream closed, reset or stalled.
    Downstream(&'static str),
    /// The response's body failed after its head had gone out.
    Body(BodyError),
}

/// What a handler may know and do while it answers one request.
pub struct StreamCx {
    /// The connection.
    pub conn: Rc<ConnCx>,
    /// On the heap, and only while there are some: every connection has one of these.
    #[allow(clippy::box_collection, reason = "a pointer instead of three words in every connection")]
    interim: RefCell<Option<Box<Vec<ResponseHead>>>>,
    flags: Cell<ResponseFlags>,
}

impl StreamCx {
    /// The context of the connection's streams.
    pub fn new(conn: Rc<ConnCx>) -> Self {
        Self { conn, interim: RefCell::new(None), flags: Cell::new(ResponseFlags::NONE) }
    }

    /// Sends an interim response (103, say) ahead of the final one; the protocol drops it where the peer could not
    /// understand it. At most 16 wait; further ones are dropped.
    pub fn send_interim(&self, head: ResponseHead) {
        let mut waiting = self.interim.borrow_mut();
        let waiting = waiting.get_or_insert_default();
        if waiting.len() < 16 {
            waiting.push(head);
        }
    }

    /// Takes the interim responses that wait; for the protocol, after each poll of the handler.
    pub fn take_interim(&self) -> Vec<ResponseHead> {
        self.interim.take().map_or_else(Vec::new, |waiting| *waiting)
    }

    /// Has the stream logged with a flag, for filters that do something to it and let it go on. For use within a hook:
    /// the handler takes what was noted right after each.
    pub fn note_flag(&self, flag: ResponseFlag) {
        self.flags.set(self.flags.get().union(ResponseFlags::of(flag)));
    }

    /// Takes the flags that were noted; for the handler.
    pub fn take_flags(&self) -> ResponseFlags {
        self.flags.take()
    }

    /// True when interim responses wait.
    pub fn has_interim(&self) -> bool {
        self.interim.borrow().is_some()
    }
}
