//! Content in both directions: streaming, back-pressure, what nobody reads.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use http::StatusCode;
use ringway_api::{Blame, Body, BodyError, BodyStream, Chunk, EndReason, Frame, Headers};
use ringway_http1::Http1Options;
use ringway_testkit::{Answer, PairOptions, TestHandler, collect};

use crate::world::Server;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// Content that a test hands out piece by piece.
#[derive(Clone, Default)]
pub(crate) struct Feed(Rc<RefCell<FeedState>>);

#[derive(Default)]
struct FeedState {
    frames: VecDeque<Option<Result<Frame, BodyError>>>,
    waker: Option<Waker>,
    length: Option<u64>,
    polled: usize,
    dropped: bool,
}

struct FeedStream(Feed);

impl Feed {
    pub(crate) fn new() -> (Body, Self) {
        let feed = Self::default();
        (feed.body(), feed)
    }

    pub(crate) fn body(&self) -> Body {
        Body::Stream(Box::new(FeedStream(self.clone())))
    }

    pub(crate) fn push(&self, bytes: impl AsRef<[u8]>) {
        self.put(Some(Ok(Frame::Data(Chunk::copy_from(bytes.as_ref())))));
    }

    pub(crate) fn trailers(&self, trailers: Headers) {
        self.put(Some(Ok(Frame::Trailers(trailers))));
    }

    pub(crate) fn fail(&self, error: BodyError) {
        self.put(Some(Err(error)));
    }

    pub(crate) fn end(&self) {
        self.put(None);
    }

    /// Whether the stream has been dropped.
    pub(crate) fn is_dropped(&self) -> bool {
        self.0.borrow().dropped
    }

    fn put(&self, frame: Option<Result<Frame, BodyError>>) {
        let mut state = self.0.borrow_mut();
        state.frames.push_back(frame);
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    }
}

