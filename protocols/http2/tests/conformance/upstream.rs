//! An upstream connection of ours, with the test as a server that writes its frames by hand.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use http::Method;
use ringway_api::{
    Body, BodyStart, Exchange, ExchangeError, ExchangeErrorKind, ExchangeEvent, Frame as BodyFrame, Protocol, Request,
    RequestHead, UpstreamConn,
};
use ringway_http2::{Client, Http2, Http2Options};
use ringway_testkit::{Control, MemoryIo, PairOptions, Recorded, Sim, Split, pair, test_conn};

use crate::hpack::Decoder;
use crate::wire::{ACK, Frame, GOAWAY, HEADERS, PREFACE, RST_STREAM, SETTINGS, frame, headers, settings, take_frames};

/// An upstream connection.
pub(crate) struct Upstream {
    pub(crate) sim: Sim,
    pub(crate) client: Rc<Client>,
    pub(crate) io: MemoryIo,
    /// The client's end.
    pub(crate) control: Control,
    unread: Vec<u8>,
    decoder: Decoder,
}

/// What a whole exchange came to.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Vec<(String, String)>,
    pub(crate) interims: Vec<u16>,
    /// Why the content ended early.
    pub(crate) error: Option<&'static str>,
}

/// An exchange under way, until it has come to something.
pub(crate) type Pending = Rc<RefCell<Option<Result<Answer, ExchangeError>>>>;

/// What a test expects of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Came {
    /// A whole response with this status.
    Whole(u16),
    /// A response with this status, whose content ends early.
    Cut(u16),
    /// No response, for the upstream broke the protocol.
    Broken,
    /// No response, for the upstream ended stream or connection.
    Closed,
    /// No response, and the request may be repeated.
    Unseen,
    /// Nothing yet.
    Nothing,
}

/// What is said to the upstream about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Said {
    GoAway(u32),
    /// Of stream 1.
    Reset(u32),
    Nothing,
}

pub(crate) const OK: [(&str, &str); 1] = [(":status", "200")];

impl Upstream {
    pub(crate) fn start() -> Self {
        Self::with(Http2Options::default(), PairOptions::default())
    }

    /// A connection whose settings are exchanged.
    pub(crate) fn with(options: Http2Options, pairing: PairOptions) -> Self {
        let mut upstream = Self::silent(options, pairing);
        upstream.round([settings(&[]), frame(SETTINGS, ACK, 0, [])].concat());
        upstream
    }

    /// A connection on which the server has not said anything yet; what the client begins with is read.
    pub(crate) fn silent(options: Http2Options, pairing: PairOptions) -> Self {
        let sim = Sim::new(1);
        let (near, io) = pair(PairOptions { capacity: 1 << 30, ..pairing });
        let control = near.control();
        let client = sim.block_on(Http2::connect(Arc::new(options), near, test_conn(&sim))).unwrap();
        let client = Rc::new(client);
        let mut upstream = Self { sim, client, io, control, unread: Vec::new(), decoder: Decoder::default() };
        upstream.receive();
        assert!(upstream.unread.starts_with(PREFACE));
        upstream.unread.drain(..PREFACE.len());
        upstream
    }

    /// Opens an exchange and drives it to its end in a task.
    pub(crate) fn open(&self, request: Request) -> Pending {
        self.sim.spawn_with_result(complete(self.client.open(request)))
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.sim.block_on(self.io.send(bytes)).unwrap();
    }

    /// The frames that have come by the time everything waits.
    pub(crate) fn frames(&mut self) -> Vec<Frame> {
        self.receive();
        take_frames(&mut self.unread)
    }

    pub(crate) fn round(&mut self, bytes: impl AsRef<[u8]>) -> Vec<Frame> {
        self.send(bytes);
        self.frames()
    }

    fn receive(&mut self) {
        loop {
            self.sim.run_until_quiet();
            let more = self.io.recv_now();
            if more.is_empty() {
                return;
            }
            self.unread.extend(more);
        }
    }

    /// The fields of a frame with a whole block. Each block is to be read once, in order.
    pub(crate) fn fields(&mut self, frame: &Frame) -> Vec<(String, String)> {
        self.decoder.decode(&frame.payload)
    }

    pub(crate) fn is_usable(&self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        self.client.free_slots() > 0 && self.client.poll_idle(&mut cx).is_pending()
    }
}

