//! A server, with the test as a client that writes its frames by hand.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use http::StatusCode;
use ringway_api::{Body, BodyError, BodyStream, Chunk, ConnCx, ConnError, Frame as BodyFrame, Headers, Protocol};
use ringway_http2::{Http2, Http2Options};
use ringway_testkit::{
    Answer, Control, MemoryIo, PairOptions, Sim, Split, TestHandler, TestLog, collect, pair, test_conn,
};

use crate::hpack::Decoder;
use crate::wire::{
    ACK, END_STREAM, Frame, GOAWAY, HEADERS, NO_ERROR, PREFACE, RST_STREAM, SETTINGS, frame, headers, settings,
    take_frames,
};

/// A server's connection. `/hold` is answered when the test says so, `/large` with a mebibyte, everything else with
/// `hello` once its content has been read.
pub(crate) struct Server {
    pub(crate) sim: Sim,
    pub(crate) io: MemoryIo,
    /// The server's end.
    pub(crate) control: Control,
    pub(crate) log: Rc<RefCell<TestLog>>,
    pub(crate) conn: Rc<ConnCx>,
    pub(crate) ended: Rc<RefCell<Option<Result<(), ConnError>>>>,
    gate: Rc<Gate>,
    unread: Vec<u8>,
    decoder: Decoder,
}

/// What a server does about what it was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// A connection error with this code; the connection is closed and the breach reported.
    GoAway(u32),
    /// A stream error: the stream and the code.
    Reset(u32, u32),
    /// A response: the stream and its status.
    Answered(u32, u16),
    /// Nothing.
    Ignored,
}

#[derive(Default)]
struct Gate {
    open: Cell<bool>,
    waiting: RefCell<Vec<Waker>>,
}

/// Of the size of `/large`.
pub(crate) const LARGE: usize = 1 << 20;

/// What every request needs.
pub(crate) const GET: [(&str, &str); 4] =
    [(":method", "GET"), (":scheme", "http"), (":path", "/"), (":authority", "a.example")];
pub(crate) const POST: [(&str, &str); 4] =
    [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "a.example")];
pub(crate) const HOLD: [(&str, &str); 4] =
    [(":method", "POST"), (":scheme", "http"), (":path", "/hold"), (":authority", "a.example")];

/// The stream that is held open while others are tried.
pub(crate) const HELD: u32 = 1;
/// A stream later than any that tests use.
const LATER: u32 = 0x1_0001;

impl Server {
    /// A server that has got preface and settings, and had its own acknowledged.
    pub(crate) fn start() -> Self {
        Self::with(Http2Options::default(), PairOptions::default())
    }

    pub(crate) fn with(options: Http2Options, pairing: PairOptions) -> Self {
        let mut server = Self::silent(options, pairing);
        server.send([PREFACE, &settings(&[]), &frame(SETTINGS, ACK, 0, [])].concat());
        server.frames();
        server
    }

    /// A server that has got nothing yet.
    pub(crate) fn silent(options: Http2Options, pairing: PairOptions) -> Self {
        let sim = Sim::new(1);
        let conn = test_conn(&sim);
        // Tests are no slower than their bytes: nothing waits for room.
        let (io, far) = pair(PairOptions { capacity: 1 << 30, ..pairing });
        let gate = Rc::new(Gate::default());
        let handler = handler(Rc::clone(&gate));
        let (control, log) = (far.control(), handler.log());
        let ended = sim.spawn_with_result(Http2::serve(Arc::new(options), far, handler, Rc::clone(&conn)));
        Self { sim, io, control, log, conn, ended, gate, unread: Vec::new(), decoder: Decoder::default() }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.sim.block_on(self.io.send(bytes)).unwrap();
    }

    /// The frames that have come by the time everything waits.
    pub(crate) fn frames(&mut self) -> Vec<Frame> {
        loop {
            self.sim.run_until_quiet();
            let more = self.io.recv_now();
            if more.is_empty() {
                return take_frames(&mut self.unread);
            }
            self.unread.extend(more);
        }
    }

    /// Sends `bytes` and returns what comes of it.
    pub(crate) fn round(&mut self, bytes: impl AsRef<[u8]>) -> Vec<Frame> {
        self.send(bytes);
        self.frames()
    }

    /// The fields of a frame with a whole block. Each block is to be read once, in order.
    pub(crate) fn fields(&mut self, frame: &Frame) -> Vec<(String, String)> {
        self.decoder.decode(&frame.payload)
    }

    /// What the server did with what it was sent: the gravest of what was seen.
    pub(crate) fn outcome(&mut self) -> Outcome {
        let frames = self.frames();
        self.outcome_of(&frames)
    }