impl BodyStream for FeedStream {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        let mut state = self.0.0.borrow_mut();
        state.polled += 1;
        match state.frames.pop_front() {
            Some(frame) => Poll::Ready(frame),
            None => {
                state.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }

    fn remaining(&self) -> Option<u64> {
        self.0.0.borrow().length
    }
}

impl Drop for FeedStream {
    fn drop(&mut self) {
        self.0.0.borrow_mut().dropped = true;
    }
}

fn answer_with(feed: &Feed) -> TestHandler {
    let feed = feed.clone();
    TestHandler::with(move |_, _, _| {
        let body = feed.body();
        Box::pin(async move { Answer::body(StatusCode::OK, body) })
    })
}

#[test]
fn streamed_responses_are_chunked_and_go_out_as_they_come() {
    let feed = Feed::default();
    let mut server = Server::start(answer_with(&feed));
    assert_eq!(server.round(GET), "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", "the head does not wait");
    feed.push("hello");
    assert_eq!(server.quiet(), "5\r\nhello\r\n");
    feed.push("x".repeat(5000));
    feed.push("small");
    feed.end();
    assert_eq!(server.quiet(), format!("1388\r\n{}\r\n5\r\nsmall\r\n0\r\n\r\n", "x".repeat(5000)));
    let log = server.log.borrow();
    assert_eq!(log.ends.last().unwrap().as_ref().unwrap().body_sent, 5010);
}

#[test]
fn a_small_stream_that_is_ready_goes_out_in_one_piece_with_trailers() {
    let feed = Feed::default();
    feed.push("a");
    feed.push("b");
    let mut trailers = Headers::new();
    trailers.append("X-Sum", b"2").unwrap();
    trailers.append("Content-Length", b"7").unwrap();
    feed.trailers(trailers);
    let mut server = Server::start(answer_with(&feed));
    let answer = server.round(GET);
    assert!(answer.ends_with("chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\nX-Sum: 2\r\n\r\n"), "{answer}");
    assert_eq!(server.control.sends(), 1);
}

#[test]
fn a_stream_of_known_length_must_keep_its_word() {
    for (pieces, ok) in [(&["ab", "cd"][..], true), (&["ab"][..], false), (&["abc", "de"][..], false)] {
        let feed = Feed::default();
        feed.0.borrow_mut().length = Some(4);
        let mut server = Server::start(answer_with(&feed));
        for piece in pieces {
            feed.push(piece);
        }
        feed.end();
        server.sim.block_on(server.io.send(GET)).unwrap();
        server.sim.run_until_quiet();
        let end = server.log.borrow().ends.last().cloned().unwrap().unwrap();
        assert_eq!(end.reason == EndReason::Complete, ok, "{pieces:?}");
        assert_eq!(server.control.has_reset(), !ok);
    }
}

#[test]
fn a_response_that_fails_midway_resets_the_connection() {
    let feed = Feed::default();
    let mut server = Server::start(answer_with(&feed));
    feed.push("part");
    server.round(GET);
    feed.fail(BodyError::new(Blame::Upstream, "incomplete_body"));
    server.sim.run_until_quiet();
    assert!(server.control.has_reset(), "the client must not take it for complete");
    let end = server.log.borrow().ends.last().cloned().unwrap().unwrap();
    assert!(matches!(end.reason, EndReason::Body(error) if error.details == "incomplete_body"));
}

#[test]
fn a_slow_client_slows_the_source_and_memory_stays_bounded() {
    let feed = Feed::default();
    let pairing = PairOptions { capacity: 16 << 10, ..PairOptions::default() };
    let mut server = Server::with(answer_with(&feed), Http1Options::default(), pairing);
    server.sim.block_on(server.io.send(GET)).unwrap();
    for _ in 0..1000 {
        feed.push([b'x'; 8 << 10]);
    }
    feed.end();
    server.sim.run_until_quiet();
    assert!(feed.0.borrow().polled < 6, "polled {} frames for a client that reads nothing", feed.0.borrow().polled);
    let answer = server.quiet();
    assert_eq!(answer.matches('x').count(), 1000 * (8 << 10));
    assert!(answer.ends_with("0\r\n\r\n"));
}

#[test]
fn a_slow_handler_slows_the_client() {
    let handler = TestHandler::with(|request, _, _| {
        Box::pin(async move {
            let _held = request;
            std::future::pending().await
        })
    });
    let pairing = PairOptions { capacity: 4 << 10, ..PairOptions::default() };
    let server = Server::with(handler, Http1Options::default(), pairing);
    let mut io = server.io;
    let upload = server.sim.spawn_with_result(async move {
        io.send("PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n").await.unwrap();
        for _ in 0..100 {
            io.send([b"400\r\n".as_slice(), &[b'x'; 1024], b"\r\n"].concat()).await.unwrap();
        }
    });
    server.sim.run_until_quiet();
    assert!(upload.borrow().is_none(), "the client waits");
    assert!(server.control.received() < 10 << 10, "received {}", server.control.received());
    assert!(server.ended.borrow_mut().is_none());
}

#[test]
fn chunked_uploads_arrive_with_trailers() {
    let mut server = Server::start(TestHandler::fixed("ok"));
    let upload = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n\
                  4;ext=\"a;b\"\r\nWiki\r\n05\r\npedia\r\n0\r\nX-Sum: 9\r\nTE: x\r\n\r\n";
    assert_eq!(Server::statuses(&server.round(upload)), [200]);
    let log = server.log.borrow();
    assert_eq!(log.requests[0].body, b"Wikipedia");
    assert_eq!(log.requests[0].trailers, [("X-Sum".to_owned(), "9".to_owned())]);
    assert_eq!(log.ends[0].as_ref().unwrap().body_received, 9);
}

#[test]
fn content_nobody_reads_is_dropped_or_ends_the_connection() {
    let ignore = || TestHandler::with(|_, _, _| Box::pin(async { Answer::text(StatusCode::NOT_FOUND, "") }));
    // Some that is still coming is waited for.
    let mut server = Server::start(ignore());
    let answer = server.round("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345");
    assert_eq!(Server::statuses(&answer), [404]);
    assert!(!answer.contains("close"));
    assert_eq!(Server::statuses(&server.round(format!("67890{GET}"))), [404]);
    // Too much is not.
    let mut server = Server::start(ignore());
    let answer = server.round("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n12345");
    assert!(answer.contains("connection: close"), "{answer}");
    // Nor are chunks without end.
    let mut server = Server::start(ignore());
    server.round("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n");
    for _ in 0..9 {
        server.round([b"2000\r\n".as_slice(), &[b'x'; 0x2000], b"\r\n"].concat());
    }
    assert!(server.control.has_ended());
    // Nor some that does not come.
    let mut server = Server::start(ignore());
    server.round("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345");
    server.sim.advance(std::time::Duration::from_secs(2));
    assert!(server.control.has_ended());
}

#[test]
fn malformed_content_fails_the_request() {
    for (body, details) in [
        ("5 \r\nhello\r\n0\r\n\r\n", "malformed_chunk"),
        ("0x5\r\nhello\r\n0\r\n\r\n", "malformed_chunk"),
        ("+5\r\nhello\r\n0\r\n\r\n", "malformed_chunk"),
        ("5\nhello\r\n0\r\n\r\n", "malformed_chunk"),
        ("5;\r\nhello\r\n0\r\n\r\n", "malformed_chunk"),
        ("5;a\nhello\r\n0\r\n\r\n", "malformed_chunk"),
        ("5\r\nhello0\r\n\r\n", "malformed_chunk"),
        ("5\r\nhello\n0\r\n\r\n", "malformed_chunk"),
        ("\r\n5\r\nhello\r\n0\r\n\r\n", "malformed_chunk"),
        ("10000000000000000\r\n", "chunk_size_overflow"),
        ("fffffffffffffffff\r\n", "chunk_size_overflow"),
        ("00000000000000000005\r\nhello\r\n0\r\n\r\n", "chunk_size_overflow"),
        ("0\r\nContent-Length: 5\r\n\r\n", "forbidden_trailer"),
        ("0\r\nX: y\nZ: a\r\n\r\n", "bare_lf"),
        ("0\r\nX\r\n\r\n", "invalid_field_name"),
    ] {
        let mut server = Server::start(TestHandler::with(|request, _, log| {
            Box::pin(async move {
                let recorded = collect(request).await;
                log.borrow_mut().requests.push(recorded);
                Answer::text(StatusCode::BAD_REQUEST, "")
            })
        }));
        let request = format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{body}{GET}");
        let answer = server.round(request);
        assert_eq!(Server::statuses(&answer), [400], "nothing after it is read: {body:?}");
        let log = server.log.borrow();
        let error = log.requests[0].error.as_ref().unwrap();
        assert_eq!((error.details, error.status), (details, Some(StatusCode::BAD_REQUEST)), "{body:?}");
    }
}

#[test]
fn extensions_and_trailers_are_bounded() {
    let head = "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let extended = format!("{head}{}0\r\n\r\n", format!("1;{}\r\nx\r\n", "e".repeat(100)).repeat(50));
    let trailed = format!("{head}0\r\n{}\r\n", format!("X: {}\r\n", "y".repeat(100)).repeat(90));
    for (request, details) in [(extended, "chunk_extensions_too_large"), (trailed, "trailers_too_large")] {
        let mut server = Server::start(TestHandler::fixed(""));
        server.round(request);
        assert_eq!(server.log.borrow().requests[0].error.as_ref().unwrap().details, details);
    }
}

#[test]
fn a_body_kept_beyond_its_request_reads_nothing_of_the_next() {
    let kept: Rc<RefCell<Vec<Body>>> = Rc::default();
    let keep = Rc::clone(&kept);
    let mut server = Server::start(TestHandler::with(move |request, _, _| {
        keep.borrow_mut().push(request.body);
        Box::pin(async { Answer::text(StatusCode::OK, "") })
    }));
    server.round("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n12");
    server.round(format!("345{GET}"));
    server.round("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n12");
    let first = kept.borrow_mut().remove(0);
    let mut first = first;
    let frame = server.sim.block_on(std::future::poll_fn(|cx| first.poll_frame(cx)));
    assert!(matches!(frame, Some(Err(error)) if error.details == "request_ended"));
}
