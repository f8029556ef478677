//! The part of a server's connection that the request's body shares with the loop.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use http::StatusCode;
use ringway_api::{Blame, BodyError, BodyStream, Chunk, ChunkQueue, Frame, Io, Tunnel};

use crate::body::{BodyLimits, Decoded, Decoder, broken};

/// The stream and what has been received from it. What only some requests need comes and goes with them: thousands of
/// idle connections are one of these each.
pub(super) struct Wire<I> {
    pub(super) io: I,
    /// Received and not yet consumed.
    pub(super) inbox: Chunk,
    /// Interim responses that the transport has not taken yet.
    interim: Option<Box<ChunkQueue>>,
    /// Of the current request, if it came in pieces.
    content: Option<Box<Content>>,
    /// Content bytes received of the current request.
    pub(super) received: u64,
    /// Which request is current: a body that outlives its request must not read another's bytes.
    pub(super) turn: u32,
    pub(super) input: Input,
}

/// A request's content that is still coming in.
struct Content {
    decoder: Decoder,
    limits: BodyLimits,
    /// 100 (Continue) is owed when content is first asked for.
    owes_continue: bool,
    /// Somebody waits for content.
    wanted: bool,
    /// Content moved since this was last cleared.
    moved: bool,
    fault: Option<BodyError>,
    waker: Option<Waker>,
    /// Of a request that asks for a tunnel.
    tunnel: Option<AskedTunnel>,
}

/// A tunnel that is asked for.
struct AskedTunnel {
    kind: Tunnel,
    /// Of an upgrade.
    protocol: Option<Chunk>,
    state: TunnelState,
    /// The connection's own task, while it waits for the end.
    server: Option<Waker>,
}

/// How far a tunnel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum TunnelState {
    /// The response has not said yes yet: nothing that was received may be taken.
    Asked,
    /// What is received is the tunnel's.
    Open,
    /// The client has ended its side and that has been taken, or nobody takes anything any more.
    Over,
}

/// A quarter of a receive buffer.
const DETACH_LIMIT: usize = 8 << 10;

/// The state of the receiving side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Input {
    Open,
    /// The peer has ended its side; ours still works.
    Ended,
    Failed(io::ErrorKind),
}

/// A request's content.
pub(super) struct RequestBody<I: Io> {
    wire: Rc<RefCell<Wire<I>>>,
    turn: u32,
}

impl Content {
    fn new(decoder: Decoder, limits: BodyLimits, owes_continue: bool) -> Self {
        Self { decoder, limits, owes_continue, wanted: false, moved: false, fault: None, waker: None, tunnel: None }
    }
}

impl<I: Io> Wire<I> {
    pub(super) fn new(io: I) -> Self {
        Self { io, inbox: Chunk::EMPTY, interim: None, content: None, received: 0, turn: 0, input: Input::Open }
    }

    /// Begins a request whose content is complete.
    pub(super) fn begin(&mut self, received: u64) {
        self.turn = self.turn.wrapping_add(1);
        self.received = received;
        self.content = None;
    }

    /// Begins a request whose content comes in pieces.
    pub(super) fn begin_content(&mut self, decoder: Decoder, limits: BodyLimits, owes_continue: bool) {
        self.begin(0);
        self.content = Some(Box::new(Content::new(decoder, limits, owes_continue)));
    }

    /// Begins a request that asks for a tunnel.
    pub(super) fn begin_tunnel(&mut self, kind: Tunnel, protocol: Option<Chunk>, limits: BodyLimits) {
        self.begin(0);
        let mut content = Content::new(Decoder::UntilClose, limits, false);
        content.tunnel = Some(AskedTunnel { kind, protocol, state: TunnelState::Asked, server: None });
        self.content = Some(Box::new(content));
    }

    /// The tunnel that the request asks for, and the protocol of an upgrade.
    pub(super) fn take_asked(&mut self) -> Option<(Tunnel, Option<Chunk>)> {
        let tunnel = self.content.as_mut()?.tunnel.as_mut()?;
        Some((tunnel.kind, tunnel.protocol.take()))
    }

    /// Has the task behind `cx` woken at the end of the way up.
    pub(super) fn watch_tunnel(&mut self, cx: &Context<'_>) {
        let Some(tunnel) = self.content.as_mut().and_then(|content| content.tunnel.as_mut()) else { return };
        match &mut tunnel.server {
            Some(server) => server.clone_from(cx.waker()),
            None => tunnel.server = Some(cx.waker().clone()),
        }
    }

