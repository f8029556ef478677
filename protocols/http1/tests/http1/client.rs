//! Upstream connections: what they send, what they accept, when they are used again.

use std::future::poll_fn;
use std::io;
use std::task::Poll;

use http::Method;
use ringway_api::{Blame, Body, BodyError, Chunk, ExchangeErrorKind, Io, Request, RequestHead, UpstreamConn};
use ringway_http1::Http1Options;
use ringway_testkit::PairOptions;

use crate::bodies::Feed;
use crate::world::{Upstream, get, post, text};

#[test]
fn requests_are_written_whole_and_answers_read() {
    let mut up = Upstream::start();
    let mut request = get("/p?q");
    request.head.headers.append("X-One", b"1").unwrap();
    request.head.headers.append("Connection", b"x").unwrap();
    request.head.headers.append("te", b"trailers").unwrap();
    let result = up.send(request);
    let sent = String::from_utf8(up.io.recv_now()).unwrap();
    assert_eq!(sent, "GET /p?q HTTP/1.1\r\nhost: a.example\r\nX-One: 1\r\nte: trailers\r\nconnection: te\r\n\r\n");
    assert!(!up.is_reusable());
    up.sim.block_on(up.io.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nKeep-Alive: 5\r\nX: y\r\n\r\nok")).unwrap();
    up.sim.run_until_quiet();
    let answer = result.take().unwrap().unwrap();
    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"ok"[..]));
    let headers: Vec<_> = answer.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(headers, ["Content-Length", "X"]);
    assert!(up.is_reusable());
    assert_eq!(up.control.pooled(), 0);
}

#[test]
fn small_content_goes_with_the_head_and_large_content_as_it_is() {
    let mut up = Upstream::start();
    drop(up.send(post(text("hello"))));
    assert_eq!(up.control.sends(), 1);
    let sent = up.io.recv_now();
    assert!(sent.ends_with(b"content-length: 5\r\n\r\nhello"));
    let mut up = Upstream::start();
    drop(up.send(post(Body::Full(Chunk::from(vec![b'x'; 20_000])))));
    assert_eq!(
        up.io.recv_now().len(),
        20_000 + "POST / HTTP/1.1\r\nhost: a.example\r\ncontent-length: 20000\r\n\r\n".len()
    );
    let mut up = Upstream::start();
    drop(up.send(post(Body::Empty)));
    assert!(up.io.recv_now().ends_with(b"content-length: 0\r\n\r\n"), "POST says that there is none");
}

#[test]
fn what_a_response_says_decides_on_reuse() {
    for (response, body, reusable) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", "ok", true),
        ("HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", "", true),
        ("HTTP/1.1 204 No Content\r\n\r\n", "", true),
        ("HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", "", true),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", "", true),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", "ok", true),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n", "ok", true),
        ("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", "ok", false),
        ("HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", "ok", false),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\n", "ok", false),
    ] {
        let mut up = Upstream::start();
        let answer = up.answer(response.as_bytes()).unwrap();
        assert_eq!((answer.body.as_slice(), up.is_reusable()), (body.as_bytes(), reusable), "{response}");
        if reusable {
            assert_eq!(up.answer(response.as_bytes()).unwrap(), answer, "a second time");
        }
    }
}

#[test]
fn content_up_to_the_end_of_the_connection() {
    let mut up = Upstream::start();
    let result = up.send(get("/"));
    up.sim.block_on(async {
        up.io.send("HTTP/1.1 200 OK\r\n\r\nall of").await.unwrap();
        up.io.send(" it").await.unwrap();
        up.io.finish().await.unwrap();
    });
    up.sim.run_until_quiet();
    assert_eq!(result.take().unwrap().unwrap().body, b"all of it");
    assert!(!up.is_reusable());
}

#[test]
fn responses_to_head_have_no_content() {
    let mut up = Upstream::start();
    let head = RequestHead::new(Method::HEAD, "a", "/");
    let result = up.send(Request { head, body: Body::Empty });
    up.sim.block_on(up.io.send("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n")).unwrap();
    up.sim.run_until_quiet();
    let answer = result.take().unwrap().unwrap();
    assert_eq!((answer.body.len(), answer.headers.len()), (0, 1));
    assert!(up.is_reusable());
}

