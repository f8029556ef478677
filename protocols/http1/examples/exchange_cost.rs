//! What HTTP/1.1 adds to a byte pump: nanoseconds per exchange for reading, editing and writing heads both ways, and
//! for the two connection loops around them.
//!
//! `cargo run --release -p ringway-http1 --example exchange_cost`

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "a measurement, not a worker")]

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::hint::black_box;
use std::io;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use http::Method;
use ringway_api::{
    Body, BodyStart, Chunk, ChunkQueue, EndReason, ExchangeEvent, Handler, Io, Known, LocalReply, Observer, Protocol,
    Reply, Request, Response, ResponseHead, StreamCx, StreamEnd, UpstreamConn,
};
use ringway_http1::encode::{Delimit, request_head, response_head};
use ringway_http1::head::{Asked, HeadLimits, decode_request, decode_response};
use ringway_http1::{HeaderCase, Http1, Http1Options};
use ringway_testkit::{Sim, test_conn};

const REQUEST: &str = "GET /api/v1/items/4711?expand=all HTTP/1.1\r\nHost: app.example.com\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\nAccept: application/json, text/plain, */*\r\n\
    Accept-Encoding: gzip, deflate, br\r\nCookie: session=0123456789abcdef0123456789abcdef\r\n\
    Connection: keep-alive\r\n\r\n";
const RESPONSE: &str = "HTTP/1.1 200 OK\r\nServer: app\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\n\
    Content-Type: application/json\r\nContent-Length: 1024\r\nCache-Control: no-store\r\n\
    ETag: \"0123456789abcdef\"\r\n\r\n";
const LIMITS: HeadLimits = HeadLimits { bytes: 61440, fields: 100 };
/// Short batches, the best of many: what others do on the machine then falls out.
const ROUNDS: u32 = 500;
const BATCHES: u32 = 2000;

fn main() {
    let request = Chunk::from(REQUEST.as_bytes().to_vec());
    let response = Chunk::from([RESPONSE.as_bytes(), &[b'x'; 1024]].concat());
    measure("request: decode", || {
        black_box(decode_request(black_box(&request), LIMITS, false).unwrap());
    });
    measure("request: decode, edit, encode", || {
        let (mut parts, _) = decode_request(black_box(&request), LIMITS, false).unwrap().unwrap();
        parts.head.headers.append_known(Known::XForwardedFor, b"192.0.2.1").unwrap();
        parts.head.headers.append_known(Known::XForwardedProto, b"http").unwrap();
        let mut out = Vec::with_capacity(1024);
        request_head(&parts.head, Delimit::Nothing, HeaderCase::Preserve, &mut out);
        black_box(Chunk::from(out));
    });
    measure("response: decode", || {
        black_box(
            decode_response(black_box(&response), Asked { method: &Method::GET, upgrade: None }, LIMITS).unwrap(),
        );
    });
    measure("response: decode, edit, encode", || {
        let (mut parts, _) =
            decode_response(black_box(&response), Asked { method: &Method::GET, upgrade: None }, LIMITS)
                .unwrap()
                .unwrap();
        parts.head.headers.set_known(Known::Server, b"ringway").unwrap();
        let mut out = Vec::with_capacity(1024);
        let date = || unreachable!("the response is dated");
        response_head(&parts.head, Delimit::Length(1024), false, date, HeaderCase::Preserve, &mut out);
        black_box(Chunk::from(out));
    });
    loops(&request, &response);
}

/// Both loops, one exchange after the other: the server's handler sends each request through the client.
fn loops(request: &Chunk, response: &Chunk) {
    let sim = Sim::new(1);
    let turns = Rc::new(Cell::new(0));
    let options = Arc::new(Http1Options::default());
    let upstream = Canned { bytes: response.clone(), turns: Rc::new(Cell::new(0)) };
    let handler = Forward(Rc::new(poll_now(Http1::connect(Arc::clone(&options), upstream, test_conn(&sim))).unwrap()));
    let downstream = Canned { bytes: request.clone(), turns: Rc::clone(&turns) };
    let mut serving = pin!(Http1::serve(options, downstream, handler, test_conn(&sim)));
    let mut cx = Context::from_waker(Waker::noop());
    measure("exchange: serve, forward, answer", || {
        // One request arrives; its answer is there at once, as bytes in a buffer.
        turns.set(1);
        assert!(serving.as_mut().poll(&mut cx).is_pending());
    });
}

fn measure(what: &str, mut run: impl FnMut()) {
    let mut best = f64::MAX;
    for _ in 0..BATCHES {
        let start = Instant::now();
        for _ in 0..ROUNDS {
            run();
        }
        best = best.min(start.elapsed().as_nanos() as f64 / f64::from(ROUNDS));
    }
    println!("{what:<36} {best:>7.1} ns");
}

fn poll_now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("nothing here waits"),
    }
}

/// Gives the same bytes once per turn and swallows what is sent; a send gives an answer's turn to an upstream.
struct Canned {
    bytes: Chunk,
    turns: Rc<Cell<u32>>,
}

impl Io for Canned {
    fn poll_recv(&mut self, _: &mut Context<'_>) -> Poll<io::Result<Option<Chunk>>> {
        if self.turns.get() == 0 {
            return Poll::Pending;
        }
        self.turns.set(self.turns.get() - 1);
        Poll::Ready(Ok(Some(self.bytes.clone())))
    }

    fn unread(&mut self, _: Chunk) {}

    fn poll_send(&mut self, _: &mut Context<'_>, out: &mut ChunkQueue) -> Poll<io::Result<()>> {
        while let Some(chunk) = out.pop() {
            if !chunk.starts_with(b"HTTP") {
                self.turns.set(1);
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn abort(&mut self) {}
}

struct Forward<C>(Rc<C>);

struct Ignore;

impl<C> Clone for Forward<C> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<C: UpstreamConn> Handler for Forward<C> {
    type Observer = Ignore;

    async fn handle(&self, mut request: Request, _: &StreamCx) -> Reply<Ignore> {
        request.head.headers.append_known(Known::XForwardedFor, b"192.0.2.1").unwrap();
        let mut exchange = self.0.open(request);
        let event = poll_fn(|cx| exchange.poll_head(cx)).await.unwrap();
        let response = match event {
            ExchangeEvent::Final(head, BodyStart::Complete(body)) => Response { head, body },
            _ => unreachable!("the response is whole"),
        };
        Reply { response, observer: Ignore, close: false, reset: false }
    }

    fn refuse(&self, _: LocalReply, _: &StreamCx) -> Reply<Ignore> {
        let head = ResponseHead::default();
        Reply { response: Response { head, body: Body::Empty }, observer: Ignore, close: true, reset: false }
    }
}

impl Observer for Ignore {
    fn finish(self, end: &StreamEnd) {
        assert_eq!(end.reason, EndReason::Complete);
    }
}