    /// The response has said yes.
    pub(super) fn open_tunnel(&mut self) {
        // One whose request's body has been dropped is over before it begins.
        if let Some(tunnel) = self.content.as_mut().and_then(|content| content.tunnel.as_mut())
            && tunnel.state == TunnelState::Asked
        {
            tunnel.state = TunnelState::Open;
        }
        self.wake_reader();
    }

    /// The response has said no: there was no content.
    pub(super) fn refuse_tunnel(&mut self) {
        self.wake_reader();
        self.content = None;
    }

    /// The connection is done with its tunnel: whoever still waits for the way up must not wait for ever.
    pub(super) fn cut_tunnel(&mut self) {
        self.turn = self.turn.wrapping_add(1);
        self.wake_reader();
        self.content = None;
    }

    /// Whether nothing more will be taken of what the client sends.
    pub(super) fn is_tunnel_over(&self) -> bool {
        let tunnel = self.content.as_ref().and_then(|content| content.tunnel.as_ref());
        tunnel.is_none_or(|tunnel| tunnel.state == TunnelState::Over)
    }

    /// The current request is over; true when all of its content has been taken. Whoever still holds it must not take
    /// bytes of what follows.
    pub(super) fn end(&mut self) -> bool {
        self.turn = self.turn.wrapping_add(1);
        let complete = self.is_complete();
        if complete {
            self.content = None;
        }
        complete
    }

    /// Whether all of the request's content has been taken.
    pub(super) fn is_complete(&self) -> bool {
        self.content.as_ref().is_none_or(|content| content.decoder.is_done())
    }

    /// Content bytes to come, where they are known.
    pub(super) fn remaining(&self) -> Option<u64> {
        self.content.as_ref().map_or(Some(0), |content| content.decoder.remaining())
    }

    /// Whether somebody waits for content.
    pub(super) fn is_wanted(&self) -> bool {
        self.content.as_ref().is_some_and(|content| content.wanted)
    }

    /// Whether content moved since this was last asked.
    pub(super) fn take_moved(&mut self) -> bool {
        self.content.as_mut().is_some_and(|content| std::mem::take(&mut content.moved))
    }

    /// Whether 100 (Continue) was still owed; it is no more.
    pub(super) fn take_owed_continue(&mut self) -> bool {
        self.content.as_mut().is_some_and(|content| std::mem::take(&mut content.owes_continue))
    }

    /// Queues bytes of an interim response.
    pub(super) fn push_interim(&mut self, bytes: Chunk) {
        self.interim.get_or_insert_default().push(bytes);
    }

    /// Interim responses that the transport has not taken, to go before what follows.
    pub(super) fn take_interim(&mut self) -> ChunkQueue {
        self.interim.take().map_or_else(ChunkQueue::new, |interim| *interim)
    }

    /// Sends interim responses. Pending may mean that there are none.
    pub(super) fn poll_interim(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(interim) = &mut self.interim else { return Poll::Pending };
        let sent = self.io.poll_send(cx, interim);
        if interim.is_empty() {
            self.interim = None;
        }
        sent
    }