#[test]
fn interim_responses_come_first_and_not_without_end() {
    let mut up = Upstream::start();
    let answer = up
        .answer(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 102 P\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        .unwrap();
    assert_eq!((answer.interims, answer.status), (vec![103, 102], 200));
    let flood = b"HTTP/1.1 103 Early Hints\r\n\r\n".repeat(100);
    let error = up.answer(&flood).unwrap_err();
    assert_eq!((error.kind, error.details), (ExchangeErrorKind::Protocol, "too_many_interim_responses"));
}

#[test]
fn responses_that_could_be_read_two_ways_are_never_passed_on() {
    for (response, details) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n", "chunked_and_content_length"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok", "repeated_content_length"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2, 2\r\n\r\nok", "invalid_content_length"),
        ("HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok", "invalid_content_length"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nok", "invalid_transfer_encoding"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\nok", "unknown_transfer_coding"),
        (
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
            "invalid_transfer_encoding",
        ),
        ("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "transfer_encoding_in_http_1_0"),
        ("HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nok", "content_in_bodiless_response"),
        ("HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", "content_in_bodiless_response"),
        ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", "unsolicited_upgrade"),
        ("HTTP/1.1 200 OK\nContent-Length: 0\n\n", "bare_lf"),
        ("HTTP/1.1 200 OK\r\nX: y\nContent-Length: 0\r\n\r\n", "bare_lf"),
        ("HTTP/1.1 200 OK\r\nX: y\r\n z\r\n\r\n", "invalid_field_name"),
        ("HTTP/1.1 200 OK\r\nX : y\r\n\r\n", "invalid_field_name"),
        ("HTTP/1.1  200 OK\r\n\r\n", "invalid_status"),
        ("HTTP/1.1 999 Odd\r\n\r\n", "invalid_status"),
        ("HTTP/1.1 099 Odd\r\n\r\n", "invalid_status"),
        ("HTTP/2.0 200 OK\r\n\r\n", "invalid_version"),
        ("\r\nHTTP/1.1 200 OK\r\n\r\n", "invalid_first_line"),
        ("ICY 200 OK\r\n\r\n", "invalid_first_line"),
    ] {
        let mut up = Upstream::start();
        let error = up.answer(response.as_bytes()).unwrap_err();
        assert_eq!((error.kind, error.details), (ExchangeErrorKind::Protocol, details), "{response}");
        assert!(!error.unseen && !up.is_reusable());
        assert!(up.control.has_reset(), "the connection is dropped");
    }
}

#[test]
fn oversized_heads_are_told_apart() {
    let big = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "y".repeat(70_000));
    let error = Upstream::start().answer(big.as_bytes()).unwrap_err();
    assert_eq!(error.kind, ExchangeErrorKind::TooLarge);
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(101));
    let error = Upstream::start().answer(many.as_bytes()).unwrap_err();
    assert_eq!(error.kind, ExchangeErrorKind::TooLarge);
}

#[test]
fn an_idle_connection_notices_its_end() {
    for how in 0..3 {
        let mut up = Upstream::start();
        up.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
        let client = std::rc::Rc::clone(&up.client);
        let over = up.sim.spawn_with_result(async move { poll_fn(|cx| client.poll_idle(cx)).await });
        up.sim.run_until_quiet();
        assert!(over.borrow().is_none() && up.is_reusable());
        match how {
            0 => up.sim.block_on(up.io.finish()).unwrap(),
            1 => up.io.abort(),
            _ => up.sim.block_on(up.io.send("HTTP/1.1 200 OK\r\n\r\n")).unwrap(),
        }
        up.sim.run_until_quiet();
        assert!(over.borrow().is_some() && !up.is_reusable());
    }
}

#[test]
fn a_request_that_went_nowhere_is_given_back() {
    // The upstream closes while the request is on its way.
    let mut up = Upstream::start();
    up.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
    let mut exchange = up.client.open(post(text("again")));
    // Closed before anything is sent.
    drop(up.io);
    let error = up.sim.block_on(poll_fn(|cx| exchange.poll_head(cx))).unwrap_err();
    assert_eq!((error.kind, error.unseen), (ExchangeErrorKind::Closed, true));
    let request = exchange.reclaim().expect("the request");
    assert_eq!((request.head.authority(), request.body.remaining()), (&b"a.example"[..], Some(5)));
}