/// A server's bytes in answer to a GET on stream 1, what the exchange comes to, and what the server is told; another
/// exchange on the same connection must be unharmed unless it was the connection that ended. In one piece and byte by
/// byte.
pub(crate) fn check(what: &str, bytes: impl AsRef<[u8]>, came: Came, said: Said) {
    for split in [Split::AsSent, Split::Fixed(1)] {
        let mut upstream = Upstream::with(Http2Options::default(), PairOptions { split, ..PairOptions::default() });
        let tried = upstream.open(get("/tried"));
        upstream.frames();
        let other = upstream.open(get("/other"));
        let opened = upstream.frames();
        assert!(opened.iter().any(|frame| frame.is(HEADERS, 3)), "{what}: {opened:?}");
        let frames = upstream.round(&bytes);
        assert_eq!(came_of(&tried), came, "{what}, {split:?}: {:?}", tried.borrow());
        assert_eq!(said_in(&frames), said, "{what}, {split:?}: {frames:?}");
        if matches!(said, Said::GoAway(_)) {
            assert!(!upstream.is_usable() && upstream.control.has_ended(), "{what}: still open");
            let other = other.borrow();
            assert!(matches!(&*other, Some(Err(error)) if !error.unseen), "{what}: the other stream: {other:?}");
            continue;
        }
        assert!(upstream.is_usable(), "{what}");
        upstream.round(headers(3, crate::wire::END_STREAM, &OK));
        assert_eq!(came_of(&other), Came::Whole(200), "{what}: the other stream");
    }
}

pub(crate) fn came_of(exchange: &Pending) -> Came {
    match &*exchange.borrow() {
        None => Came::Nothing,
        Some(Ok(answer)) if answer.error.is_some() => Came::Cut(answer.status),
        Some(Ok(answer)) => Came::Whole(answer.status),
        Some(Err(error)) if error.unseen => Came::Unseen,
        Some(Err(error)) if error.kind == ExchangeErrorKind::Closed => Came::Closed,
        Some(Err(error)) => {
            assert!(matches!(error.kind, ExchangeErrorKind::Protocol | ExchangeErrorKind::TooLarge), "{error:?}");
            Came::Broken
        }
    }
}

pub(crate) fn said_in(frames: &[Frame]) -> Said {
    if let Some(goaway) = frames.iter().find(|frame| frame.kind == GOAWAY) {
        return Said::GoAway(goaway.number(4));
    }
    let reset = frames.iter().find(|frame| frame.is(RST_STREAM, 1));
    reset.map_or(Said::Nothing, |frame| Said::Reset(frame.number(0)))
}

pub(crate) fn get(path: &str) -> Request {
    Request { head: RequestHead::new(Method::GET, "a.example", path), body: Body::Empty }
}

pub(crate) fn post(body: Body) -> Request {
    Request { head: RequestHead::new(Method::POST, "a.example", "/"), body }
}

/// Drives an exchange to its end.
async fn complete(mut exchange: Box<dyn Exchange>) -> Result<Answer, ExchangeError> {
    let mut interims = Vec::new();
    let (head, start) = loop {
        match poll_fn(|cx| exchange.poll_head(cx)).await? {
            ExchangeEvent::Interim(head) => interims.push(head.status.as_u16()),
            ExchangeEvent::Final(head, start) => break (head, start),
        }
    };
    let mut answer = Answer {
        status: head.status.as_u16(),
        headers: Recorded::of_fields(&head.headers),
        body: Vec::new(),
        trailers: Vec::new(),
        interims,
        error: None,
    };
    let mut body = match start {
        BodyStart::Complete(body) => body,
        BodyStart::Streaming => Body::Stream(exchange),
    };
    while let Some(frame) = poll_fn(|cx| body.poll_frame(cx)).await {
        match frame {
            Ok(BodyFrame::Data(chunk)) => answer.body.extend_from_slice(&chunk),
            Ok(BodyFrame::Trailers(trailers)) => {
                answer.trailers = Recorded::of_fields(&trailers);
                break;
            }
            Err(error) => {
                answer.error = Some(error.details);
                break;
            }
        }
    }
    Ok(answer)
}

/// Content that waits for ever: nothing of it ever comes.
pub(crate) struct Never;

impl ringway_api::BodyStream for Never {
    fn poll_frame(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<BodyFrame, ringway_api::BodyError>>> {
        Poll::Pending
    }

    fn remaining(&self) -> Option<u64> {
        None
    }
}
