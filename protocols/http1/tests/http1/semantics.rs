//! What requests mean and how responses are shaped.

use http::StatusCode;
use ringway_api::{Body, Chunk, EndReason, Response, StreamEnd};
use ringway_http1::{HeaderCase, Http1Options};
use ringway_testkit::{Answer, PairOptions, TestHandler};

use crate::world::{Server, head};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn a_get_is_answered_and_the_connection_kept() {
    let mut server = Server::start(TestHandler::fixed("hello"));
    for _ in 0..3 {
        let answer = server.round("GET /x?y HTTP/1.1\r\nHost: a.example:80\r\nX-One: 1\r\n\r\n");
        assert_eq!(answer, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello");
    }
    let log = server.log.borrow();
    let request = &log.requests[2];
    assert_eq!((request.authority.as_str(), request.target.as_str()), ("a.example:80", "/x?y"));
    assert_eq!(request.headers, [("X-One".to_owned(), "1".to_owned())]);
    let end = StreamEnd { reason: EndReason::Complete, body_sent: 5, body_received: 0 };
    assert_eq!(log.ends, vec![Some(end); 3]);
    assert!(!server.is_over());
}

#[test]
fn one_get_costs_one_send_and_no_needless_poll() {
    let mut server = Server::start(TestHandler::fixed("hello"));
    server.round(GET);
    let (polls, arms) = (server.sim.polls(), server.sim.timer_arms());
    let (recvs, sends) = (server.control.recvs(), server.control.sends());
    server.round(GET);
    assert_eq!(server.sim.polls() - polls, 1, "woken once");
    assert_eq!(server.sim.timer_arms(), arms, "the timer moves without being armed again");
    assert_eq!(
        (server.control.recvs() - recvs, server.control.sends() - sends),
        (2, 1),
        "one recv, one wait, one send"
    );
    assert_eq!(server.control.pooled(), 0, "an idle connection holds no buffer");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let mut server = Server::start(TestHandler::new(|request| {
        Answer::body(StatusCode::OK, Body::Full(Chunk::copy_from(request.target.as_bytes())))
    }));
    let many: String = (0..100).map(|n| format!("GET /{n} HTTP/1.1\r\nHost: a\r\n\r\n")).collect();
    let answer = server.round(many);
    let bodies: Vec<_> = answer.lines().filter(|line| line.starts_with('/')).map(str::to_owned).collect();
    let expected: Vec<_> = (0..100).map(|n| format!("/{n}")).collect();
    // Each body is followed by the next response's status line.
    let bodies: Vec<_> = bodies.iter().map(|b| b.trim_end_matches("HTTP/1.1 200 OK")).collect();
    assert_eq!(bodies, expected);
}

#[test]
fn the_client_ends_the_connection_by_asking_or_by_closing() {
    let mut server = Server::start(TestHandler::fixed("x"));
    let answer = server.round("GET / HTTP/1.1\r\nHost: a\r\nConnection: foo, Close\r\nFoo: 1\r\n\r\n");
    assert_eq!(answer, "HTTP/1.1 200 OK\r\ncontent-length: 1\r\nconnection: close\r\n\r\nx");
    assert!(server.log.borrow().requests[0].headers.is_empty(), "what Connection names goes no further");
    assert!(server.control.has_ended());
    drop(server.io);
    server.sim.run_until_quiet();
    assert!(server.ended.borrow().as_ref().unwrap().is_ok());

    let mut server = Server::start(TestHandler::fixed("x"));
    server.round(GET);
    server.sim.block_on(server.io.finish()).unwrap();
    server.sim.run_until_quiet();
    assert!(server.ended.borrow().as_ref().unwrap().is_ok());
}

#[test]
fn half_close_still_gets_its_answer() {
    let mut server = Server::start(TestHandler::fixed("x"));
    server.sim.block_on(async {
        server.io.send(GET).await.unwrap();
        server.io.finish().await.unwrap();
    });
    assert_eq!(Server::statuses(&server.quiet()), [200]);
    assert!(server.is_over());
}

#[test]
fn fields_for_this_connection_go_no_further() {
    let mut server = Server::start(TestHandler::fixed(""));
    server.round(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, x-secret\r\nX-Secret: 1\r\nKeep-Alive: 5\r\n\
         Proxy-Connection: x\r\nTE: gzip, trailers\r\nTrailer: x-sum\r\nUpgrade: h2c\r\nX-Kept: 1\r\n\r\n",
    );
    let log = server.log.borrow();
    let names: Vec<_> = log.requests[0].headers.iter().map(|(name, _)| name.as_str()).collect();
    assert_eq!(names, ["Trailer", "X-Kept", "te"]);
    assert_eq!(log.requests[0].header("te"), Some("trailers"));
}

#[test]
fn responses_carry_content_only_where_they_may() {
    for (request, status, expected) in [
        ("HEAD", 200, "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"),
        ("GET", 204, "HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", 304, "HTTP/1.1 304 Not Modified\r\n\r\n"),
        ("GET", 404, "HTTP/1.1 404 Not Found\r\ncontent-length: 5\r\n\r\nhello"),
        ("GET", 299, "HTTP/1.1 299 \r\ncontent-length: 5\r\n\r\nhello"),
    ] {
        let status = StatusCode::from_u16(status).unwrap();
        let mut server = Server::start(TestHandler::new(move |_| Answer::text(status, "hello")));
        let bytes = format!("{request} / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!(server.round(bytes), expected, "{request} {status}");
        assert_eq!(Server::statuses(&server.round(GET)), [status.as_u16()], "and goes on");
    }
}

#[test]
fn a_head_response_repeats_the_length_it_was_given() {
    let handler = TestHandler::new(|_| Answer::text(StatusCode::OK, "").header("Content-Length", "1234"));
    let mut server = Server::start(handler);
    assert_eq!(server.round("HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"), "HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n");
    assert_eq!(server.round(GET), "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", "but content has its own");
}

#[test]
fn hosts_and_targets() {
    let mut server = Server::start(TestHandler::fixed(""));
    for (request, authority, target) in [
        ("GET http://b.example:8080/p?q HTTP/1.1\r\nHost: a", "b.example:8080", "/p?q"),
        ("GET http://b.example HTTP/1.1\r\nHost: a", "b.example", "/"),
        ("GET http://b.example?q=/ HTTP/1.1\r\nHost: a", "b.example", "/?q=/"),
        ("OPTIONS http://b.example HTTP/1.1\r\nHost: a", "b.example", "*"),
        ("OPTIONS * HTTP/1.1\r\nHost: a", "a", "*"),
        ("GET //x HTTP/1.1\r\nhost:[::1]:80 \t", "[::1]:80", "//x"),
    ] {
        assert_eq!(Server::statuses(&server.round(format!("{request}\r\n\r\n"))), [200], "{request}");
        let log = server.log.borrow();
        let seen = log.requests.last().unwrap();
        assert_eq!((seen.authority.as_str(), seen.target.as_str()), (authority, target));
    }
}

#[test]
fn an_upload_waits_for_100_and_gets_it_when_it_is_wanted() {
    let mut server = Server::start(TestHandler::new(|_| Answer::text(StatusCode::OK, "done")));
    let head = "PUT / HTTP/1.1\r\nHost: a\r\nExpect: 100-Continue\r\nContent-Length: 4\r\n\r\n";
    assert_eq!(server.round(head), "HTTP/1.1 100 Continue\r\n\r\n");
    assert_eq!(Server::statuses(&server.round("body")), [200]);
    assert_eq!(server.log.borrow().requests[0].body, b"body");
    assert_eq!(server.log.borrow().requests[0].header("expect"), None);
    // Content that is already there needs no 100.
    assert_eq!(Server::statuses(&server.round(format!("{head}body"))), [200]);
    assert!(server.round(format!("{head}bo")).is_empty());
    assert_eq!(Server::statuses(&server.round("dy")), [200]);

    // A handler that does not want it: no 100, and the connection cannot go on.
    let refuse = TestHandler::with(|_, _, _| Box::pin(async { Answer::text(StatusCode::FORBIDDEN, "no") }));
    let mut server = Server::start(refuse);
    let answer = server.round(head);
    assert_eq!(Server::statuses(&answer), [403]);
    assert!(answer.contains("connection: close"), "{answer}");
}

#[test]
fn interim_responses_go_ahead_of_the_final_one() {
    let handler = TestHandler::with(|_, cx, _| {
        Box::pin(async move {
            let mut hints = head(103);
            hints.headers.append("link", b"</style.css>; rel=preload").unwrap();
            cx.send_interim(hints);
            cx.send_interim(head(100));
            Answer::text(StatusCode::OK, "")
        })
    });
    let answer = Server::start(handler).round(GET);
    assert_eq!(
        answer,
        "HTTP/1.1 103 Early Hints\r\nlink: </style.css>; rel=preload\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
    );
}

#[test]
fn http_1_0_is_off_until_it_is_allowed() {
    let request = "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    let answer = Server::start(TestHandler::fixed("x")).round(request);
    assert_eq!(Server::statuses(&answer), [426]);
    let options = Http1Options { allow_http_1_0: true, ..Http1Options::default() };
    let mut server = Server::with(TestHandler::fixed("x"), options, PairOptions::default());
    let answer = server.round(request);
    assert_eq!(answer, "HTTP/1.1 200 OK\r\ncontent-length: 1\r\nconnection: close\r\n\r\nx");
    assert_eq!(server.log.borrow().requests[0].authority, "");
}

#[test]
fn field_names_are_written_as_told() {
    for (case, expected) in [
        (HeaderCase::Preserve, "X-mIxed: 1\r\ncontent-length: 0"),
        (HeaderCase::Lower, "x-mixed: 1\r\ncontent-length: 0"),
        (HeaderCase::Title, "X-Mixed: 1\r\nContent-Length: 0"),
    ] {
        let handler = TestHandler::new(|_| Answer::text(StatusCode::OK, "").header("X-mIxed", "1"));
        let options = Http1Options { header_case: case, ..Http1Options::default() };
        let answer = Server::with(handler, options, PairOptions::default()).round(GET);
        assert!(answer.contains(expected), "{answer}");
    }
}

#[test]
fn draining_and_the_request_limit_end_connections_in_order() {
    let mut server = Server::start(TestHandler::fixed(""));
    server.round(GET);
    server.conn.drain();
    server.sim.run_until_quiet();
    assert!(server.is_over(), "an idle connection closes at once");

    let mut server = Server::start(TestHandler::new(|_| Answer::text(StatusCode::OK, "")));
    let answer = server.round("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nx");
    assert_eq!(answer, "");
    server.conn.drain();
    let answer = server.round("y");
    assert!(answer.contains("200 OK") && answer.contains("connection: close"), "a busy one after its response");

    let options = Http1Options { max_requests_per_connection: 2, ..Http1Options::default() };
    let mut server = Server::with(TestHandler::fixed(""), options, PairOptions::default());
    assert!(!server.round(GET).contains("close"));
    assert!(server.round(GET).contains("connection: close"));
}

#[test]
fn a_reset_cancels_the_request_under_way() {
    let handler = TestHandler::with(|_, _, _| Box::pin(std::future::pending()));
    let mut server = Server::start(handler);
    server.round(GET);
    ringway_api::Io::abort(&mut server.io);
    server.sim.run_until_quiet();
    assert!(server.ended.borrow().as_ref().unwrap().is_err());
    assert_eq!(server.log.borrow().cancelled, 1);
}

#[test]
fn responses_say_when_they_were_made() {
    let mut server = Server::start(TestHandler::fixed(""));
    server.sim.block_on(server.io.send(GET)).unwrap();
    server.sim.run_until_quiet();
    let answer = String::from_utf8(server.io.recv_now()).unwrap();
    assert!(answer.contains("date: Thu, 01 Jan 2026 00:00:00 GMT\r\n"), "{answer}");
    let dated = TestHandler::new(|_| Answer::text(StatusCode::OK, "").header("Date", "long ago"));
    let mut server = Server::start(dated);
    server.sim.block_on(server.io.send(GET)).unwrap();
    server.sim.run_until_quiet();
    let answer = String::from_utf8(server.io.recv_now()).unwrap();
    assert_eq!(answer.matches("ate:").count(), 1, "{answer}");
}

#[test]
fn hop_by_hop_fields_of_responses_are_not_written() {
    let handler = TestHandler::with(|_, _, _| {
        Box::pin(async {
            let mut head = head(200);
            for (name, value) in [
                ("Connection", "x"),
                ("Transfer-Encoding", "gzip"),
                ("Content-Length", "99"),
                ("Keep-Alive", "1"),
                ("Upgrade", "x"),
            ] {
                head.headers.append(name, value.as_bytes()).unwrap();
            }
            Answer { response: Response { head, body: Body::Full(Chunk::from("abc")) }, close: false }
        })
    });
    assert_eq!(Server::start(handler).round(GET), "HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc");
}