#[test]
fn a_request_that_crossed_the_close_is_unseen_only_if_that_is_certain() {
    for (seen, fresh) in [(false, false), (true, false), (true, true)] {
        let mut up = Upstream::start();
        if !fresh {
            up.answer(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
        }
        // Held back on the way: the peer's kernel has acknowledged nothing.
        up.control.stall_sent(!seen);
        let mut exchange = up.client.open(post(text("again")));
        let mut polled = false;
        let error = up.sim.block_on(poll_fn(|cx| {
            let polling = exchange.poll_head(cx);
            if !std::mem::replace(&mut polled, true) {
                assert!(polling.is_pending());
                up.control.fail_recv(io::ErrorKind::ConnectionReset);
            }
            polling
        }));
        let error = error.unwrap_err();
        assert_eq!((error.kind, error.unseen), (ExchangeErrorKind::Closed, !seen), "seen {seen} fresh {fresh}");
        assert_eq!(exchange.reclaim().is_some(), !fresh, "kept as long as it may be asked for");
    }
}

#[test]
fn a_failing_request_body_is_the_requests_fault() {
    let up = Upstream::start();
    let (body, feed) = Feed::new();
    let result = up.send(post(body));
    feed.push("part");
    up.sim.run_until_quiet();
    feed.fail(BodyError::new(Blame::Downstream, "reset").with_status(http::StatusCode::BAD_REQUEST));
    up.sim.run_until_quiet();
    let error = result.take().unwrap().unwrap_err();
    assert_eq!((error.kind, error.blame, error.details), (ExchangeErrorKind::RequestBody, Blame::Downstream, "reset"));
    assert!(up.control.has_reset(), "half a request must not look like a whole one");
}

#[test]
fn an_early_response_is_passed_on_and_costs_the_connection() {
    let mut up = Upstream::start();
    let (body, feed) = Feed::new();
    let result = up.send(post(body));
    feed.push("part");
    up.sim.run_until_quiet();
    up.sim.block_on(up.io.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno")).unwrap();
    up.sim.run_until_quiet();
    assert_eq!(result.take().unwrap().unwrap().status, 413);
    assert!(!up.is_reusable());

    // One whose request ends before it does is as good as any.
    let mut up = Upstream::start();
    let (body, feed) = Feed::new();
    let result = up.send(post(body));
    up.sim.block_on(up.io.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nec")).unwrap();
    feed.push("ec");
    feed.end();
    up.sim.run_until_quiet();
    up.sim.block_on(up.io.send("ho")).unwrap();
    up.sim.run_until_quiet();
    assert_eq!(result.take().unwrap().unwrap().body, b"echo");
    assert!(up.is_reusable());
}

#[test]
fn dropping_an_exchange_cancels_it() {
    let up = Upstream::start();
    let mut exchange = up.client.open(get("/"));
    up.sim.block_on(poll_fn(|cx| {
        assert!(exchange.poll_head(cx).is_pending());
        Poll::Ready(())
    }));
    drop(exchange);
    assert!(up.control.has_reset() && !up.is_reusable());
}

#[test]
fn a_draining_connection_takes_nothing_new() {
    let mut up = Upstream::start();
    let result = up.send(get("/"));
    up.client.drain();
    up.sim.block_on(up.io.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")).unwrap();
    up.sim.run_until_quiet();
    assert!(result.take().unwrap().is_ok());
    assert!(!up.is_reusable());
    let up = Upstream::with(Http1Options::default(), PairOptions::default());
    up.conn.drain();
    assert_eq!(up.client.free_slots(), 0);
}

#[test]
fn a_response_cut_short_is_an_error() {
    for (response, details) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nok", "incomplete_body"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nok", "incomplete_body"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nokX\r\n", "malformed_chunk"),
    ] {
        let mut up = Upstream::start();
        let result = up.send(get("/"));
        up.sim.block_on(up.io.send(response)).unwrap();
        up.sim.block_on(up.io.finish()).unwrap();
        up.sim.run_until_quiet();
        assert_eq!(result.take().unwrap().unwrap().error.as_deref(), Some(details), "{response}");
        assert!(!up.is_reusable());
    }
}
