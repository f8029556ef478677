//! Tunnels that are refused, cut off, held up or left waiting, seen from the server.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use http::StatusCode;
use ringway_api::{Body, EndReason, Frame, Io, LocalBoxFuture, Protocol, Response};
use ringway_http1::{Http1, Http1Options};
use ringway_testkit::{Answer, PairOptions, Split, TestHandler, pair};

use crate::bodies::Feed;
use crate::through::{chain, forwarder, settle};
use crate::tunnel::{UPGRADE, YES, answer, send};
use crate::world::{Server, Upstream, head};

const CONNECT: &str = "CONNECT b:443 HTTP/1.1\r\nHost: b:443\r\n\r\n";
const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// A server that is forwarding a tunnel.
fn open() -> (Server, Upstream) {
    let (mut server, mut up) = chain(Split::AsSent, 1 << 16);
    send(&mut server, UPGRADE);
    settle(&mut server, &mut up);
    answer(&mut up, YES);
    settle(&mut server, &mut up);
    (server, up)
}

#[test]
fn a_handshake_may_be_cut_anywhere() {
    let (asked, said) = (format!("{UPGRADE}early"), format!("{YES}hello"));
    let pieces = |text: &str, at: usize| [text[..at].to_owned(), text[at..].to_owned()];
    for cut in 1..asked.len().max(said.len()) {
        let (mut server, mut up) = chain(Split::AsSent, 1 << 16);
        for piece in pieces(&asked, cut.min(asked.len())) {
            send(&mut server, &piece);
            server.sim.run_until_quiet();
        }
        up.io.recv_now();
        for piece in pieces(&said, cut.min(said.len())) {
            answer(&mut up, &piece);
            server.sim.run_until_quiet();
        }
        assert!(server.quiet().ends_with("\r\nupgrade: websocket\r\n\r\nhello"), "cut at {cut}");
        assert_eq!(up.io.recv_now(), b"early", "cut at {cut}");
    }
}

#[test]
fn what_no_tunnel_can_be_made_of_is_a_request_like_any_other() {
    let options = Http1Options { allow_http_1_0: true, ..Http1Options::default() };
    for (request, body, goes_on) in [
        ("GET / HTTP/1.0\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", "", false),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 3\r\n\r\nabc",
            "abc",
            true,
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\
             Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
            "abc",
            true,
        ),
        ("GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\n\r\n", "", true),
    ] {
        let handler = TestHandler::with(|request, _, log| {
            assert_eq!(request.head.tunnel, None);
            Box::pin(async move {
                let recorded = ringway_testkit::collect(request).await;
                log.borrow_mut().requests.push(recorded);
                Answer::text(StatusCode::OK, "")
            })
        });
        let mut server = Server::with(handler, options.clone(), PairOptions::default());
        assert_eq!(Server::statuses(&server.round(request)), [200], "{request}");
        assert_eq!(server.log.borrow().requests[0].body, body.as_bytes());
        assert_eq!(server.log.borrow().requests[0].headers.iter().find(|(name, _)| name == "Upgrade"), None);
        assert_eq!(!server.control.has_ended(), goes_on, "{request}");
    }
}

#[test]
fn a_refused_upgrade_with_bytes_behind_it_closes() {
    // Whether they were meant for the other protocol or are the next request, nobody can tell.
    let refuse =
        || TestHandler::with(|_, _, _| Box::pin(std::future::ready(Answer::text(StatusCode::FORBIDDEN, "no"))));
    let mut server = Server::start(refuse());
    let down = server.round(format!("{UPGRADE}{GET}"));
    assert_eq!(Server::statuses(&down), [403]);
    assert!(down.contains("connection: close") && server.control.has_ended(), "{down}");
    // One that waited goes on.
    let mut server = Server::start(refuse());
    for _ in 0..3 {
        assert_eq!(Server::statuses(&server.round(UPGRADE)), [403]);
    }
    assert!(!server.control.has_ended());
}

#[test]
fn ports_that_are_none_are_refused() {
    // RFC 9110, section 9.3.6.
    for (authority, status) in [("b:1", 200), ("b:65535", 200), ("[::1]:443", 200), ("b:0", 400), ("b:65536", 400)] {
        let mut server =
            Server::start(TestHandler::with(|_, _, _| Box::pin(std::future::ready(Answer::text(StatusCode::OK, "")))));
        let down = server.round(format!("CONNECT {authority} HTTP/1.1\r\nHost: b\r\n\r\n"));
        assert_eq!(Server::statuses(&down), [status], "{authority}");
    }
    let mut server = Server::start(TestHandler::fixed(""));
    assert_eq!(Server::statuses(&server.round("CONNECT [::1] HTTP/1.1\r\nHost: b\r\n\r\n")), [400]);
}

