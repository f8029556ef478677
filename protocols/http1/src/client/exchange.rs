//! One exchange on an upstream connection.

mod tunnel;

use std::rc::Rc;
use std::task::{Context, Poll};

use http::{Method, StatusCode};
use ringway_api::{
    Blame, Body, BodyError, BodyStart, BodyStream, Chunk, ChunkQueue, Exchange, ExchangeError, ExchangeErrorKind,
    ExchangeEvent, Frame, Io, Request, RequestHead, Tunnel,
};

use super::{Link, State};
use crate::body::{Decoded, Decoder, broken};
use crate::encode::{self, COPY_LIMIT, ContentEnd, ContentWriter, Delimit, poll_content};
use crate::head::{Asked, Assembler, Framing, Refusal, ResponseParts, decode_response};

/// One request and its response. What only an exchange needs lies here, so that an idle connection is small.
pub(super) struct Http1Exchange<I: Io> {
    link: Rc<Link<I>>,
    method: Method,
    /// The tunnel that is asked for, and the protocol of an upgrade.
    tunnel: Option<Box<(Tunnel, Option<Chunk>)>>,
    /// Kept until the first byte of a response, for whoever may send it again.
    kept: Option<Kept>,
    body: Body,
    writer: ContentWriter,
    sending: Sending,
    inbox: Chunk,
    head: Assembler,
    decoder: Decoder,
    /// The connection may carry another exchange after this one.
    keep_alive: bool,
    interims: u8,
    started: bool,
    /// The connection had carried exchanges before.
    reused: bool,
    /// The transport has taken something of the request.
    touched: bool,
    /// There has been a byte of a response.
    answered: bool,
    finished: bool,
}

/// What it takes to send a request again.
struct Kept {
    head: RequestHead,
    /// The body, when it is not the stream that [`Http1Exchange::body`] still holds.
    full: Option<Chunk>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sending {
    Active,
    Done,
    /// The peer takes no more; it may have answered all the same.
    Broken,
}

/// Interim responses that one request may get: more is no answer.
const MAX_INTERIMS: u8 = 32;

impl<I: Io> Http1Exchange<I> {
    pub(super) fn new(link: &Rc<Link<I>>, request: Request) -> Self {
        let Request { head, body } = request;
        let tunnel = head.tunnel.map(|tunnel| Box::new((tunnel, head.upgrade().map(Chunk::copy_from))));
        // A tunnel's bytes wait for its beginning.
        let (mut body, later) = if tunnel.is_some() { (Body::Empty, body) } else { (body, Body::Empty) };
        let delimit = if tunnel.is_some() { Delimit::Nothing } else { encode::request_delimit(&head, &body) };
        let case = link.options.header_case;
        let mut bytes = Vec::with_capacity(ContentWriter::room(encode::request_room(&head), &body));
        encode::request_head(&head, delimit, case, &mut bytes);
        let full = match &body {
            Body::Full(chunk) => Some(chunk.clone()),
            Body::Empty | Body::Stream(_) => None,
        };
        let writer = ContentWriter::new(bytes, delimit, case, &mut body, ChunkQueue::new());
        Self {
            link: Rc::clone(link),
            method: head.method.clone(),
            kept: Some(Kept { head, full }),
            body: if tunnel.is_some() { later } else { body },
            tunnel,
            writer,
            sending: Sending::Active,
            inbox: Chunk::EMPTY,
            head: Assembler::new(),
            decoder: Decoder::Done,
            keep_alive: false,
            interims: 0,
            started: false,
            reused: link.used.replace(true),
            touched: false,
            answered: false,
            finished: false,
        }
    }

    /// Sends what can be sent of the request.
    fn send(&mut self, cx: &mut Context<'_>) -> Result<(), BodyError> {
        if self.sending != Sending::Active {
            if self.sending == Sending::Done {
                self.end_tunnel(cx);
            }
            return Ok(());
        }
        let io = &self.link.io;
        let sent = poll_content(cx, &mut self.writer, &mut self.body, |cx, out| io.borrow_mut().poll_send(cx, out));
        self.touched |= self.writer.moved;
        match sent {
            Poll::Pending => Ok(()),
            Poll::Ready(Ok(())) => {
                self.sending = Sending::Done;
                self.end_tunnel(cx);
                Ok(())
            }
            Poll::Ready(Err(ContentEnd::Transport)) => {
                self.sending = Sending::Broken;
                Ok(())
            }
            Poll::Ready(Err(ContentEnd::Source(error))) => {
                self.sending = Sending::Broken;
                Err(error)
            }
        }
    }

