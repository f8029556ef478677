//! Tunnels on an upstream connection: what is asked, what counts as yes, what is sent when.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

use http::Method;
use ringway_api::{
    Blame, Body, BodyError, BodyStart, BodyStream, Exchange, ExchangeError, ExchangeErrorKind, ExchangeEvent, Frame,
    Io, Request, RequestHead, Tunnel, UpstreamConn,
};
use ringway_http1::Http1Options;
use ringway_testkit::PairOptions;

use crate::bodies::Feed;
use crate::tunnel::{YES, answer};
use crate::world::{Upstream, complete, get};

/// The status of a tunnel and what carries it.
type Opened = Result<(u16, Box<dyn Exchange>), ExchangeError>;

struct Watched<F>(Body, F);

impl<F: FnMut(&mut Context<'_>)> BodyStream for Watched<F> {
    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame, BodyError>>> {
        (self.1)(cx);
        self.0.poll_frame(cx)
    }

    fn remaining(&self) -> Option<u64> {
        None
    }
}

/// `body`, with `before` called ahead of every poll.
pub(crate) fn watched(body: Body, before: impl FnMut(&mut Context<'_>) + 'static) -> Body {
    Body::Stream(Box::new(Watched(body, before)))
}

fn upgrade(body: Body) -> Request {
    let mut head = RequestHead::new(Method::GET, "a.example", "/chat");
    head.set_upgrade(b"WebSocket");
    Request { head, body }
}

fn connect(body: Body) -> Request {
    let mut head = RequestHead::new(Method::CONNECT, "b.example:443", "");
    head.tunnel = Some(Tunnel::Connect);
    Request { head, body }
}

/// Opens an exchange and has its final head awaited.
fn open(up: &Upstream, request: Request) -> Rc<RefCell<Option<Opened>>> {
    let mut exchange = up.client.open(request);
    let told = up.sim.spawn_with_result(async move {
        loop {
            match poll_fn(|cx| exchange.poll_head(cx)).await? {
                ExchangeEvent::Interim(_) => {}
                ExchangeEvent::Final(head, BodyStart::Streaming) => return Ok((head.status.as_u16(), exchange)),
                ExchangeEvent::Final(_, BodyStart::Complete(_)) => panic!("complete"),
            }
        }
    });
    up.sim.run_until_quiet();
    told
}

#[test]
fn a_tunnels_bytes_wait_for_the_answer() {
    for (request, asked, yes) in [
        (
            upgrade as fn(Body) -> Request,
            "GET /chat HTTP/1.1\r\nhost: a.example\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
            YES,
        ),
        (connect, "CONNECT b.example:443 HTTP/1.1\r\nhost: b.example:443\r\n\r\n", "HTTP/1.1 204 No Content\r\n\r\n"),
    ] {
        let mut up = Upstream::start();
        let (body, feed) = Feed::new();
        feed.push("first");
        let told = open(&up, request(body));
        assert_eq!(up.io.recv_now(), asked.as_bytes());
        answer(&mut up, "HTTP/1.1 103 Early Hints\r\n\r\n");
        up.sim.run_until_quiet();
        assert_eq!(up.io.recv_now(), b"");
        answer(&mut up, &format!("{yes}down"));
        up.sim.run_until_quiet();
        let (_, mut exchange) = told.take().unwrap().unwrap();
        assert!(exchange.remaining().is_none());
        let frame = up.sim.block_on(poll_fn(|cx| exchange.poll_frame(cx)));
        assert!(matches!(frame, Some(Ok(Frame::Data(data))) if &*data == b"down"));
        assert_eq!(up.io.recv_now(), b"first");
        // Whatever becomes of it, no other request comes here.
        assert!(!up.is_reusable());
        feed.end();
        up.sim.block_on(up.io.finish()).unwrap();
        assert!(up.sim.block_on(poll_fn(|cx| exchange.poll_frame(cx))).is_none());
        drop(exchange);
        assert!(!up.is_reusable() && up.control.has_ended() && !up.control.has_reset());
    }
}

#[test]
fn a_refusal_is_a_response_and_the_connection_goes_on() {
    for request in [upgrade as fn(Body) -> Request, connect] {
        let mut up = Upstream::start();
        let (body, feed) = Feed::new();
        feed.push("never");
        let told = up.sim.spawn_with_result(complete(up.client.open(request(body))));
        up.sim.run_until_quiet();
        up.io.recv_now();
        answer(&mut up, "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno");
        up.sim.run_until_quiet();
        let refused = told.take().unwrap().unwrap();
        assert_eq!((refused.status, refused.body.as_slice()), (403, &b"no"[..]));
        assert!(feed.is_dropped() && up.is_reusable());
        assert_eq!(up.io.recv_now(), b"", "nothing of the body is sent");
        let told = up.send(get("/"));
        assert!(up.io.recv_now().starts_with(b"GET / HTTP/1.1\r\n"));
        answer(&mut up, "HTTP/1.1 204 No Content\r\n\r\n");
        up.sim.run_until_quiet();
        assert_eq!(told.take().unwrap().unwrap().status, 204);
    }
}

#[test]
fn an_upgrade_that_was_not_asked_for_is_an_error() {
    for request in [connect(Body::Empty), get("/")] {
        let mut up = Upstream::start();
        let told = up.sim.spawn_with_result(complete(up.client.open(request)));
        up.sim.run_until_quiet();
        answer(&mut up, YES);
        up.sim.run_until_quiet();
        let error = told.take().unwrap().unwrap_err();
        assert_eq!((error.kind, error.details), (ExchangeErrorKind::Protocol, "unsolicited_upgrade"));
        assert!(up.control.has_reset());
    }
}

#[test]
fn a_yes_that_comes_early_loses_nothing_of_the_request() {
    let mut up = Upstream::with(Http1Options::default(), PairOptions { capacity: 16, ..PairOptions::default() });
    let (body, feed) = Feed::new();
    feed.push("tunnel");
    feed.end();
    let told = open(&up, upgrade(body));
    answer(&mut up, YES);
    up.sim.run_until_quiet();
    let (status, exchange) = told.take().unwrap().unwrap();
    assert_eq!(status, 101);
    let mut body = Body::Stream(exchange);
    let mut got = Vec::new();
    for _ in 0..40 {
        crate::tunnel_ends::take_now(&mut body);
        got.extend(up.io.recv_now());
    }
    let got = String::from_utf8(got).unwrap();
    assert_eq!(got, "GET /chat HTTP/1.1\r\nhost: a.example\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\ntunnel");
}

#[test]
fn a_way_up_that_fails_ends_the_tunnel() {
    let mut up = Upstream::start();
    let (body, feed) = Feed::new();
    let told = open(&up, upgrade(body));
    answer(&mut up, YES);
    up.sim.run_until_quiet();
    let (_, mut exchange) = told.take().unwrap().unwrap();
    let failed = up.sim.spawn_with_result(async move { poll_fn(|cx| exchange.poll_frame(cx)).await });
    up.sim.run_until_quiet();
    feed.fail(BodyError::new(Blame::Downstream, "reset"));
    up.sim.run_until_quiet();
    let failed = failed.take().expect("the end should be told").unwrap().unwrap_err();
    assert_eq!((failed.blame, failed.details), (Blame::Downstream, "reset"));
    assert!(up.control.has_reset());
}

#[test]
fn dropping_a_tunnel_resets_it() {
    let mut up = Upstream::start();
    let (body, feed) = Feed::new();
    let told = open(&up, upgrade(body));
    answer(&mut up, YES);
    up.sim.run_until_quiet();
    drop(told.take());
    assert!(up.control.has_reset() && feed.is_dropped());

    // And an upstream's reset is an error, not an end.
    let mut up = Upstream::start();
    let told = open(&up, upgrade(Body::Empty));
    answer(&mut up, YES);
    up.sim.run_until_quiet();
    let (_, mut exchange) = told.take().unwrap().unwrap();
    up.io.abort();
    let failed = up.sim.block_on(poll_fn(|cx| exchange.poll_frame(cx))).unwrap().unwrap_err();
    assert_eq!(failed.blame, Blame::Upstream);
}