#[test]
fn a_tunnel_whose_way_up_nobody_takes_ends_with_its_way_down() {
    // The handler has dropped the request before it says yes.
    let mut server =
        Server::start(TestHandler::with(|_, _, _| Box::pin(std::future::ready(Answer::text(StatusCode::OK, "bye")))));
    assert_eq!(server.round(CONNECT), "HTTP/1.1 200 OK\r\n\r\nbye");
    assert!(server.control.has_ended());
    server.sim.block_on(server.io.finish()).unwrap();
    server.sim.run_until_quiet();
    assert!(server.is_over(), "nothing is left to wait for");
    assert_eq!(server.log.borrow().ends[0].as_ref().unwrap().reason, EndReason::Complete);
}

#[test]
fn a_client_is_missed_when_nobody_takes_its_bytes_any_more() {
    let handler = TestHandler::with(|request, _, _| {
        let (body, feed) = Feed::new();
        let mut up = Some(request.body);
        // Waits for the way up once, then gives it up.
        let mut polled = 0;
        let body = crate::tunnel_client::watched(body, move |cx| {
            polled += 1;
            if let Some(up) = &mut up {
                assert!(up.poll_frame(cx).is_pending());
            }
            if polled == 2 {
                up = None;
            }
        });
        feed.push("hello");
        Box::pin(std::future::ready(Answer { response: Response { head: head(200), body }, close: false }))
    });
    let mut server = Server::start(handler);
    assert!(server.round(CONNECT).ends_with("\r\n\r\nhello"));
    server.io.abort();
    server.sim.run_until_quiet();
    assert!(server.is_over());
    assert_eq!(server.log.borrow().ends[0].as_ref().unwrap().reason, EndReason::Downstream("reset"));
}

#[test]
fn an_upstream_that_is_lost_takes_its_tunnel_along() {
    let (mut server, mut up) = open();
    up.io.abort();
    settle(&mut server, &mut up);
    assert!(server.is_over() && server.control.has_reset());
}

#[test]
fn no_time_passes_in_a_tunnel_but_the_handlers() {
    let (mut server, mut up) = open();
    for _ in 0..3 {
        server.sim.advance(Duration::from_secs(36_000));
        up.sim.advance(Duration::from_secs(36_000));
        send(&mut server, "ping");
        answer(&mut up, "pong");
        assert_eq!(settle(&mut server, &mut up), ("pong".to_owned(), "ping".to_owned()));
    }
}

#[test]
fn a_drain_lets_a_tunnel_end_by_itself() {
    let (mut server, mut up) = open();
    server.conn.drain();
    up.conn.drain();
    send(&mut server, "ping");
    answer(&mut up, "pong");
    assert_eq!(settle(&mut server, &mut up), ("pong".to_owned(), "ping".to_owned()));
    server.sim.block_on(server.io.finish()).unwrap();
    settle(&mut server, &mut up);
    up.sim.block_on(up.io.finish()).unwrap();
    settle(&mut server, &mut up);
    assert!(server.is_over() && up.control.has_ended() && !up.control.has_reset());
}

#[test]
fn a_tunnels_bytes_are_counted() {
    let (mut server, mut up) = open();
    send(&mut server, "four");
    answer(&mut up, "six456");
    settle(&mut server, &mut up);
    up.sim.block_on(up.io.finish()).unwrap();
    settle(&mut server, &mut up);
    // After the end of the way down, too.
    send(&mut server, "five5");
    server.sim.block_on(server.io.finish()).unwrap();
    settle(&mut server, &mut up);
    let log = server.log.borrow();
    let end = log.ends[0].as_ref().unwrap();
    assert_eq!((&end.reason, end.body_sent, end.body_received), (&EndReason::Complete, 6, 9));
}

#[test]
fn a_half_closed_tunnel_in_which_nothing_moves_ends_on_both_sides() {
    let (mut server, mut up) = open();
    up.sim.block_on(up.io.finish()).unwrap();
    settle(&mut server, &mut up);
    for _ in 0..3 {
        server.sim.advance(Duration::from_secs(299));
        send(&mut server, "x");
        assert_eq!(settle(&mut server, &mut up).1, "x");
    }
    assert!(!server.is_over());
    // Up to twice the time, for moving bytes do not touch the timer. The server's clock alone: what it gives up must reach the other side without a timer there.
    server.sim.advance(Duration::from_secs(601));
    settle(&mut server, &mut up);
    assert!(server.is_over() && server.control.has_reset());
    assert!(up.control.is_gone(), "the way up has no reader left behind");
    assert_eq!(up.sim.tasks(), 0);
}