    /// A reused connection must be silent before anything is sent: what is there answers nothing we asked.
    fn start(&mut self, cx: &mut Context<'_>) -> Result<(), ExchangeError> {
        self.started = true;
        if !self.reused {
            return Ok(());
        }
        let mut io = self.link.io.borrow_mut();
        io.mark_sent();
        let Poll::Ready(received) = io.poll_recv(cx) else { return Ok(()) };
        drop(io);
        Err(match received {
            Ok(Some(_)) => self.fail(ExchangeErrorKind::Protocol, "unsolicited_response"),
            Ok(None) | Err(_) => self.fail(ExchangeErrorKind::Closed, "connection_termination"),
        })
    }

    /// Reads on until there is a whole head.
    fn poll_parts(&mut self, cx: &mut Context<'_>) -> Poll<Result<ResponseParts, ExchangeError>> {
        loop {
            if !self.inbox.is_empty() {
                self.answered = true;
                self.kept = None;
                let limits = self.link.options.head_limits();
                let upgrade = self.tunnel.as_ref().and_then(|asked| asked.1.as_deref());
                let asked = Asked { method: &self.method, upgrade };
                match self.head.decode(&mut self.inbox, |block| decode_response(block, asked, limits)) {
                    Ok(Some(parts)) => return Poll::Ready(Ok(parts)),
                    Ok(None) => {}
                    Err(refusal) => return Poll::Ready(Err(self.refused(refusal))),
                }
            }
            let received = self.link.io.borrow_mut().poll_recv(cx);
            match received {
                Poll::Ready(Ok(Some(chunk))) => self.inbox = chunk,
                Poll::Ready(Ok(None) | Err(_)) => {
                    return Poll::Ready(Err(self.fail(ExchangeErrorKind::Closed, "connection_termination")));
                }
                Poll::Pending => {
                    if self.touched && !self.reused {
                        // What a fresh connection has taken counts as seen.
                        self.kept = None;
                    } else if let Some(kept) = &mut self.kept {
                        kept.detach();
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    /// Takes the final head and as much of the content as is there.
    fn accept(&mut self, parts: ResponseParts) -> Result<ExchangeEvent, ExchangeError> {
        self.keep_alive = parts.keep_alive;
        if let Some(asked) = self.tunnel.take() {
            if asked.0.accepts(parts.head.status) {
                self.tunnel = Some(asked);
                self.decoder = Decoder::UntilClose;
                // An answer may come before all of the head has gone.
                let out = std::mem::take(&mut self.writer.out);
                self.writer = ContentWriter::tunnel(Vec::new(), self.link.options.header_case, out);
                self.sending = Sending::Active;
                return Ok(ExchangeEvent::Final(parts.head, BodyStart::Streaming));
            }
            self.body = Body::Empty;
        }
        let body = match parts.framing {
            Framing::None => Body::Empty,
            Framing::Length(length) if length <= self.inbox.len() as u64 => {
                Body::Full(self.inbox.split_to(usize::try_from(length).unwrap_or(usize::MAX)))
            }
            Framing::Chunked => {
                self.decoder = Decoder::new(Framing::Chunked);
                match self.whole_chunked() {
                    Some(body) => body,
                    None => return Ok(ExchangeEvent::Final(parts.head, BodyStart::Streaming)),
                }
            }
            framing => {
                self.decoder = Decoder::new(framing);
                return Ok(ExchangeEvent::Final(parts.head, BodyStart::Streaming));
            }
        };
        self.finish();
        Ok(ExchangeEvent::Final(parts.head, BodyStart::Complete(body)))
    }

    /// Chunked content that lies wholly behind the head, in one chunk and without trailers: the usual small one.
    fn whole_chunked(&mut self) -> Option<Body> {
        let limits = self.link.options.body_limits();
        let mut trial = Decoder::new(Framing::Chunked);
        let mut rest = self.inbox.clone();
        let body = match trial.decode(&mut rest, limits) {
            Ok(Decoded::End) => Body::Empty,
            Ok(Decoded::Data(data)) => match trial.decode(&mut rest, limits) {
                Ok(Decoded::End) => Body::Full(data),
                _ => return None,
            },
            _ => return None,
        };
        (self.decoder, self.inbox) = (trial, rest);
        Some(body)
    }

    /// The response is complete: gives the connection back, or gives it up.
    fn finish(&mut self) {
        self.finished = true;
        self.finish_tunnel();
        // Bytes behind the response, or a request that has not ended, leave the peers at odds over what comes next.
        let clean = self.sending == Sending::Done && self.inbox.is_empty();
        let reusable = self.keep_alive && clean && !self.link.is_draining();
        self.link.state.set(if reusable { State::Idle } else { State::Closed });
        self.body = Body::Empty;
        self.inbox = Chunk::EMPTY;
    }

    fn refused(&mut self, refusal: Refusal) -> ExchangeError {
        let kind = match refusal.status {
            StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE => ExchangeErrorKind::TooLarge,
            _ => ExchangeErrorKind::Protocol,
        };
        self.fail(kind, refusal.details)
    }

    /// Gives the connection up.
    fn fail(&mut self, kind: ExchangeErrorKind, details: &'static str) -> ExchangeError {
        let unseen = self.is_unseen();
        self.give_up();
        ExchangeError { kind, blame: Blame::Upstream, details, unseen, status: None }
    }

    fn request_failed(&mut self, error: BodyError) -> ExchangeError {
        let unseen = self.is_unseen();
        self.give_up();
        let BodyError { blame, details, status } = error;
        ExchangeError { kind: ExchangeErrorKind::RequestBody, blame, details, unseen, status }
    }

    /// Whether the request provably never reached the upstream's application: there was no byte of an answer, and
    /// either nothing was sent, or what was sent on a connection that was closing went nowhere.
    fn is_unseen(&self) -> bool {
        !self.answered && (!self.touched || (self.reused && self.link.io.borrow().provably_unseen()))
    }

    fn give_up(&mut self) {
        self.finished = true;
        self.link.state.set(State::Closed);
        self.link.io.borrow_mut().abort();
        self.inbox = Chunk::EMPTY;
    }

    fn body_failed(&mut self, details: &'static str) -> Poll<Option<Result<Frame, BodyError>>> {
        self.give_up();
        Poll::Ready(Some(Err(BodyError::new(Blame::Upstream, details))))
    }
}

impl<I: Io> Exchange for Http1Exchange<I> {
    fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<ExchangeEvent, ExchangeError>> {
        if !self.started {
            self.start(cx)?;
        }
        if let Err(error) = self.send(cx) {
            return Poll::Ready(Err(self.request_failed(error)));
        }
        let parts = std::task::ready!(self.poll_parts(cx))?;
        let status = parts.head.status;
        if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
            return Poll::Ready(self.accept(parts));
        }
        self.interims += 1;
        if self.interims > MAX_INTERIMS {
            return Poll::Ready(Err(self.fail(ExchangeErrorKind::Protocol, "too_many_interim_responses")));
        }
        Poll::Ready(Ok(ExchangeEvent::Interim(parts.head)))
    }

    fn reclaim(&mut self) -> Option<Request> {
        let kept = self.kept.take()?;
        let body = match kept.full {
            Some(chunk) => Body::Full(chunk),
            None if self.writer.written > 0 => return None,
            None => std::mem::take(&mut self.body),
        };
        Some(Request { head: kept.head, body })
    }
}

impl<I: Io> BodyStream for Http1Exchange<I> {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        if self.finished {
            return Poll::Ready(None);
        }
        if let Err(error) = self.send(cx) {
            if self.tunnel.is_some() {
                self.give_up();
                return Poll::Ready(Some(Err(error)));
            }
            // The response has begun; a request that fails now only costs the connection.
            self.keep_alive = false;
        }
        let limits = self.link.options.body_limits();
        loop {
            match self.decoder.decode(&mut self.inbox, limits) {
                Ok(Decoded::Data(data)) => {
                    if self.decoder.is_done() {
                        self.finish();
                    }
                    return Poll::Ready(Some(Ok(Frame::Data(data))));
                }
                Ok(Decoded::Trailers(trailers)) => {
                    self.finish();
                    return Poll::Ready(Some(Ok(Frame::Trailers(trailers))));
                }
                Ok(Decoded::End) => {
                    self.finish();
                    return Poll::Ready(None);
                }
                Ok(Decoded::NeedMore) => {}
                Err(refusal) => return self.body_failed(refusal.details),
            }
            let received = self.link.io.borrow_mut().poll_recv(cx);
            match received {
                Poll::Ready(Ok(Some(chunk))) => self.inbox = chunk,
                Poll::Ready(Ok(None)) if matches!(self.decoder, Decoder::UntilClose) => {
                    self.finish();
                    return Poll::Ready(None);
                }
                Poll::Ready(Ok(None)) => return self.body_failed("incomplete_body"),
                Poll::Ready(Err(error)) => return self.body_failed(broken(error.kind())),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn remaining(&self) -> Option<u64> {
        self.decoder.remaining()
    }
}

impl<I: Io> Drop for Http1Exchange<I> {
    fn drop(&mut self) {
        if !self.finished {
            self.give_up();
        }
    }
}

impl Kept {
    /// Puts what is kept where it may stay: waiting for an answer can take long. Large content stays where it is:
    /// copying it would cost every request more than the rare repetition is worth.
    fn detach(&mut self) {
        self.head.headers.detach();
        if let Some(full) = &mut self.full
            && full.is_pooled()
            && full.len() <= COPY_LIMIT
        {
            *full = std::mem::take(full).detach();
        }
    }
}