    pub(crate) fn outcome_of(&mut self, frames: &[Frame]) -> Outcome {
        let answers: Vec<_> = frames.iter().filter(|frame| frame.kind == HEADERS).collect();
        let answers: Vec<_> = answers.into_iter().map(|frame| (frame.stream, status(&self.fields(frame)))).collect();
        if let Some(goaway) = frames.iter().find(|frame| frame.kind == GOAWAY && frame.number(4) != NO_ERROR) {
            return Outcome::GoAway(goaway.number(4));
        }
        // An answer to what then is cut short, such as 431, tells more than the reset that follows it.
        if let Some((stream, status)) = answers.first() {
            return Outcome::Answered(*stream, *status);
        }
        match frames.iter().find(|frame| frame.kind == RST_STREAM) {
            Some(reset) => Outcome::Reset(reset.stream, reset.number(0)),
            None => Outcome::Ignored,
        }
    }

    /// Answers what was held.
    pub(crate) fn release(&self) {
        self.gate.open.set(true);
        self.gate.waiting.take().into_iter().for_each(Waker::wake);
    }

    /// The connection has ended for the client's fault.
    pub(crate) fn assert_closed(&mut self, what: &str) {
        assert!(self.control.has_ended(), "{what}: still open");
        let ended = self.ended.borrow();
        let error = ended.as_ref().expect(what).as_ref().expect_err(what);
        assert!(error.breach, "{what}: not reported as a breach: {error}");
    }

    /// A stream held before, and a new one, still get their answers.
    pub(crate) fn assert_alive(&mut self, what: &str) {
        let frames = self.round(headers(LATER, END_STREAM, &GET));
        assert_eq!(self.outcome_of(&frames), Outcome::Answered(LATER, 200), "{what}: a later stream");
        self.release();
        assert_eq!(self.outcome(), Outcome::Answered(HELD, 200), "{what}: the held stream");
    }

    pub(crate) fn details(&self) -> &'static str {
        match self.ended.borrow().as_ref() {
            Some(Err(error)) => error.details,
            Some(Ok(())) => "",
            None => "not ended",
        }
    }
}

/// A client's bytes, sent after the beginning of a connection and a stream that is held open, and what must come of
/// them: in one piece, and byte by byte.
pub(crate) fn check(what: &str, bytes: impl AsRef<[u8]>, expected: Outcome) {
    for split in [Split::AsSent, Split::Fixed(1)] {
        let mut server = Server::with(Http2Options::default(), PairOptions { split, ..PairOptions::default() });
        server.send(headers(HELD, 0, &HOLD));
        assert_eq!(server.frames(), []);
        server.send(&bytes);
        assert_eq!(server.outcome(), expected, "{what}, {split:?}");
        match expected {
            Outcome::GoAway(_) => server.assert_closed(what),
            _ => server.assert_alive(what),
        }
    }
}

pub(crate) fn status(fields: &[(String, String)]) -> u16 {
    match fields.first() {
        Some((name, status)) if name == ":status" => status.parse().unwrap(),
        _ => 0,
    }
}

/// `fields` with more of them.
pub(crate) fn with<'a>(fields: &[(&'a str, &'a str)], more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [fields, more].concat()
}

fn handler(gate: Rc<Gate>) -> TestHandler {
    TestHandler::with(move |request, _, log| {
        let gate = Rc::clone(&gate);
        Box::pin(async move {
            match request.head.path_and_query() {
                b"/hold" => {
                    gate.pass().await;
                    drop(request);
                    Answer::text(StatusCode::OK, "held")
                }
                b"/fields" => fields(),
                b"/large" => Answer::body(StatusCode::OK, Body::Full(Chunk::from(vec![b'x'; LARGE]))),
                _ => {
                    let recorded = collect(request).await;
                    log.borrow_mut().requests.push(recorded);
                    Answer::text(StatusCode::OK, "hello")
                }
            }
        })
    })
}

/// A response with fields that HTTP/2 does not have, and trailers.
fn fields() -> Answer {
    let mut trailers = Headers::new();
    trailers.append("X-Sum", b"1").unwrap();
    trailers.append("connection", b"x-sum").unwrap();
    let body = Body::Stream(Box::new(Frames(vec![BodyFrame::Trailers(trailers), BodyFrame::Data(Chunk::from("x"))])));
    let mut answer = Answer::body(StatusCode::OK, body);
    for (name, value) in [("X-Kept", "1"), ("Connection", "x"), ("Keep-Alive", "5"), ("Transfer-Encoding", "chunked")] {
        answer = answer.header(name, value);
    }
    answer
}

/// Content in these frames, the last one first.
struct Frames(Vec<BodyFrame>);

impl BodyStream for Frames {
    fn poll_frame(&mut self, _: &mut Context<'_>) -> Poll<Option<Result<BodyFrame, BodyError>>> {
        Poll::Ready(self.0.pop().map(Ok))
    }

    fn remaining(&self) -> Option<u64> {
        None
    }
}

impl Gate {
    async fn pass(&self) {
        poll_fn(|cx| {
            if self.open.get() {
                return Poll::Ready(());
            }
            self.waiting.borrow_mut().push(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}