#[test]
fn a_connection_that_is_dropped_takes_its_tunnel_along() {
    for half_closed in [false, true] {
        let mut up = Upstream::start();
        let (mut io, far) = pair(PairOptions::default());
        let (control, sim) = (far.control(), ringway_testkit::Sim::new(1));
        let conn = ringway_testkit::test_conn(&sim);
        let serving = Http1::serve(std::sync::Arc::default(), far, forwarder(&up), conn);
        let serving: Rc<RefCell<Option<LocalBoxFuture<'static, ()>>>> =
            Rc::new(RefCell::new(Some(Box::pin(async move { drop(serving.await) }))));
        let held = Rc::clone(&serving);
        sim.spawn(poll_fn(move |cx| match &mut *held.borrow_mut() {
            Some(serving) => serving.as_mut().poll(cx),
            None => Poll::Ready(()),
        }));
        sim.block_on(io.send(UPGRADE)).unwrap();
        sim.run_until_quiet();
        answer(&mut up, YES);
        sim.run_until_quiet();
        if half_closed {
            up.sim.block_on(up.io.finish()).unwrap();
            sim.run_until_quiet();
            up.sim.run_until_quiet();
        }
        assert!(!control.is_gone());
        drop(serving.borrow_mut().take());
        sim.run_until_quiet();
        up.sim.run_until_quiet();
        assert!(up.control.has_reset(), "half closed: {half_closed}");
        assert!(control.is_gone(), "half closed: {half_closed}");
    }
}

#[test]
fn a_side_that_takes_nothing_holds_the_other_up() {
    let (mut server, up) = chain(Split::AsSent, 8 << 10);
    send(&mut server, UPGRADE);
    server.sim.run_until_quiet();
    let Upstream { sim, mut io, control, client, .. } = up;
    sim.run_until_quiet();
    io.recv_now();
    sim.block_on(io.send(YES)).unwrap();
    server.quiet();
    // Each side sends a megabyte while the other takes none.
    let start = (server.control.received(), control.received());
    let (server_control, mut near) = (server.control.clone(), server.io);
    let sending = server.sim.spawn_with_result(async move {
        for _ in 0..1000 {
            near.send([b'u'; 1000]).await.unwrap();
        }
        near
    });
    let feeding = server.sim.spawn_with_result(async move {
        for _ in 0..1000 {
            io.send([b'd'; 1000]).await.unwrap();
        }
        io
    });
    server.sim.run_until_quiet();
    assert!(server_control.received() - start.0 < 40 << 10, "{} bytes up", server_control.received());
    assert!(control.received() - start.1 < 40 << 10, "{} bytes down", control.received());
    assert!(sending.borrow().is_none() && feeding.borrow().is_none());
    drop(client);
}

#[test]
fn frames_that_follow_each_other_keep_their_order() {
    let (mut server, mut up) = chain(Split::Random(700), 4 << 10);
    send(&mut server, UPGRADE);
    settle(&mut server, &mut up);
    answer(&mut up, YES);
    settle(&mut server, &mut up);
    let text = |seed: usize| {
        (0..60_000).map(|at| char::from(b'a' + ((at * 7 + at / 26 + seed) % 26) as u8)).collect::<String>()
    };
    let (upward, downward) = (text(1), text(2));
    let (mut got_down, mut got_up) = (String::new(), String::new());
    for (piece_up, piece_down) in upward.as_bytes().chunks(3000).zip(downward.as_bytes().chunks(3000)) {
        send(&mut server, std::str::from_utf8(piece_up).unwrap());
        answer(&mut up, std::str::from_utf8(piece_down).unwrap());
        let (down, sent) = settle(&mut server, &mut up);
        got_down.push_str(&down);
        got_up.push_str(&sent);
    }
    assert!(got_up == upward && got_down == downward);
}

/// The frames of a body that are there.
pub(crate) fn take_now(body: &mut Body) -> Vec<u8> {
    let mut all = Vec::new();
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    while let Poll::Ready(Some(Ok(Frame::Data(data)))) = body.poll_frame(&mut cx) {
        all.extend_from_slice(&data);
    }
    all
}
