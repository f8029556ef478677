//! Time, under a fake clock.

use std::time::Duration;

use http::StatusCode;
use ringway_api::{EndReason, Env};
use ringway_http1::Http1Options;
use ringway_testkit::{Answer, PairOptions, Split, TestHandler, collect};

use crate::world::Server;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";
const SECOND: Duration = Duration::from_secs(1);

#[test]
fn an_idle_connection_is_closed_after_its_time_and_not_before() {
    let mut server = Server::start(TestHandler::fixed(""));
    for _ in 0..3 {
        server.sim.advance(3599 * SECOND);
        assert_eq!(Server::statuses(&server.round(GET)), [200]);
    }
    server.sim.advance(3599 * SECOND);
    assert!(!server.is_over());
    server.sim.advance(SECOND);
    assert!(server.is_over() && !server.control.has_reset());
}

#[test]
fn idle_time_never_cuts_an_active_request() {
    let options: Http1Options = serde_json::from_str(r#"{"idle_timeout": "1s", "stream_idle_timeout": "0"}"#).unwrap();
    let handler = TestHandler::with(|_, cx, _| {
        let mut timer = cx.conn.env.timer();
        Box::pin(async move {
            timer.set_after(1000 * SECOND);
            timer.expired().await;
            Answer::text(StatusCode::OK, "late")
        })
    });
    let mut server = Server::with(handler, options, PairOptions::default());
    assert_eq!(server.round(GET), "");
    server.sim.advance(1000 * SECOND);
    assert_eq!(Server::statuses(&server.quiet()), [200]);
    server.sim.advance(SECOND);
    assert!(server.is_over());
}

#[test]
fn a_head_that_trickles_in_gets_408() {
    let mut server = Server::start(TestHandler::fixed(""));
    server.round("GET / HTTP/1.1\r\n");
    for _ in 0..5 {
        server.sim.advance(11 * SECOND);
        assert_eq!(server.round("X: y\r\n"), "");
    }
    server.sim.advance(4 * SECOND);
    assert_eq!(server.quiet(), "");
    server.sim.advance(SECOND);
    let answer = server.quiet();
    assert_eq!(Server::statuses(&answer), [408]);
    assert!(answer.contains("connection: close"));
    assert_eq!(server.log.borrow().refused[0].details, "request_headers_timeout");
    // The next request of a kept connection has its time anew.
    let mut server = Server::start(TestHandler::fixed(""));
    server.round(GET);
    server.sim.advance(100 * SECOND);
    server.round("GET / HT");
    server.sim.advance(59 * SECOND);
    assert_eq!(Server::statuses(&server.round("TP/1.1\r\nHost: a\r\n\r\n")), [200]);
}

#[test]
fn content_that_stops_coming_fails_with_408() {
    let handler = TestHandler::with(|request, _, log| {
        Box::pin(async move {
            let recorded = collect(request).await;
            let status = recorded.error.as_ref().and_then(|error| error.status);
            log.borrow_mut().requests.push(recorded);
            Answer::text(status.unwrap_or(StatusCode::OK), "")
        })
    });
    let mut server = Server::start(handler);
    server.round("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n1");
    for _ in 0..3 {
        server.sim.advance(299 * SECOND);
        assert_eq!(server.round("2"), "", "whatever moves in time goes on");
    }
    server.sim.advance(300 * SECOND);
    let answer = server.quiet();
    assert_eq!(Server::statuses(&answer), [408]);
    assert_eq!(server.log.borrow().requests[0].error.as_ref().unwrap().details, "stream_idle_timeout");
}

#[test]
fn a_client_that_takes_nothing_is_reset() {
    let handler = TestHandler::new(|_| Answer::body(StatusCode::OK, ringway_api::Body::Full(vec![0; 100_000].into())));
    let pairing = PairOptions { capacity: 1000, split: Split::AsSent, ..PairOptions::default() };
    let mut server = Server::with(handler, Http1Options::default(), pairing);
    server.sim.block_on(server.io.send(GET)).unwrap();
    for _ in 0..3 {
        server.sim.advance(299 * SECOND);
        assert!(!server.io.recv_now().is_empty(), "whatever moves in time goes on");
    }
    server.sim.advance(301 * SECOND);
    assert!(server.is_over() && server.control.has_reset());
    let end = server.log.borrow().ends[0].clone().unwrap();
    assert_eq!(end.reason, EndReason::Downstream("stream_idle_timeout"));
    assert!(Env::now(&server.sim).0 > 0);
}

#[test]
fn a_refused_client_may_finish_sending_but_not_for_ever() {
    let mut server = Server::start(TestHandler::fixed(""));
    let answer = server.round("BAD\r\n\r\n");
    assert_eq!(Server::statuses(&answer), [400]);
    for _ in 0..3 {
        server.round([b'x'; 1000]);
    }
    assert!(!server.is_over(), "a close now would reset what the client has not read yet");
    server.sim.advance(2 * SECOND);
    assert!(server.is_over());
    let mut server = Server::start(TestHandler::fixed(""));
    server.round("BAD\r\n\r\n");
    for _ in 0..40 {
        if server.is_over() {
            break;
        }
        server.round(vec![b'x'; 60_000]);
    }
    assert!(server.is_over(), "nor without bound");
}