    /// Receives into the empty inbox. Ready when there are bytes or no more will come.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        debug_assert!(self.inbox.is_empty());
        while self.input == Input::Open && self.inbox.is_empty() {
            match self.io.poll_recv(cx) {
                Poll::Ready(Ok(Some(chunk))) => self.inbox = chunk,
                Poll::Ready(Ok(None)) => self.input = Input::Ended,
                Poll::Ready(Err(error)) => self.input = Input::Failed(error.kind()),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(())
    }

    /// Looks out for the peer while somebody else is waited for. While content is wanted, its reader is who receives;
    /// otherwise one chunk is held at most.
    pub(super) fn watch(&mut self, cx: &mut Context<'_>) {
        if !self.is_wanted() && self.inbox.is_empty() && self.input == Input::Open && self.poll_fill(cx).is_ready() {
            self.wake_reader();
        }
        self.detach();
    }

    /// Fails the content, now and for whoever waits for it.
    pub(super) fn fail(&mut self, error: BodyError) {
        if let Some(content) = &mut self.content {
            content.wanted = false;
            content.fault = Some(error);
        }
        self.wake_reader();
    }

    /// Wakes whoever waits for content, if anybody does.
    fn wake_reader(&mut self) {
        if let Some(waker) = self.content.as_mut().and_then(|content| content.waker.take()) {
            waker.wake();
        }
    }

    /// Takes bytes out of their pool that may be kept for long, if they are few: many are worth their buffer, and
    /// copying them would cost every upload.
    fn detach(&mut self) {
        if self.inbox.len() <= DETACH_LIMIT && self.inbox.is_pooled() {
            self.inbox = std::mem::take(&mut self.inbox).detach();
        }
    }

    /// The next frame of the current request's content.
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        loop {
            let Some(content) = &mut self.content else { return Poll::Ready(None) };
            if content.tunnel.as_ref().is_some_and(|tunnel| tunnel.state == TunnelState::Asked) {
                content.waker = Some(cx.waker().clone());
                return Poll::Pending;
            }
            if let Some(fault) = &content.fault {
                return Poll::Ready(Some(Err(fault.clone())));
            }
            match content.decoder.decode(&mut self.inbox, content.limits) {
                Ok(Decoded::Data(data)) => {
                    (content.wanted, content.moved) = (false, true);
                    self.received += data.len() as u64;
                    return Poll::Ready(Some(Ok(Frame::Data(data))));
                }
                Ok(Decoded::Trailers(trailers)) => return Poll::Ready(Some(Ok(Frame::Trailers(trailers)))),
                Ok(Decoded::End) => return Poll::Ready(None),
                Ok(Decoded::NeedMore) => {}
                Err(refusal) => {
                    let error = BodyError::new(Blame::Downstream, refusal.details).with_status(refusal.status);
                    return self.failed(error);
                }
            }
            match self.input {
                Input::Open => {}
                Input::Ended if content.tunnel.is_some() => {
                    self.end_tunnel();
                    return Poll::Ready(None);
                }
                Input::Ended => {
                    let error = BodyError::new(Blame::Downstream, "incomplete_body");
                    return self.failed(error.with_status(StatusCode::BAD_REQUEST));
                }
                Input::Failed(kind) => return self.failed(BodyError::new(Blame::Downstream, broken(kind))),
            }
            if self.take_owed_continue() {
                self.send_continue(cx);
            }
            if self.poll_fill(cx).is_pending() {
                if let Some(content) = &mut self.content {
                    content.wanted = true;
                    content.waker = Some(cx.waker().clone());
                }
                return Poll::Pending;
            }
        }
    }

    /// Ends a tunnel's way up, if this is one.
    fn end_tunnel(&mut self) {
        let Some(tunnel) = self.content.as_mut().and_then(|content| content.tunnel.as_mut()) else { return };
        tunnel.state = TunnelState::Over;
        if let Some(waker) = tunnel.server.take() {
            waker.wake();
        }
    }

    /// Nobody waits for content any more.
    fn forsake(&mut self) {
        if let Some(content) = &mut self.content {
            (content.wanted, content.waker) = (false, None);
        }
        self.end_tunnel();
    }

    fn failed(&mut self, error: BodyError) -> Poll<Option<Result<Frame, BodyError>>> {
        if let Some(content) = &mut self.content {
            content.wanted = false;
            content.fault = Some(error.clone());
        }
        Poll::Ready(Some(Err(error)))
    }

    /// RFC 9110, section 10.1.1: the content is wanted.
    #[cold]
    fn send_continue(&mut self, cx: &mut Context<'_>) {
        self.push_interim(Chunk::from("HTTP/1.1 100 Continue\r\n\r\n"));
        if let Poll::Ready(Err(error)) = self.poll_interim(cx) {
            self.input = Input::Failed(error.kind());
        }
    }
}

impl<I: Io> RequestBody<I> {
    pub(super) fn new(wire: &Rc<RefCell<Wire<I>>>) -> Self {
        let turn = wire.borrow().turn;
        Self { wire: Rc::clone(wire), turn }
    }
}

impl<I: Io> BodyStream for RequestBody<I> {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        let mut wire = self.wire.borrow_mut();
        if wire.turn != self.turn {
            return Poll::Ready(Some(Err(BodyError::new(Blame::Local, "request_ended"))));
        }
        wire.poll_frame(cx)
    }

    fn remaining(&self) -> Option<u64> {
        let wire = self.wire.borrow();
        if wire.turn == self.turn { wire.remaining() } else { Some(0) }
    }
}

impl<I: Io> Drop for RequestBody<I> {
    fn drop(&mut self) {
        let mut wire = self.wire.borrow_mut();
        if wire.turn == self.turn {
            wire.forsake();
        }
    }
}
